"""Whole networks: each engine alone (comparable from run to run), and all in turn (ratios that hold on a busy machine).

`pytest benchmarks/ --benchmark-only`; options in conftest.py. Names are stable:
test_latency[resnet50-unstructured-90-t1-openvino], test_in_turn[resnet50-unstructured-90-t1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import side_by_side as engines
from .cases import Case


def test_latency(case: Case, threads: int, engine: str, alone: Callable[..., None], benchmark: Any) -> None:
    benchmark.group = f"{case.network}, {case.zeros} % zeros, {case.pattern}"
    benchmark.extra_info.update(engine=engine, threads=threads, batch=case.batch)
    alone(engines.alone, engine, case, threads)


def test_in_turn(case: Case, threads: int, side_by_side: Callable[..., Any], benchmark: Any) -> None:
    benchmark.group = f"{case.network}, {case.zeros} % zeros, {case.pattern}, in turn"
    benchmark.extra_info.update(threads=threads, batch=case.batch)
    timings = side_by_side(case, threads)
    assert engines.OURS in timings
    assert set(benchmark.extra_info["results"]) == set(timings)
