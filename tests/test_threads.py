"""Engines and threads: equal answers however many, the GIL free during a call, nothing running after it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import sparsenet as sn


def graph(seed: int = 0, channels: int = 24, size: int = 20) -> sn.Graph:
    """x [N, 3, size, size] -> sparse convolutions, a residual, a linear layer -> [N, 7]."""
    rng = np.random.default_rng(seed)
    result = sn.Graph()

    def conv(x: str, cin: int, zeros: float, name: str) -> str:
        w = rng.standard_normal((channels, cin, 3, 3)).astype(np.float32)
        w[rng.random(w.shape) < zeros] = 0
        attrs = {"stride": [1, 1], "padding": [1, 1, 1, 1], "dilation": [1, 1], "act": "relu"}
        return result.add_node("Conv", [x, result.add_constant(f"{name}_w", w)], attrs, name=name)

    a = conv(result.add_input("x", (None, 3, size, size)), 3, 0.0, "dense")
    b = conv(a, channels, 0.9, "sparse")
    y = result.add_node("Add", [a, b], name="residual")
    y = result.add_node("AdaptiveAvgPool", [y], {"output": [2, 2]}, name="pool")
    y = result.add_node("Reshape", [y], {"shape": [0, -1]}, name="flat")
    fc = rng.standard_normal((7, 4 * channels)).astype(np.float32)
    result.set_outputs([result.add_node("Linear", [y, result.add_constant("fc_w", fc)], name="fc")])
    return result


def noise(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@pytest.mark.parametrize("batch", [1, 3])
def test_two_threads_answer_as_one(batch: int) -> None:
    x = noise(batch, 3, 20, 20)
    one, two = (sn.compile(graph(), threads=t, tune=False) for t in (1, 2))
    for _ in range(20):
        np.testing.assert_array_equal(one(x), two(x))


@pytest.mark.parametrize("threads", [1, 2])
def test_one_engine_called_from_many_threads(threads: int) -> None:
    engine = sn.compile(graph(), threads=threads, tune=False)
    inputs = [noise(1 + i % 3, 3, 20, 20, seed=i) for i in range(8)]
    expected = [engine(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            for y, truth in zip(pool.map(engine, inputs), expected, strict=True):
                np.testing.assert_array_equal(y, truth)


def test_engines_made_and_dropped_in_threads() -> None:
    x = noise(1, 3, 20, 20)
    expected = [sn.compile(graph(seed), tune=False)(x) for seed in range(4)]

    def once(seed: int) -> np.ndarray:
        y: np.ndarray = sn.compile(graph(seed), threads=2, tune=False)(x)
        return y

    with ThreadPoolExecutor(3) as pool:
        for seed, y in enumerate(pool.map(once, [0, 1, 2, 3] * 5)):
            np.testing.assert_array_equal(y, expected[seed % 4])


def test_the_gil_is_free_during_a_call() -> None:
    engine = sn.compile(graph(channels=64, size=32), tune=False)
    x = noise(16, 3, 32, 32)
    engine(x)
    span: list[float] = []

    def call() -> None:
        span.append(time.perf_counter())
        engine(x)
        span.append(time.perf_counter())

    ticks: list[float] = []
    worker = threading.Thread(target=call)
    worker.start()
    while worker.is_alive():
        ticks.append(time.perf_counter())
    begin, end = span
    assert end - begin > 0.005, "the call is too short to tell"
    # Checking arguments takes the GIL at the ends; the middle half must be open to others.
    quarter = (end - begin) / 4
    assert any(begin + quarter < t < end - quarter for t in ticks)


def test_no_cpu_between_calls() -> None:
    engine = sn.compile(graph(), threads=2, tune=False)
    engine(noise(1, 3, 20, 20))
    time.sleep(0.01)
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.01


def test_a_forked_child_can_run_the_parents_engine(tmp_path: Path) -> None:
    """Workers do not survive a fork; the child must neither wait for them nor hang when it drops the engine."""
    code = """
import os, sys
import numpy as np
import sparsenet as sn
sys.path.insert(0, os.environ["TESTS"])
from test_threads import graph, noise
x = noise(2, 3, 20, 20)
engine = sn.compile(graph(), threads=2, tune=False)
expected = engine(x)
child = os.fork()
if child == 0:
    ok = np.array_equal(engine(x), expected)
    del engine
    os._exit(0 if ok else 3)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""
    environment = {**os.environ, "TESTS": os.path.dirname(__file__)}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    assert subprocess.run(command, env=environment, cwd=tmp_path, timeout=60, check=False).returncode == 0
