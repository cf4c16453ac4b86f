"""Random pruning: the control that every criterion has to beat."""

from __future__ import annotations

import zlib
from collections.abc import Collection

import torch
from torch import nn

from sparsenet.prune.masks import set_mask, weight_of
from sparsenet.prune.shares import Sparsity, keep_largest, layer_shares, zero_count


@torch.no_grad()
def random(model: nn.Module, sparsity: Sparsity = 0.9, *, seed: int = 0, skip: Collection[str] = ()) -> nn.Module:
    """Masks weights drawn at random, the same share of each layer, in place, and returns ``model``.

    The baseline of Gale et al. 2019 ("The state of sparsity in deep neural networks", section 3).

    Args:
        model: any module; its convolutions and linear layers are pruned.
        sparsity: share of zeros to reach, or one for each layer, by name. Zeros already there count.
        seed: of the draw. A layer's draw depends on the seed and its name alone, not on the other layers.
        skip: names of layers to leave alone.

    Raises:
        ValueError: sparsity out of range, or a name that is no layer.

    Example:
        >>> prune.random(model, 0.8, seed=1)
    """
    for name, module, share in layer_shares(model, sparsity, skip):
        weight = weight_of(module)
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
        scores = torch.rand(weight.shape, generator=generator).to(weight.device)
        scores[weight == 0] = -1  # zeros go first
        set_mask(module, "weight", keep_largest(scores, zero_count(share, scores.numel())))
    return model
