"""Building, rewriting and compiling a graph take time in proportion to its nodes."""

from __future__ import annotations

import time

import numpy as np

import sparsenet as sn


def seconds(blocks: int) -> float:
    """Processor time for a chain of residual blocks that every pass has something to do on."""
    rng = np.random.default_rng(0)
    start = time.process_time()
    graph = sn.Graph()
    x = graph.add_input("x", (None, 4, 2, 2))
    attrs = {"stride": [1, 1], "padding": [0] * 4, "dilation": [1, 1]}
    for _ in range(blocks):
        w = graph.add_constant(graph.unique_name("w"), rng.standard_normal((4, 4, 1, 1), np.float32))
        norm = [graph.add_constant(graph.unique_name("norm"), 0.5 + rng.random(4, np.float32)) for _ in range(4)]
        y = graph.add_node("BatchNorm", [graph.add_node("Conv", [x, w], attrs), *norm])
        y = graph.add_node("Identity", [graph.add_node("Activation", [y], {"act": "relu"})])
        x = graph.add_node("Add", [y, x])
    graph.set_outputs([x])
    graph.run_passes()
    assert len(graph.nodes) == 2 * blocks
    sn.compile(graph, tune=False)
    return time.process_time() - start


def test_ten_times_the_nodes_take_about_ten_times_as_long() -> None:
    # Quadratic steps would make it 100; they did, before names had an index and links followed each rewrite.
    few, many = min(seconds(100) for _ in range(3)), min(seconds(1000) for _ in range(2))
    assert many < 30 * few
