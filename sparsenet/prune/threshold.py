"""Han's threshold: a multiple of each layer's standard deviation."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from torch import nn

from sparsenet.prune.masks import check_maskable, check_names, set_mask, weight_of
from sparsenet.prune.shares import prunable


@torch.no_grad()
def threshold(
    model: nn.Module, q: float | Mapping[str, float], *, survivors: bool = False, skip: Collection[str] = ()
) -> nn.Module:
    """Masks, in each layer, the weights below ``q`` standard deviations of that layer, in place; returns ``model``.

    Han et al. 2015 ("Learning both weights and connections", section 3.1): one quality parameter, and each layer's own
    spread decides its share. Gaussian weights lose 68 % at q = 1, 87 % at 1.5. Retrain, then call again, with a larger
    ``q`` if more is to go: what is pruned stays pruned. The survivors keep their values: Han finds that better than
    initialising them anew.

    Args:
        model: any module; convolutions and linear layers are pruned.
        q: multiple of the standard deviation, >= 0, or one for each layer to prune, by name.
        survivors: False counts pruned weights, as zeros, in the standard deviation, so that a second call on the same
            weights takes nothing more. True leaves them out: the deviation grows with what is cut, and each call cuts
            deeper.
        skip: names of layers to leave alone.

    Raises:
        ValueError: q negative or not finite, a name that is no layer, or nothing would be left of a layer.

    Example:
        >>> prune.threshold(model, q=1.0)
        >>> prune.finetune(model, loader, epochs=3)
        >>> prune.threshold(model, q={"fc1": 1.5, "fc2": 1.2})
    """
    layers = prunable(model, skip)
    if isinstance(q, Mapping):
        check_names(model, "q", q)
        chosen = [(name, module, q[name]) for name, module in layers if name in q]
    else:
        chosen = [(name, module, q) for name, module in layers]
    check_maskable(model, [name for name, _, _ in chosen])
    masks = []
    for name, module, factor in chosen:
        if not (factor >= 0 and math.isfinite(factor)):
            raise ValueError(f"q of {name} is a multiple of its standard deviation, 0 <= q, not {factor}")
        weight = weight_of(module)
        limit = factor * (weight[weight != 0] if survivors else weight).std(correction=0)
        keep = weight.abs() >= limit
        if not keep.any():
            raise ValueError(
                f"q = {factor} would leave nothing of {name}: its largest weight is {float(weight.abs().max()):.3g}, "
                f"the threshold {float(limit):.3g}; lower q or skip it"
            )
        masks.append((module, keep))
    for module, keep in masks:
        set_mask(module, "weight", keep)
    return model
