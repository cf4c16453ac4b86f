"""The interpreter: one node, or a whole graph, in the precision asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from sparsenet.errors import InvalidArgumentError, ShapeError, UnsupportedOpError
from sparsenet.reference import elementwise, layout, linear, pool
from sparsenet.reference.types import Array, Attrs, GraphLike, Inputs, NodeLike

#: The op table: name -> function of (inputs, complete attributes).
OPS: dict[str, Callable[[Inputs, Attrs], Array]] = {
    "Conv": linear.conv,
    "ConvTranspose": linear.conv_transpose,
    "Linear": linear.linear,
    "BatchNorm": elementwise.batch_norm,
    "Activation": elementwise.activation,
    "PRelu": elementwise.prelu,
    "Softmax": elementwise.softmax,
    "Add": elementwise.add,
    "Sub": elementwise.subtract,
    "Mul": elementwise.multiply,
    "Div": elementwise.divide,
    "MaxPool": pool.max_pool,
    "AvgPool": pool.avg_pool,
    "AdaptiveAvgPool": pool.adaptive_avg_pool,
    "AdaptiveMaxPool": pool.adaptive_max_pool,
    "Mean": pool.mean,
    "Concat": layout.concat,
    "Slice": layout.slice_,
    "Pad": layout.pad,
    "Reshape": layout.reshape,
    "Transpose": layout.transpose,
    "ChannelShuffle": layout.channel_shuffle,
    "Resize": layout.resize,
    "Identity": layout.identity,
}


def evaluate(op: str, inputs: Inputs, attrs: Attrs) -> Array:
    """The output of one op, in the dtype of its inputs."""
    try:
        function = OPS[op]
    except KeyError:
        raise UnsupportedOpError(f"the reference has no op {op!r}; it knows {', '.join(sorted(OPS))}") from None
    return function(inputs, attrs)


def feeds(
    graph: GraphLike, inputs: Mapping[str, ArrayLike] | Sequence[ArrayLike], dtype: DTypeLike
) -> dict[str, Array]:
    """The graph's inputs by name, checked against its shapes and cast to ``dtype``."""
    expected = {name: tuple(shape) for name, shape in graph.inputs}
    if not isinstance(inputs, Mapping):
        if len(inputs) != len(expected):
            raise InvalidArgumentError(f"expected {len(expected)} inputs ({', '.join(expected)}), got {len(inputs)}")
        inputs = dict(zip(expected, inputs, strict=True))
    if set(inputs) != set(expected):
        raise InvalidArgumentError(f"expected the inputs {sorted(expected)}, got {sorted(inputs)}")
    result = {}
    for name, shape in expected.items():
        value: Array = np.asarray(inputs[name], dtype=dtype)
        if value.ndim != len(shape) or any(d is not None and d != n for d, n in zip(shape, value.shape, strict=True)):
            raise ShapeError(f"input {name!r}: expected shape {shape} (None: any batch), got {value.shape}")
        result[name] = value
    return result


def arguments(graph: GraphLike, node: NodeLike, values: Mapping[str, Array], dtype: DTypeLike) -> list[Array | None]:
    """What ``node`` reads: activations from ``values``, constants from the graph, None where absent."""
    result: list[Array | None] = []
    for name in node.inputs:
        if name is None or name in values:
            result.append(None if name is None else values[name])
        else:
            result.append(np.asarray(graph.constant(name), dtype=dtype))
    return result


def run(
    graph: GraphLike,
    inputs: Mapping[str, ArrayLike] | Sequence[ArrayLike],
    dtype: DTypeLike = np.float64,
    values: bool = False,
    evaluate_node: Callable[[Any, Inputs], Array] | None = None,
) -> dict[str, Array]:
    """Interpret a graph in NumPy: the truth that every engine is held against.

    Args:
        graph: any :class:`sparsenet.Graph`.
        inputs: one array an input, by name or in the graph's order, shape ``[N, ...]``.
        dtype: the precision to compute in. Weights are fp32 in the graph and are widened exactly.
        values: return every intermediate value too, not only the outputs.
        evaluate_node: computes one node from (node, inputs) instead of :func:`evaluate`, for backends in Python.

    Returns:
        Arrays of ``dtype`` by value name, in graph order.

    Raises:
        ShapeError, InvalidArgumentError: the inputs do not fit the graph.

    Example:
        >>> y = sparsenet.reference.run(graph, {"x": x})["logits"]
    """
    known = feeds(graph, inputs, dtype)
    outputs = [name for name, _ in graph.outputs]
    nodes = graph.nodes
    readers = Counter(name for node in nodes for name in node.inputs)
    readers.update(outputs)
    for node in nodes:
        args = arguments(graph, node, known, dtype)
        known[node.output] = evaluate_node(node, args) if evaluate_node else evaluate(node.op, args, node.attrs)
        if values:
            continue
        readers.subtract(node.inputs)
        for name in [*node.inputs, node.output]:
            if name is not None and readers[name] == 0:
                known.pop(name, None)
    if values:
        return known
    return {name: known[name] if name in known else np.asarray(graph.constant(name), dtype=dtype) for name in outputs}
