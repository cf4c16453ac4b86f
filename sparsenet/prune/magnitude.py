"""Unstructured pruning: the smallest weights go, by layer or over the whole network."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import nn

from sparsenet.prune.masks import set_mask, weight_of
from sparsenet.prune.shares import Sparsity, keep_largest, layer_shares, zero_count


@torch.no_grad()
def magnitude(
    model: nn.Module, sparsity: Sparsity = 0.9, *, scope: str = "layer", skip: Collection[str] = ()
) -> nn.Module:
    """Masks the smallest weights by magnitude, in place, and returns ``model``.

    After Han et al. 2015 ("Learning both weights and connections"), whose own threshold is :func:`threshold`.

    Args:
        model: any module; its convolutions and linear layers are pruned, biases are not.
        sparsity: share of zeros to reach, 0 <= sparsity < 1, or such a share for each layer to prune, by name, as
            :func:`erk` or :meth:`Sensitivity.propose` give it. Zeros already there count, so calling with 0.5, 0.8,
            0.9 in turn, training in between, ends at 0.9.
        scope: "layer" gives each layer its share; "global" ranks all weights together. No layer loses its largest
            weight: an empty layer would cut the network in two.
        skip: names of layers to leave alone, as in ``model.named_modules()``.

    Raises:
        ValueError: sparsity or scope out of range, or a name that is no layer; ``model`` is as it was.

    Example:
        >>> prune.magnitude(model, sparsity=0.9, skip=["conv1"])
        >>> train(model)                      # the zeros stay
        >>> graph = sparsenet.from_torch(model, (x,))
    """
    if scope not in ("layer", "global"):
        raise ValueError(f"scope is 'layer' or 'global', not {scope!r}")
    layers = layer_shares(model, sparsity, skip)
    if scope == "layer":
        for _, module, share in layers:
            scores = weight_of(module).abs()
            set_mask(module, "weight", keep_largest(scores, zero_count(share, scores.numel())))
        return model
    if isinstance(sparsity, Mapping):
        raise ValueError("scope='global' takes one sparsity for all layers; with a share for each use scope='layer'")
    if not layers:
        return model
    parts = []
    for _, module, _ in layers:
        part = weight_of(module).abs().flatten()
        part[part.argmax()] = torch.inf
        parts.append(part)
    total = sum(part.numel() for part in parts)
    keep = keep_largest(torch.cat(parts), min(round(sparsity * total), total - len(parts)))
    for (_, module, _), part in zip(layers, torch.split(keep, [part.numel() for part in parts]), strict=True):
        set_mask(module, "weight", part.view(weight_of(module).shape))
    return model
