"""Unit pruning: whole outputs of linear layers go, the ones with the smallest weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from sparsenet.prune.criteria import BY_WEIGHTS, NORMS, rows
from sparsenet.prune.masks import check_maskable, set_mask, weighted
from sparsenet.prune.rank import dropped_by, ratios_by_layer


@torch.no_grad()
def units(
    model: nn.Module,
    ratio: float | Mapping[str, float] = 0.5,
    layers: Sequence[str] | None = None,
    criterion: str = "l2",
) -> nn.Module:
    """Masks the units of linear layers whose incoming weights have the smallest norm, in place; returns ``model``.

    He et al. 2014 ("Reshaping deep neural network for fast decoding by node-pruning") rank units by the L1 norm of
    their incoming weights, among others; the default here is L2. A unit's bias is masked with it, and its batch norm
    where one comes right behind: a unit that still emits a constant would not be gone. As after `filters`,
    int(n * (1 - ratio)) units stay, at least one; those that are masked already count as gone.

    Args:
        ratio: the share of units to drop, 0 <= ratio < 1; or one for each of the layers named, the others stay whole.
        layers: names of linear layers; by default all but the model's last layer, whose units are the network's
            outputs. That one goes only if it is named.
        criterion: what makes a unit small: "l2", "l1" or "fpgm", as of `filters`.

    Raises:
        ValueError: a ratio out of range, a criterion unknown, or a name that is not a linear layer's.

    Example:
        >>> prune.units(model, ratio=0.5)
        >>> prune.units(model, {"fc1": 0.9}, criterion="l1")
    """
    if criterion not in BY_WEIGHTS:
        raise ValueError(f"criterion is one of {', '.join(BY_WEIGHTS)}; not {criterion!r}")
    every = weighted(model)
    linear = {name: module for name, module in every if isinstance(module, nn.Linear)}
    chosen = [n for n in linear if n != every[-1][0]] if layers is None else list(layers)
    unknown = [name for name in [*chosen, *(ratio if isinstance(ratio, Mapping) else ())] if name not in linear]
    if unknown:
        raise ValueError(f"units: no linear layer {', '.join(unknown)}; there are {', '.join(linear) or 'none'}")
    if not chosen and not isinstance(ratio, Mapping):
        raise ValueError(
            f"units: {type(model).__name__} has no hidden linear layer; name the last in layers if it is meant"
        )
    shares = ratios_by_layer(ratio, chosen if not isinstance(ratio, Mapping) else list(ratio))
    check_maskable(model, shares)
    masks: list[tuple[nn.Module, str, torch.Tensor]] = []
    for name, share in shares.items():
        layer, norm = linear[name], _norm_behind(model, linear[name])
        weights = rows(layer)
        keep = ~dropped_by(BY_WEIGHTS[criterion](weights), (weights == 0).all(1), share)
        masks.append((layer, "weight", keep[:, None].expand_as(weights)))
        masks += [(m, "bias", keep) for m in (layer, norm) if m is not None and m.bias is not None]
        if norm is not None and norm.weight is not None:
            masks.append((norm, "weight", keep))
    for module, parameter, keep in masks:
        set_mask(module, parameter, keep)
    return model


def _norm_behind(model: nn.Module, layer: nn.Linear) -> nn.Module | None:
    """The batch norm that the model defines next, if it is as wide."""
    modules = [m for m in model.modules() if isinstance(m, (nn.Linear, *NORMS))]
    behind = modules[modules.index(layer) + 1 :]
    fits = behind and isinstance(behind[0], NORMS) and behind[0].num_features == layer.out_features
    return behind[0] if fits else None
