"""Unstructured pruning: the smallest weights go (Han et al. 2015, without their per-layer threshold)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from sparsenet.prune.masks import set_mask, weight_of, weighted


@torch.no_grad()
def magnitude(model: nn.Module, sparsity: float, *, scope: str = "layer", skip: Sequence[str] = ()) -> nn.Module:
    """Masks the smallest weights by magnitude, in place, and returns ``model``.

    Args:
        model: any module; its convolutions and linear layers are pruned, biases are not.
        sparsity: share of zeros to reach, 0 <= sparsity < 1. Zeros already there count, so calling with
            0.5, 0.8, 0.9 in turn, training in between, ends at 0.9.
        scope: "layer" gives each layer this share; "global" ranks all weights together.
        skip: names of layers to leave alone, as in ``model.named_modules()``.

    Raises:
        ValueError: sparsity or scope out of range, or ``skip`` names no layer.

    Example:
        >>> prune.magnitude(model, sparsity=0.9, skip=["conv1"])
        >>> train(model)                      # the zeros stay
        >>> graph = sparsenet.from_torch(model, (x,))
    """
    _check_share("sparsity", sparsity)
    if scope not in ("layer", "global"):
        raise ValueError(f"scope is 'layer' or 'global', not {scope!r}")
    layers = [module for _, module in weighted(model, list(skip))]
    groups = [[module] for module in layers] if scope == "layer" else [layers]
    for group in groups:
        if not group:
            continue
        weights = [weight_of(module) for module in group]
        scores = torch.cat([weight.abs().flatten() for weight in weights])
        # A count and a stable sort, not a threshold: equal magnitudes would make a threshold overshoot.
        keep = torch.ones(scores.numel(), dtype=torch.bool, device=scores.device)
        keep[torch.argsort(scores, stable=True)[: round(sparsity * scores.numel())]] = False
        parts = torch.split(keep, [weight.numel() for weight in weights])
        for module, weight, part in zip(group, weights, parts, strict=True):
            set_mask(module, "weight", part.reshape(weight.shape))
    return model


def _check_share(name: str, share: float) -> None:
    if not 0 <= share < 1:
        raise ValueError(f"{name} is a share, 0 <= {name} < 1, not {share}")
