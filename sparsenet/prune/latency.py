"""How long a network takes in our engine, on this machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn
from torch.utils import _pytree as pytree

import sparsenet.engine
from sparsenet.frontends.torch import from_torch
from sparsenet.graph import Graph
from sparsenet.timing import interleave


def measure_latency(model: nn.Module, example: Any, *, threads: int = 1, seconds: float = 1.0) -> float:
    """Milliseconds of one call, the median over ``seconds`` of calls, after compiling and tuning for this CPU.

    Args:
        model: with masks or without; zeros are used as far as the engine's kernels can.
        example: a tensor, or what `sparsenet.from_torch` takes. Its batch size is the one that is measured.
        threads: of the engine.
        seconds: to time for, > 0; at least five calls are made.

    Raises `sparsenet.errors.SparsenetError` where the importer or the engine does.

    Example:
        >>> prune.measure_latency(model, torch.zeros(1, 3, 224, 224))
        11.4
    """
    inputs = [leaf.detach().cpu().float().numpy() for leaf in pytree.tree_leaves(example)]
    return graph_latency(from_torch(model, example), inputs, threads, seconds)


def graph_latency(graph: Graph, inputs: list[np.ndarray[Any, Any]], threads: int, seconds: float) -> float:
    """measure_latency() of a graph."""
    engine = sparsenet.engine.compile(graph, threads=threads, batch=len(inputs[0]))
    times = interleave({"engine": lambda: engine(*inputs)}, seconds=seconds)
    return 1e3 * times["engine"].median
