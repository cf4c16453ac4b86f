"""Batches whose activations leave the caches run in slices: the same results, the memory of a slice."""

from __future__ import annotations

import numpy as np
import pytest

import sparsenet as sn

SIDE, CHANNELS = 256, 32  # an activation of 8 MiB a sample, more than any core's L2


def graph(features: int) -> sn.Graph:
    """Two convolutions, and a fully connected layer over their pooled channels."""
    rng = np.random.default_rng(3)
    made = sn.Graph()
    x = made.add_input("x", (None, 3, SIDE, SIDE))
    window = {"stride": [1, 1], "padding": [1, 1, 1, 1], "dilation": [1, 1], "act": "relu"}
    first = made.add_constant("first", rng.standard_normal((CHANNELS, 3, 3, 3), np.float32))
    x = made.add_node("Conv", [x, first], window)
    second = made.add_constant("second", rng.standard_normal((CHANNELS, CHANNELS, 1, 1), np.float32))
    x = made.add_node("Conv", [x, second], window | {"padding": [0] * 4})
    x = made.add_node("AdaptiveAvgPool", [x], {"output": [4, 4]})
    x = made.add_node("Reshape", [x], {"shape": [0, CHANNELS * 16]})
    last = made.add_constant("last", rng.standard_normal((features, CHANNELS * 16), np.float32))
    made.set_outputs([made.add_node("Linear", [x, last])])
    return made


@pytest.mark.parametrize("threads", [1, 2])
def test_a_large_batch_runs_in_slices(threads: int) -> None:
    engine = sn.compile(graph(10), threads=threads, tune=False)
    x = np.random.default_rng(4).standard_normal((5, 3, SIDE, SIDE)).astype(np.float32)
    backend = engine._backend
    assert backend.arena_bytes(5) < 5 * backend.arena_bytes(1)
    y = engine(x)
    np.testing.assert_array_equal(y, np.concatenate([engine(x[i : i + 1]) for i in range(5)]))
    timed = engine.explain(x)
    assert timed.total_ms is not None
    assert timed.total_ms > 0


def test_large_linear_weights_are_read_once_for_the_whole_batch() -> None:
    backend = sn.compile(graph(40000), tune=False)._backend  # 78 MiB
    assert backend.arena_bytes(5) == 5 * backend.arena_bytes(1)
