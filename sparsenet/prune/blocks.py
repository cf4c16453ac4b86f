"""Block pruning: small rectangles of the weight matrix go together, so that kernels share loads and indices."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

from sparsenet.prune.layout import from_matrix, to_matrix
from sparsenet.prune.masks import set_mask, weight_of
from sparsenet.prune.shares import Sparsity, layer_shares


@torch.no_grad()
def blocks(
    model: nn.Module,
    sparsity: Sparsity = 0.9,
    block: tuple[int, int] = (4, 1),
    *,
    skip: Collection[str] = (),
    strict: bool = True,
) -> nn.Module:
    """Masks the blocks of smallest mean magnitude in each layer, in place, and returns ``model``.

    Narang et al. 2017 ("Block-sparse recurrent neural networks"); the mean as in Zhu & Gupta's implementation. Blocks
    lie on a grid from the first output and input on; the last ones of a layer may be smaller. The engine has kernels
    for 4x1, 2x1 and 1x4, which share loads.

    Args:
        model: any module; its convolutions and linear layers are pruned.
        sparsity: share of zeros to reach, or one for each layer, by name; met to the nearest block. One block stays.
        block: (outputs, inputs) of a block, where a convolution's inputs are (input channel, tap) flattened, channels
            outermost, of each group on its own.
        skip: names of layers to leave alone.
        strict: whether layers smaller than a block, such as depthwise convolutions, are an error; else they are left
            alone.

    Raises:
        ValueError: sparsity or block out of range, a name that is no layer, or a layer smaller than a block.

    Example:
        >>> prune.blocks(model, 0.8, block=(4, 1), strict=False)
    """
    height, width = block
    if height < 1 or width < 1:
        raise ValueError(f"block is (outputs, inputs), at least 1 each, not {block}")
    layers = layer_shares(model, sparsity, skip)
    small = {}
    for name, module, _ in layers:
        _, outputs, inputs = to_matrix(module, weight_of(module)).shape
        if outputs < height or inputs < width:
            small[name] = f"{name} has {outputs}x{inputs}"
    if small and strict:
        raise ValueError(
            f"blocks are {height}x{width}, and a group of {', '.join(small.values())}; pass skip={list(small)}, or "
            "strict=False to leave such layers alone"
        )
    for name, module, share in layers:
        if name not in small:
            weight = weight_of(module)
            keep = _largest_blocks(to_matrix(module, weight.abs()), share, height, width)
            set_mask(module, "weight", from_matrix(module, keep, weight.shape))
    return model


def _largest_blocks(scores: torch.Tensor, share: float, height: int, width: int) -> torch.Tensor:
    """bool [groups, outputs, inputs]: which entries lie in blocks that stay."""
    sizes = block_sums(torch.ones_like(scores), height, width).flatten()
    sums = block_sums(scores, height, width)
    order = torch.argsort(sums.flatten() / sizes, stable=True)
    dropped = torch.cumsum(sizes[order].double(), 0)
    # Blocks up to the one that the target number of zeros lies in the middle of.
    count = int((dropped - sizes[order] / 2 < share * scores.numel() - 1e-6).sum())
    keep = torch.ones(sums.numel(), dtype=torch.bool, device=scores.device)
    keep[order[: min(count, len(order) - 1)]] = False
    grid = keep.view(sums.shape).repeat_interleave(height, 1).repeat_interleave(width, 2)
    return grid[:, : scores.shape[1], : scores.shape[2]]


def block_sums(values: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Sums of [groups, outputs, inputs] over blocks: [groups, ceil(outputs / height), ceil(inputs / width)]."""
    groups, outputs, inputs = values.shape
    padded = nn.functional.pad(values, (0, -inputs % width, 0, -outputs % height))
    return padded.reshape(groups, -(-outputs // height), height, -1, width).sum((2, 4))
