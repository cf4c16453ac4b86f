"""N:M pruning: the same count of survivors in every group of inputs."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

from sparsenet.prune.layout import by_input, from_input, input_channels
from sparsenet.prune.masks import check_maskable, set_mask, weight_of
from sparsenet.prune.shares import prunable


@torch.no_grad()
def n_m(
    model: nn.Module, n: int = 2, m: int = 4, *, skip: Collection[str] = (), strict: bool = True
) -> nn.Module:
    """Keeps the ``n`` largest of every ``m`` consecutive inputs, in place, and returns ``model``: 2:4 is n=2, m=4.

    Mishra et al. 2021 ("Accelerating sparse deep neural networks"); Zhou et al. 2021 for other n and m. In a linear
    layer a group is ``m`` input features of one output; in a convolution ``m`` input channels at one tap of one filter
    (of the filter's own group of channels), as for hardware that has such sparsity.

    Args:
        model: any module; its convolutions and linear layers are pruned.
        n: survivors of a group, 1 <= n < m. The share of zeros is 1 - n / m.
        m: inputs to a group.
        skip: names of layers to leave alone.
        strict: whether layers whose inputs are no multiple of ``m`` are an error; else they are left alone.

    Raises:
        ValueError: n and m out of range, a name that is no layer, or inputs that are no multiple of m.

    Example:
        >>> prune.n_m(model, 2, 4, skip=["conv1"])  # conv1 sees three colours
    """
    if not 1 <= n < m:
        raise ValueError(f"n:m keeps n of every m, 1 <= n < m, not {n}:{m}")
    layers = prunable(model, skip)
    odd = {name: input_channels(module) for name, module in layers if input_channels(module) % m}
    if odd and strict:
        which = ", ".join(f"{name} has {inputs}" for name, inputs in odd.items())
        raise ValueError(
            f"{n}:{m} needs inputs in multiples of {m}, and {which}; pass skip={list(odd)}, or strict=False to leave "
            "such layers alone"
        )
    layers = [(name, module) for name, module in layers if name not in odd]
    check_maskable(model, [name for name, _ in layers])
    for _, module in layers:
        weight = weight_of(module)
        parts = by_input(module, weight.abs())
        scores = parts.reshape(*parts.shape[:3], -1, m)
        # Of equal weights the first stays; ranks, not a threshold: exactly n stay.
        order = torch.argsort(scores, dim=4, descending=True, stable=True)
        keep = torch.zeros_like(scores, dtype=torch.bool).scatter_(4, order[..., :n], True)
        set_mask(module, "weight", from_input(module, keep.flatten(3), weight.shape))
    return model
