"""Filter pruning: whole output channels go, with all that hangs on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparsenet.prune.activations import BY_DATA, Loader, Loss, data_scores, opened
from sparsenet.prune.criteria import BY_WEIGHTS, Criterion, rows
from sparsenet.prune.groups import Group, Structure, by_definition, check_held
from sparsenet.prune.masking import mask_units
from sparsenet.prune.masks import weighted
from sparsenet.prune.rank import drop_globally, dropped_by
from sparsenet.prune.scores import group_scores, per_unit
from sparsenet.prune.shares import check_share

CRITERIA = (*BY_WEIGHTS, "bn_scale", "random", *BY_DATA)


@torch.no_grad()
def filters(
    model: nn.Module,
    ratio: float | Mapping[str, float] = 0.5,
    criterion: str | Criterion = "l1",
    *,
    example: Any = None,
    loader: Loader | None = None,
    loss: Loss | None = None,
    scope: str = "layer",
    max_per_layer: float = 1.0,
    greedy: bool = False,
    keep_shift: bool = False,
    skip: Collection[str] = (),
    seed: int = 0,
) -> nn.Module:
    """Masks the filters that matter least, in place, and returns ``model``; `shrink` then takes them out.

    A filter goes with its bias and with scale and shift of the batch norm behind it: a channel that still emits a
    constant would change the result when it is taken out. int(n * (1 - ratio)) filters of a layer stay, as in the
    tables of Li et al. 2017, at least one. Filters that are masked already count as gone, so 0.3 and then 0.5, with
    training in between, ends at 0.5.

    Given an ``example``, channels that can only be cut together are (see `groups`): residual sums go with their
    shortcuts, depthwise filters with their channels. Linear layers only go along with a convolution. Without it every
    convolution is taken by itself, grouped ones are left alone, and as "the batch norm behind it" counts the next one
    of the same width that the model defines: masks that meet in a residual sum then do not match, so little of
    them can be taken out, and a last convolution that makes the network's outputs is pruned like any other.

    Args:
        model: any module.
        ratio: share of each layer's filters to drop, 0 <= ratio < 1. A dict gives it for the layers that it names, one
            of each group; the others stay whole.
        criterion: what makes a filter small.
            By its weights: "l1" (Li et al. 2017), "l2", "fpgm" (geometric median, He et al. 2019), "bn_scale" (the
            magnitude of its batch norm's scale; network slimming, Liu et al. 2017: train with `Slimming` first),
            "random". By data, which needs ``loader``: "apoz" (share of zeros behind the ReLU, the most go; Hu et al.
            2016), "taylor" (change of the loss to first order; Molchanov et al. 2017), "activation_mean" (mean
            magnitude, same paper). Or a function that takes a layer and returns a number for each of its filters.
        example: an input, as for `sparsenet.from_torch`; criteria by data take it from the loader.
        loader: batches, as (inputs, targets) or as inputs alone. All of it is read, once.
        loss: for "taylor", loss(outputs, targets), a mean over the samples; by default cross entropy.
        scope: "layer" ranks within each group; "global" ranks all filters together, after dividing each group's
            numbers by their L2 norm (Molchanov et al. 2017, section 2.2) unless they are comparable as they are, as
            with "bn_scale", "apoz", "random" and functions.
        max_per_layer: with scope "global", the largest share of a group's remaining filters that one call takes.
            Network slimming uses 0.5, and further calls with training in between, so that no layer is cut off.
        greedy: go through the layers in order, and leave the kernels that read filters already gone out of the sums
            (Li et al. 2017, section 3.2; the default, which counts them, they call independent). Needs ``example`` and
            a criterion by weights.
        keep_shift: leave biases and batch norm shifts, so that a channel that goes leaves the constant it emits; the
            engine and `shrink` move it, exactly, into what reads it.
        skip: names of layers to leave alone, with their groups.
        seed: for "random".

    Raises:
        ValueError: a ratio out of range, an unknown name or criterion, an empty loader, "bn_scale" where there is no
            batch norm, "apoz" where there is no ReLU, or a global ratio that ``max_per_layer`` forbids.
        GraphError: ``ratio`` names a layer whose channels cannot be cut. The model is then as it was.

    Example:
        >>> prune.filters(model, ratio=0.5)
        >>> prune.filters(model, ratio=0.3, criterion="fpgm", example=x)
        >>> prune.filters(model, {"conv1": 0.5, "conv4": 0.7}, criterion="apoz", loader=loader)
    """
    if isinstance(criterion, str) and criterion not in CRITERIA:
        raise ValueError(f"criterion is a function or one of {', '.join(CRITERIA)}; not {criterion!r}")
    if scope not in ("layer", "global"):
        raise ValueError(f"scope is 'layer' or 'global', not {scope!r}")
    if not 0 < max_per_layer <= 1 or (max_per_layer < 1 and scope == "layer"):
        raise ValueError(f"max_per_layer is a share, 0 < max_per_layer <= 1, for scope='global'; not {max_per_layer}")
    by_data = isinstance(criterion, str) and criterion in BY_DATA
    if by_data and loader is None:
        raise ValueError(f"criterion {criterion!r} looks at data: give it loader=, batches of (inputs, targets)")
    if loader is not None and by_data:
        first, loader = opened(loader)
        example = first if example is None else example
    structure = None if example is None else Structure(model, example)
    chosen = select(model, structure, ratio, skip)
    if greedy and (structure is None or by_data or scope == "global"):
        raise ValueError("greedy goes from layer to layer by weights: it needs example=, scope='layer', no loader")
    groups = [group for group, _ in chosen]
    dead = [per_unit(group, _zero_filters(model, group), combine=torch.minimum) > 0 for group in groups]
    if greedy:
        assert structure is not None
        drops = _greedy(model, structure, chosen, criterion, seed)
    else:
        if by_data:
            assert structure is not None
            assert loader is not None
            scores = data_scores(str(criterion), model, structure, groups, loader, loss)
        else:
            scores = group_scores(criterion, model, groups, seed)
        if scope == "global":
            if isinstance(ratio, Mapping):
                raise ValueError("scope='global' finds each layer's share itself: ratio is one number, not a dict")
            raw = not isinstance(criterion, str) or criterion in ("bn_scale", "apoz", "random")
            scores = scores if raw else [s / s.norm().clamp_min(1e-30) for s in scores]
            drops = drop_globally([g.name for g in groups], scores, dead, ratio, max_per_layer)
        else:
            drops = [dropped_by(s, d, share) for (_, share), s, d in zip(chosen, scores, dead, strict=True)]
    mask_units(model, groups, drops, keep_shift)
    return model


def select(
    model: nn.Module, structure: Structure | None, ratio: float | Mapping[str, float], skip: Collection[str]
) -> list[tuple[Group, float]]:
    """The groups to prune and their ratios, checked."""
    layers = dict(weighted(model, skip))
    if structure is None:
        groups = by_definition(model, layers)
    else:
        groups = [g for g in structure.groups if not set(g.layers) & set(skip) and not _is_linear(g)]
    if not groups and not skip:
        raise ValueError(f"{type(model).__name__} has no convolution with filters to prune; for linear layers: units")
    if not isinstance(ratio, Mapping):
        check_share("ratio", ratio)
        return [(group, float(ratio)) for group in groups if not group.held]
    group_of = {member.layer: group for group in groups for member in group.producers}
    unknown = [name for name in ratio if name not in group_of]
    if unknown:
        raise ValueError(f"ratio: no filters to prune in {', '.join(unknown)}; there are {', '.join(group_of)}")
    chosen: dict[str, tuple[str, float]] = {}
    for name, share in ratio.items():
        check_share(f"ratio of {name}", share)
        group = group_of[name]
        check_held(group)
        other, before = chosen.setdefault(group.name, (name, share))
        if before != share:
            raise ValueError(
                f"ratio: {other} has {before} and {name} has {share}, but their channels go together; name one of them"
            )
    return [(group, chosen[group.name][1]) for group in groups if group.name in chosen]


def _is_linear(group: Group) -> bool:
    return all(member.kind == "linear" for member in group.producers)


def _zero_filters(model: nn.Module, group: Group) -> list[tuple[np.ndarray[Any, Any], Tensor]]:
    """For each producer: its units, and 1 for the filters whose weights are all zero."""
    return [(m.units, (rows(model.get_submodule(m.layer)) == 0).all(1).float()) for m in group.producers]


def _greedy(
    model: nn.Module,
    structure: Structure,
    chosen: Sequence[tuple[Group, float]],
    criterion: str | Criterion,
    seed: int,
) -> list[Tensor]:
    gone = np.zeros(0, np.int64)
    drops = []
    reads = {structure.layer_of[n.output]: n.inputs[0] for n in structure.graph.nodes if n.output in structure.layer_of}
    for group, share in chosen:
        unread = {
            name: torch.from_numpy(np.isin(structure.sets[str(reads[name])], gone)) for name in group.judged_by
        }
        (scores,) = group_scores(criterion, model, [group], seed, unread)
        dead = per_unit(group, _zero_filters(model, group), combine=torch.minimum) > 0
        drops.append(dropped_by(scores, dead, share))
        gone = np.union1d(gone, group.sets[drops[-1].numpy()])
    return drops
