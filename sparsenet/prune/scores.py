"""One number a unit of a group, from what each of its layers says about its filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparsenet.prune.criteria import BY_WEIGHTS, Criterion, rows
from sparsenet.prune.groups import Group, Indices

Says = Sequence[tuple[Indices, Tensor]]  # of each layer: which unit each channel belongs to, and its number


def per_unit(group: Group, says: Says, combine: Callable[[Tensor, Tensor], Tensor] | None = None) -> Tensor:
    """[units]: the mean over all channels of a unit, in all layers; or ``combine``'d two by two, starting from ones."""
    if combine is not None:
        result = torch.ones(group.size)
        for units, numbers in says:
            for c, unit in enumerate(units.tolist()):
                if unit >= 0:
                    result[unit] = combine(result[unit], numbers[c].cpu())
        return result
    total, count = torch.zeros(group.size, dtype=torch.float64), torch.zeros(group.size)
    for units, numbers in says:
        mine = torch.from_numpy(units)
        own = mine >= 0
        total.index_add_(0, mine[own], numbers.detach().cpu().double()[own])
        count.index_add_(0, mine[own], torch.ones(int(own.sum())))
    return (total / count.clamp_min(1)).float()


def group_scores(
    criterion: str | Criterion,
    model: nn.Module,
    groups: Sequence[Group],
    seed: int = 0,
    unread: Mapping[str, Tensor] | None = None,
) -> list[Tensor]:
    """Of each group, [units]: the criterion's numbers. ``unread``: inputs of a layer to leave out of its sums."""
    if criterion == "random":
        rng = torch.Generator().manual_seed(seed)
        return [torch.rand(group.size, generator=rng) for group in groups]
    if criterion == "bn_scale":
        return [per_unit(group, _scales(model, group)) for group in groups]
    scores = []
    for group in groups:
        says = []
        for member in group.producers:
            if member.layer in group.judged_by:
                layer = model.get_submodule(member.layer)
                numbers = _numbers(criterion, member.layer, layer, (unread or {}).get(member.layer))
                says.append((member.units, numbers))
        scores.append(per_unit(group, says))
    return scores


def _numbers(criterion: str | Criterion, name: str, layer: nn.Module, dropped: Tensor | None) -> Tensor:
    if isinstance(criterion, str):
        return BY_WEIGHTS[criterion](rows(layer, dropped))
    numbers, count = torch.as_tensor(criterion(layer)), len(rows(layer))
    if numbers.shape != (count,) or not bool(torch.isfinite(numbers).all()):
        raise ValueError(
            f"criterion must return a finite number for each of the {count} filters of {name}; got "
            f"{'values that are not finite' if numbers.shape == (count,) else f'shape {tuple(numbers.shape)}'}"
        )
    return numbers


def _scales(model: nn.Module, group: Group) -> Says:
    says = []
    for member in group.members:
        layer: Any = model.get_submodule(member.layer)
        if member.kind == "norm" and layer.weight is not None:
            says.append((member.units, layer.weight.detach().abs()))
    if not says:
        raise ValueError(
            f"bn_scale ranks filters by the scale of their batch norm, and {group.name} has none: put "
            f"skip=[{group.name!r}], or choose another criterion"
        )
    return says
