"""How much a filter matters, judged by its own weights: one number a filter, and the smallest go."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sparsenet.prune.layout import to_matrix
from sparsenet.prune.masks import weight_of

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

Criterion = Callable[[nn.Module], Tensor]


def rows(layer: nn.Module, dropped: Tensor | None = None) -> Tensor:
    """The weights as [filters, everything else]; with zeros for the inputs in ``dropped`` (bool, [inputs])."""
    matrix = to_matrix(layer, weight_of(layer))
    if dropped is not None and bool(dropped.any()):
        unread = dropped.to(matrix.device).view(len(matrix), 1, -1)
        matrix = matrix.masked_fill(unread.repeat_interleave(matrix.shape[2] // unread.shape[2], 2), 0.0)
    return matrix.flatten(0, 1)


def l1(weights: Tensor) -> Tensor:
    """Sum of magnitudes: Li et al. 2017, "Pruning Filters for Efficient ConvNets", section 3.1."""
    return weights.abs().sum(1)


def l2(weights: Tensor) -> Tensor:
    """Euclidean norm; section 4.4 of the same paper finds it as good as L1."""
    return weights.square().sum(1).sqrt()


def fpgm(weights: Tensor) -> Tensor:
    """Sum of Euclidean distances to the layer's other filters: He et al. 2019, "Filter Pruning via Geometric Median".

    The filter with the smallest sum is the one nearest to the geometric median, hence the one that the others replace
    best (their equation 8); no median has to be solved for.
    """
    # Without the matrix product, whose cancellation would swamp the distances of similar filters.
    return torch.cdist(weights, weights, compute_mode="donot_use_mm_for_euclid_dist").sum(1)


BY_WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {"l1": l1, "l2": l2, "fpgm": fpgm}
