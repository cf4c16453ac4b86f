"""Low-rank factorisation: one matrix becomes the product of two thin ones."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from sparsenet.prune.masks import check_names, weight_of, weighted

Ranks = int | Mapping[str, int]

# From little loss to hardly anything left; the search for a latency goes through these.
_ENERGIES = (0.999, 0.99, 0.97, 0.95, 0.92, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)


@dataclass(frozen=True)
class _Factors:
    name: str
    module: nn.Module
    u: torch.Tensor  # [outputs, min]
    s: torch.Tensor
    v: torch.Tensor  # [min, inputs]

    def rank_of(self, energy: float) -> int:
        """The smallest rank whose singular values hold this share of the sum of squares."""
        share = self.s.square().cumsum(0) / self.s.square().sum().clamp_min(torch.finfo(self.s.dtype).tiny)
        return min(int((share < energy - 1e-12).sum()) + 1, len(self.s))


@torch.no_grad()
def low_rank(
    model: nn.Module,
    energy: float = 0.9,
    *,
    rank: Ranks | None = None,
    target_ms: float | None = None,
    example: Any = None,
    layers: Collection[str] | None = None,
    skip: Collection[str] = (),
    measure: Callable[[nn.Module, Any], float] | None = None,
) -> nn.Module:
    """Replaces linear layers and 1x1 convolutions by two of smaller rank, in place, and returns ``model``.

    Denton et al. 2014 ("Exploiting linear structure within convolutional networks"): the truncated singular value
    decomposition, the best approximation of a rank in the least squares sense. Its square roots go to both factors.
    A layer at ``path`` becomes a Sequential of ``path.reduce`` and ``path.expand``; only where that has fewer weights,
    else it is left alone. Fine-tune afterwards, with a new optimiser: parameters were replaced, and masks on them are
    gone (pruned zeros fill up; prune after factoring).

    Args:
        model: any module.
        energy: share of the sum of squared singular values to keep, 0 < energy <= 1.
        rank: instead: the rank of all layers, or of each by name.
        target_ms: instead: the largest energy at which ``example`` takes at most this long in our engine, here.
        example: input for ``target_ms``.
        layers: names of layers to factor; None: all linear layers and 1x1 convolutions.
        skip: names of layers to leave alone.
        measure: milliseconds of (model, example); None: :func:`measure_latency`.

    Raises:
        ValueError: a number out of range, a name that is no layer or a layer that cannot be factored, or a latency that
            even the smallest rank does not reach. The model is then as it was.

    Example:
        >>> prune.low_rank(model, energy=0.95, skip=["fc2"])
        >>> prune.low_rank(model, rank={"fc1": 32})
    """
    if sum(option is not None for option in (rank, target_ms)) > 1:
        raise ValueError("give rank or target_ms, not both")
    if not 0 < energy <= 1:
        raise ValueError(f"energy is a share, 0 < energy <= 1, not {energy}")
    names = rank if isinstance(rank, Mapping) else layers
    chosen = [_factor(name, module) for name, module in _eligible(model, names, skip)]
    if rank is not None:
        ranks = {f.name: rank[f.name] if isinstance(rank, Mapping) else rank for f in chosen}
        for f in chosen:
            if not 1 <= ranks[f.name] <= len(f.s):
                raise ValueError(f"rank of {f.name} is from 1 to {len(f.s)}, not {ranks[f.name]}")
    elif target_ms is not None:
        ranks = _ranks_for(model, chosen, target_ms, example, measure)
    else:
        ranks = {f.name: f.rank_of(energy) for f in chosen}
    return _replace(model, chosen, ranks)


def _eligible(
    model: nn.Module, names: Collection[str] | None, skip: Collection[str]
) -> list[tuple[str, nn.Module]]:
    if names is not None:
        check_names(model, "layers", names)
    found = []
    for name, module in weighted(model, skip):
        if names is not None and name not in names:
            continue
        pointwise = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
        if name and (isinstance(module, nn.Linear) or pointwise):
            found.append((name, module))
        elif names is not None:
            raise ValueError(f"{name!r} is {module}: only linear layers and 1x1 convolutions in a model have factors")
    return found


def _factor(name: str, module: nn.Module) -> _Factors:
    # In double precision: the product of the factors then rounds once.
    u, s, v = torch.linalg.svd(weight_of(module).flatten(1).double(), full_matrices=False)
    return _Factors(name, module, u, s, v)


def _replace(model: nn.Module, chosen: list[_Factors], ranks: dict[str, int]) -> nn.Module:
    built = {}
    with torch.random.fork_rng(devices=[]):  # new layers draw weights, which are then overwritten
        for f in chosen:
            outputs, inputs = f.u.shape[0], f.v.shape[1]
            if ranks[f.name] * (outputs + inputs) < outputs * inputs:
                built[f.module] = _pair(f, ranks[f.name])
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if child in built:
                setattr(parent, name, built[child])
    return model


def _pair(f: _Factors, rank: int) -> nn.Sequential:
    weight = weight_of(f.module)
    old: Any = f.module
    has_bias = old.bias is not None
    make: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    if isinstance(f.module, nn.Linear):
        reduce: Any = nn.Linear(old.in_features, rank, bias=False, **make)
        expand: Any = nn.Linear(rank, old.out_features, bias=has_bias, **make)
    else:
        # Padding pads with zeros, which a convolution without bias passes on as zeros; so it may all go first.
        window = {"stride": old.stride, "padding": old.padding, "padding_mode": old.padding_mode}
        reduce = nn.Conv2d(old.in_channels, rank, 1, bias=False, **window, **make)
        expand = nn.Conv2d(rank, old.out_channels, 1, bias=has_bias, **make)
    root = f.s[:rank].sqrt()
    reduce.weight.copy_((root.unsqueeze(1) * f.v[:rank]).view_as(reduce.weight))
    expand.weight.copy_((f.u[:, :rank] * root).view_as(expand.weight))
    if has_bias:
        expand.bias.copy_(old.bias)
    return nn.Sequential(OrderedDict(reduce=reduce, expand=expand)).train(old.training)


def _ranks_for(
    model: nn.Module,
    chosen: list[_Factors],
    target_ms: float,
    example: Any,
    measure: Callable[[nn.Module, Any], float] | None,
) -> dict[str, int]:
    """Bisection over energies: time falls with the rank."""
    if example is None or not target_ms > 0:
        raise ValueError(f"target_ms is milliseconds above 0 (got {target_ms}), and needs example=, an input to time")
    if measure is None:
        from sparsenet.prune.latency import measure_latency

        measure = measure_latency

    def ranks_at(energy: float) -> dict[str, int]:
        return {f.name: f.rank_of(energy) for f in chosen}

    def milliseconds(ranks: dict[str, int]) -> float:
        twin = copy.deepcopy(model)
        modules = dict(twin.named_modules())
        theirs = [replace(f, module=modules[f.name]) for f in chosen]
        return measure(_replace(twin, theirs, ranks), example)

    fastest = milliseconds(ranks_at(_ENERGIES[-1]))
    if fastest > target_ms:
        raise ValueError(
            f"even the smallest ranks take {fastest:.3f} ms, the target is {target_ms} ms: prune as well, or allow more"
        )
    low, high = -1, len(_ENERGIES) - 1  # energies from `high` on are fast enough, up to `low` too slow
    while high - low > 1:
        middle = (low + high) // 2
        if milliseconds(ranks_at(_ENERGIES[middle])) <= target_ms:
            high = middle
        else:
            low = middle
    return ranks_at(_ENERGIES[high])
