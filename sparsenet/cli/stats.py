"""Counting what a graph holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import sparsenet


@dataclass(frozen=True)
class Layer:
    """One node. ``weights`` and ``nonzeros`` count all of its constants; ``bytes`` is their size as dense float32."""

    name: str
    op: str
    shape: tuple[int | None, ...]
    weights: int
    nonzeros: int

    @property
    def bytes(self) -> int:
        return 4 * self.weights


@dataclass(frozen=True)
class Totals:
    nodes: int
    parameters: int
    nonzeros: int

    @property
    def density(self) -> float:
        return self.nonzeros / self.parameters if self.parameters else 1.0


def layers(graph: sparsenet.Graph) -> list[Layer]:
    """Each node in order."""
    result = []
    for node in graph.nodes:
        arrays = [a for a in (graph.constant(name) for name in node.inputs if name is not None) if a is not None]
        weights = sum(int(a.size) for a in arrays)
        nonzeros = sum(int(np.count_nonzero(a)) for a in arrays)
        result.append(Layer(node.name, node.op, tuple(graph.shape(node.output)), weights, nonzeros))
    return result


def totals(graph: sparsenet.Graph) -> Totals:
    """Of the whole graph; a constant that several nodes share counts once."""
    used = {name for node in graph.nodes for name in node.inputs if name is not None}
    arrays = [a for a in (graph.constant(name) for name in used) if a is not None]
    return Totals(len(graph.nodes), sum(int(a.size) for a in arrays), sum(int(np.count_nonzero(a)) for a in arrays))
