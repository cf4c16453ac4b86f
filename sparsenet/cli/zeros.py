"""More zeros in a graph, to see what they would buy: speed depends on where zeros are, hardly on the values left."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsenet.arrays import FloatArray
from sparsenet.graph import Graph


def with_zeros(graph: Graph, share: float) -> Graph:
    """A copy in which the smallest `share` of each layer's weights is zero; zeros already there count.

    The first convolution and depthwise ones stay as they are: few weights, much accuracy. Nothing is trained
    afterwards, so the copy is for timing; `sparsenet.prune` prunes networks that are to be used.

    >>> sparse = with_zeros(graph, 0.9)  # doctest: +SKIP
    """
    result = Graph()
    result.fixed_batch = graph.fixed_batch
    for source, shape in graph.inputs:
        result.add_input(source, shape)
    chosen = _prunable(graph)
    known: set[str] = set()
    for node in graph.nodes:
        for name in filter(None, node.inputs):
            array = graph.constant(name)
            if array is not None and name not in known:
                known.add(name)
                result.add_constant(name, _zeroed(array, share) if name in chosen else array)
        result.add_node(node.op, node.inputs, node.attrs, node.output)
    result.set_outputs([name for name, _ in graph.outputs])
    return result


def _prunable(graph: Graph) -> set[str]:
    """The names of the weights to prune."""
    weighted = [node for node in graph.nodes if node.op in ("Conv", "ConvTranspose", "Linear")]
    stem = weighted[0] if weighted and weighted[0].op == "Conv" else None
    return {
        str(node.inputs[1])
        for node in weighted
        if not (stem is not None and node.output == stem.output) and not _depthwise(graph, node)
    }


def _depthwise(graph: Graph, node: Any) -> bool:
    return node.attrs.get("groups", 1) > 1 and graph.shape(node.inputs[1])[1] == 1


def _zeroed(array: FloatArray, share: float) -> FloatArray:
    flat = np.array(array).reshape(-1)
    drop = min(round(share * flat.size), flat.size - 1)
    if drop > 0:
        flat[np.argpartition(np.abs(flat), drop - 1)[:drop]] = 0
    return flat.reshape(array.shape)
