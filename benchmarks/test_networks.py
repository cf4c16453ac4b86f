"""Whole networks: each engine alone (comparable from run to run), and all in turn (ratios that hold on a busy machine).

`pytest benchmarks/ --benchmark-only`; options in conftest.py. Names are stable:
test_latency[resnet50-unstructured-90-t1-openvino], test_in_turn[resnet50-unstructured-90-t1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .cases import Case
from .side_by_side import OURS


def test_latency(case: Case, threads: int, engine: str, prepared: Callable[..., Any], benchmark: Any) -> None:
    calls, absent = prepared(case, threads)
    if engine in absent:
        pytest.skip(f"{engine}: {absent[engine]}")
    benchmark.group = f"{case.network}, {case.zeros} % zeros, {case.pattern}"
    benchmark.extra_info.update(engine=engine, threads=threads, batch=case.batch)
    benchmark(calls[engine])


def test_in_turn(case: Case, threads: int, prepared: Callable[..., Any], side_by_side: Any, benchmark: Any) -> None:
    calls, absent = prepared(case, threads)
    benchmark.group = f"{case.network}, {case.zeros} % zeros, {case.pattern}, in turn"
    benchmark.extra_info.update(threads=threads, batch=case.batch, missing=absent)
    timings = side_by_side(calls)
    assert set(timings) == set(calls)
    assert OURS in timings
