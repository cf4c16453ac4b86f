"""Hold an engine's outputs against the truth, the whole network at once or layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsenet.reference.bounds import bound, node_bound
from sparsenet.reference.interpret import arguments, evaluate, feeds, run
from sparsenet.reference.types import Array, GraphLike, NodeLike


def worst(got: ArrayLike, expected: Array, limit: Array) -> float:
    """The largest ``|got - expected| / limit``; above 1 the bound is broken. Equal infinities and NaNs agree."""
    actual: Array = np.asarray(got, dtype=np.float64)
    if actual.shape != expected.shape:
        raise AssertionError(f"expected shape {expected.shape}, got {actual.shape}")
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(same, 0.0, np.abs(actual - expected) / limit)
    ratio[np.isnan(ratio)] = np.inf
    return float(ratio.max(initial=0.0))


def _hold(what: str, got: ArrayLike, expected: Array, limit: Array) -> None:
    ratio = worst(got, expected, limit)
    if ratio <= 1:
        return
    actual: Array = np.asarray(got, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.nan_to_num(np.abs(actual - expected) / limit, nan=np.inf)
    gap[actual == expected] = 0
    at = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
    raise AssertionError(
        f"{what}: error {ratio:.3g} times the bound at {at}: got {actual[at]:.9g}, expected {expected[at]:.9g} "
        f"+- {limit[at]:.3g}; {np.count_nonzero(gap > 1)} of {gap.size} elements are out"
    )


def assert_close(
    got: Mapping[str, ArrayLike] | Sequence[ArrayLike] | np.ndarray[Any, Any],
    graph: GraphLike,
    inputs: Mapping[str, ArrayLike] | Sequence[ArrayLike],
    c: float = 8,
    statistical: bool = True,
) -> None:
    """Raise AssertionError unless a network's outputs are within :func:`bound` of the fp64 truth.

    Args:
        got: the engine's outputs, by name, in the graph's order, or the one array of a graph with one output.
        graph, inputs: what was computed, from which fp32 inputs.
        c, statistical: see :func:`bound`. For one op use ``statistical=False``; it makes no difference but to say so.
    """
    expected, limit = run(graph, inputs), bound(graph, inputs, c, statistical)
    if isinstance(got, np.ndarray):
        got = [got]
    if not isinstance(got, Mapping):
        if len(got) != len(expected):
            raise AssertionError(f"expected {len(expected)} outputs ({', '.join(expected)}), got {len(got)}")
        got = dict(zip(expected, got, strict=True))
    for name, truth in expected.items():
        _hold(f"output {name!r}", got[name], truth, limit[name])


def assert_layers_close(
    values: Mapping[str, ArrayLike], graph: GraphLike, inputs: Mapping[str, ArrayLike], c: float = 8
) -> None:
    """Raise AssertionError unless each node's output is within its local bound, given the inputs it really had.

    Args:
        values: every activation as the engine computed it, by value name; nodes that are absent are left out.
        graph, inputs: what was computed, from which fp32 inputs.
    """
    known: dict[str, Array] = feeds(graph, inputs, np.float64)
    known.update({name: np.asarray(value, dtype=np.float64) for name, value in values.items()})
    for node in graph.nodes:
        if node.output not in values or any(
            name is not None and name not in known and graph.constant(name) is None for name in node.inputs
        ):
            continue
        args = arguments(graph, node, known, np.float64)
        limit = node_bound(node.op, args, node.attrs, c=c)
        _hold(f"{node.op} {node.name!r}", known[node.output], evaluate(node.op, args, node.attrs), limit)


def layers(
    graph: Any, inputs: Mapping[str, ArrayLike] | Sequence[ArrayLike]
) -> Iterator[tuple[NodeLike, Any, dict[str, np.ndarray[Any, np.dtype[np.float32]]]]]:
    """Each node as a graph of its own, with the fp32 inputs it has in the network.

    Yields:
        ``(node, graph of that node alone, its inputs)``: compile the graph, run it on the inputs and hold the result
        against :func:`assert_close`. Errors do not pile up this way, whatever the depth of the network.
    """
    from sparsenet.graph import Graph

    known = run(graph, inputs, values=True)
    for node in graph.nodes:
        one, fed = Graph(), {}
        for name in dict.fromkeys(name for name in node.inputs if name is not None):
            if name in known:
                fed[name] = np.ascontiguousarray(known[name], dtype=np.float32)
                one.add_input(name, [None, *graph.shape(name)[1:]])
            else:
                one.add_constant(name, graph.constant(name))
        one.fixed_batch = graph.fixed_batch
        one.set_outputs([one.add_node(node.op, list(node.inputs), dict(node.attrs), node.output)])
        yield node, one, fed
