"""What share of which layer goes: the arguments that every weight pruning method has in common, and their errors."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import nn

from sparsenet.prune.masks import check_maskable, check_names, weighted

Sparsity = float | Mapping[str, float]


def check_share(name: str, share: float) -> None:
    """Raises ValueError unless 0 <= share < 1; ``name`` says whose share it is."""
    if not 0 <= share < 1:
        raise ValueError(f"{name} is a share, 0 <= {name} < 1, not {share}; for 90 % give 0.9")


def layer_shares(
    model: nn.Module, sparsity: Sparsity, skip: Collection[str] = ()
) -> list[tuple[str, nn.Module, float]]:
    """(name, layer, share) of the layers to prune, checked; a dict leaves the layers alone that it does not name."""
    layers = prunable(model, skip)
    if isinstance(sparsity, Mapping):
        check_names(model, "sparsity", sparsity)
        for name, share in sparsity.items():
            check_share(f"sparsity of {name}", share)
        chosen = [(name, module, sparsity[name]) for name, module in layers if name in sparsity]
    else:
        check_share("sparsity", sparsity)
        chosen = [(name, module, sparsity) for name, module in layers]
    check_maskable(model, [name for name, _, _ in chosen])
    return chosen


def prunable(model: nn.Module, skip: Collection[str] = ()) -> list[tuple[str, nn.Module]]:
    """As :func:`weighted`, but a model that has no such layer at all is an error."""
    layers = weighted(model, skip)
    if not layers and not skip:
        raise ValueError(f"{type(model).__name__} has no convolution or linear layer to prune")
    return layers


def zero_count(share: float, total: int) -> int:
    """How many of ``total`` weights are zero at ``share``: rounded, and one always stays, or the layer would be cut."""
    return min(round(share * total), total - 1)


def keep_largest(scores: torch.Tensor, drop: int) -> torch.Tensor:
    """bool, the shape of ``scores``: False for exactly ``drop`` of the smallest, the first of equals first.

    A count and a stable sort, not a threshold: equal scores would make a threshold overshoot.
    """
    keep = torch.ones(scores.numel(), dtype=torch.bool, device=scores.device)
    keep[torch.argsort(scores.flatten(), stable=True)[:drop]] = False
    return keep.view(scores.shape)
