"""The ratio that meets a target: multiply-adds, parameters, bytes, or milliseconds measured in our engine."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.utils import _pytree as pytree

from sparsenet import _core
from sparsenet.frontends.torch import from_torch
from sparsenet.graph import Graph
from sparsenet.prune.cost import graph_macs
from sparsenet.prune.filters import filters
from sparsenet.prune.latency import graph_latency

Method = Callable[[nn.Module, Any], Any]
Shares = float | dict[str, float]


@dataclass(frozen=True)
class Budget:
    """What a search found.

    Attributes:
        ratio: what the method was called with: a share, or one for each layer of the profile.
        cost: of the pruned model, in the target's unit.
        dense: the cost before.
        trials: (scale, cost) of each ratio that was tried, in order.
    """

    ratio: Shares
    cost: float
    dense: float
    trials: tuple[tuple[float, float], ...]


def to_flops(model: nn.Module, example: Any, target: float, **search: Any) -> Budget:
    """Prunes ``model``, in place, until a sample takes at most ``target`` multiply-adds.

    Those whose weight is zero are not counted, so weight pruning may be the method as well as filter pruning.

    Args:
        model, example, search: see :func:`to_latency`; all searches take the same options.
        target: multiply-adds of one sample, or, below 1, a share of what the model takes now.

    Raises ValueError as :func:`to_latency` does.

    Example:
        >>> prune.to_flops(model, x, 0.5, method=lambda m, r: prune.filters(m, r, "fpgm", example=x))
    """
    return _search(model, example, target, lambda graph: graph_macs(graph, zeros=False), "multiply-adds", **search)


def to_parameters(model: nn.Module, example: Any, target: float, **search: Any) -> Budget:
    """The same for parameters: weights that are not zero, and biases, after batch norms are folded into weights.

    Example:
        >>> prune.to_parameters(model, x, 100_000, method=prune.magnitude)
    """
    return _search(model, example, target, _nonzeros, "parameters", **search)


def to_bytes(model: nn.Module, example: Any, target: float, fp16: bool = False, **search: Any) -> Budget:
    """The same for the size of the `.snet` file that the network is saved as; ``fp16`` as in `Graph.save`.

    Example:
        >>> prune.to_bytes(model, x, 250_000, fp16=True)
    """
    return _search(model, example, target, lambda graph: len(_core.save_bytes(graph, fp16=fp16)), "bytes", **search)


def to_latency(
    model: nn.Module, example: Any, target_ms: float, *, threads: int = 1, seconds: float = 0.5, **search: Any
) -> Budget:
    """Prunes ``model``, in place, until a call of our engine takes at most ``target_ms`` on this machine.

    Each ratio tried is compiled, tuned and timed here and now: what a layer gains from its zeros depends on the CPU,
    the kernels and the layer's shape, and no count of operations tells it. The search halves the interval of ratios,
    on copies, and applies the smallest ratio that met the target.

    Args:
        model: pruned in place once the ratio is found; until then, and on an error, it stays as it was. Fine-tune
            it afterwards; masks that it has already stay.
        example: its batch size is the one that is timed.
        target_ms: milliseconds of a call.
        threads: of the engine.
        seconds: for timing each trial.
        method: (keyword) method(model, ratio), pruning in place; by default `filters` by L1 norms with the example.
            With a profile it is called with a dict of ratios.
        profile: (keyword) relative shares by layer, for instance from `sensitivity`; the search then looks for their
            common scale, and no layer goes beyond ``highest``.
        highest: (keyword) the largest ratio to try, 0.95 by default.
        steps: (keyword) how often the interval is halved, 7 by default: to within 1 % of ratio.

    Raises:
        ValueError: even the highest ratio misses the target (the message has its cost), or an argument out of range.

    Example:
        >>> found = prune.to_latency(model, x, target_ms=5.0)
        >>> found.ratio, found.cost
        (0.42, 4.93)
        >>> prune.to_latency(model, x, target_ms=5.0, method=prune.magnitude, profile=curves.propose(max_drop=0.01))
    """
    inputs = [leaf.detach().cpu().float().numpy() for leaf in pytree.tree_leaves(example)]

    def cost(graph: Graph) -> float:
        return graph_latency(graph, inputs, threads, seconds)

    return _search(model, example, target_ms, cost, "ms", relative=False, **search)


def _search(
    model: nn.Module,
    example: Any,
    target: float,
    cost: Callable[[Graph], float],
    unit: str,
    *,
    method: Method | None = None,
    profile: Mapping[str, float] | None = None,
    highest: float = 0.95,
    steps: int = 7,
    relative: bool = True,
) -> Budget:
    if not 0 < highest < 1:
        raise ValueError(f"highest is the largest ratio to try, 0 < highest < 1, not {highest}")
    if not target > 0 or steps < 1:
        raise ValueError(f"the target must be positive, and steps at least 1; got {target} and {steps}")
    if profile is not None and not (profile and all(0 <= share < 1 for share in profile.values())):
        raise ValueError("profile has a share, 0 <= share < 1, for each layer to prune, and names at least one")
    prune_by: Method = method or (lambda pruned, ratio: filters(pruned, ratio, example=example))
    top = highest if profile is None else highest / max(max(profile.values()), 1e-9)
    trials: list[tuple[float, float]] = []

    def ratio(scale: float) -> Shares:
        return scale if profile is None else {name: min(highest, scale * share) for name, share in profile.items()}

    def trial(scale: float) -> float:
        pruned = copy.deepcopy(model)
        if scale > 0:
            try:
                prune_by(pruned, ratio(scale))
            except ValueError as refusal:
                raise ValueError(f"{refusal} (the search tries ratios up to highest={highest}: lower it)") from refusal
        graph = from_torch(pruned, example)
        graph.run_passes()
        trials.append((scale, float(cost(graph))))
        return trials[-1][1]

    dense = trial(0.0)
    goal = target * dense if relative and target < 1 else target
    if dense <= goal:
        return Budget(ratio(0.0), dense, dense, tuple(trials))
    best = trial(top)
    if best > goal:
        raise ValueError(
            f"the target of {goal:.6g} {unit} is out of reach: the model takes {dense:.6g}, and {best:.6g} at the "
            f"highest ratio, {highest}; let more layers be pruned, or aim higher"
        )
    low, high = 0.0, top
    for _ in range(steps):
        middle = (low + high) / 2
        found = trial(middle)
        low, high, best = (low, middle, found) if found <= goal else (middle, high, best)
    prune_by(model, ratio(high))
    return Budget(ratio(high), best, dense, tuple(trials))


def _nonzeros(graph: Graph) -> int:
    names = {name for node in graph.nodes for name in node.inputs if name}
    arrays = [array for array in map(graph.constant, names) if array is not None]
    return sum(int((array != 0).sum()) for array in arrays)
