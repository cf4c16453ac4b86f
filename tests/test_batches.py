"""Batches whose activations leave the caches run in stages: the same results, the memory of a stage's turn."""

from __future__ import annotations

import numpy as np
import pytest

import sparsenet as sn
from sparsenet import reference

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
@pytest.mark.parametrize("features", [10, 40000])  # 40000: 78 MiB of weights, which are read once for all images
def test_a_large_batch_runs_in_stages(threads: int, features: int) -> None:
    made = graph(features)
    engine = sn.compile(made, threads=threads, tune=False)
    x = np.random.default_rng(4).standard_normal((5, 3, SIDE, SIDE)).astype(np.float32)
    backend = engine._backend
    pooled = CHANNELS * 16 * 4  # bytes, kept from the first stage for the last
    assert backend.arena_bytes(5) == threads * backend.arena_bytes(1) + 5 * pooled
    reference.assert_close(engine(x), made, {"x": x})
    timed = engine.explain(x)
    assert timed.total_ms is not None
    assert timed.total_ms > 0
