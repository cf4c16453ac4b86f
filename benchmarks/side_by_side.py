"""One case in sparsenet and in each peer, taking turns in this process on the same core(s)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import sparsenet as sn
from sparsenet import peers
from sparsenet.apart import at
from sparsenet.timing import Timing, interleave

from .cases import Case, build

OURS = "sparsenet"
Calls = dict[str, Callable[[], object]]


def pin(threads: int) -> list[int]:
    """Holds this process, and the threads it will start, to as many cores as threads; returns them."""
    cores = sorted(os.sched_getaffinity(0))
    if threads > len(cores):
        raise SystemExit(f"{threads} threads: only {len(cores)} cores are available")
    os.sched_setaffinity(0, cores[-threads:])
    return cores[-threads:]


def prepare(
    case: Case,
    engines: Sequence[str],
    threads: int = 1,
    tune_seconds: float = 5.0,
) -> tuple[Calls, dict[str, str], dict[str, Any]]:
    """(calls by engine, reasons by engine that cannot, facts about the case). Each peer's output equals ours."""
    graph, x = build(case)
    at(OURS, "prepared")
    engine = sn.compile(graph, threads=threads, batch=case.batch, tune_seconds=tune_seconds)
    y = engine(x)
    network = peers.Network(graph, [x], [np.asarray(o) for o in (y if isinstance(y, tuple) else (y,))])
    calls: Calls = {OURS: lambda: engine(x)}
    absent: dict[str, str] = {}
    for name in engines:
        if name == OURS:
            continue
        try:
            calls[name] = peers.prepare(name, network, threads)
        except peers.PeerError as error:
            absent[name] = str(error)
    weights = sum(step.weights for step in engine.steps)
    zeros = 1 - sum(step.nnz for step in engine.steps) / weights
    return calls, absent, {"isa": engine.isa, "weights": weights, "share_of_zeros": zeros}


def results(timings: dict[str, Timing], against: str = OURS) -> dict[str, Any]:
    """Times of each engine, and by how much each takes longer than `against`: paired by round, and by p10."""
    base = timings[against]
    others = {name: timing for name, timing in timings.items() if name != against}
    return {
        "results": {name: timing.summary() for name, timing in timings.items()},
        "ratios": {name: timing.over(base) for name, timing in others.items()},
        "ratios_p10": {name: t.percentile(10) / base.percentile(10) for name, t in others.items()},
    }


def measure(
    case: Case,
    engines: Sequence[str],
    threads: int = 1,
    seconds: float = 10.0,
) -> dict[str, Any]:
    """Everything about one case, ready for JSON."""
    calls, absent, facts = prepare(case, engines, threads)
    return {**facts, "missing": absent, **results(interleave(calls, seconds))}


def in_turn(
    engines: Sequence[str], case: Case, threads: int, seconds: float
) -> tuple[dict[str, Timing], dict[str, str]]:
    """Ours and each of the engines by turns, and the reasons of those that cannot; holds the process to its cores."""
    _hold(threads)
    calls, absent, _ = prepare(case, engines, threads, tune_seconds=2.0)
    return interleave(calls, seconds), absent


def alone(engine: str, case: Case, threads: int, seconds: float) -> Timing:
    """One engine by itself; PeerError if it cannot. Holds the process to its cores."""
    _hold(threads)
    calls, absent, _ = prepare(case, [engine], threads, tune_seconds=2.0 if engine == OURS else 0.1)
    if engine in absent:
        raise peers.PeerError(f"{engine}: {absent[engine]}")
    return interleave({engine: calls[engine]}, seconds)[engine]


def _hold(threads: int) -> None:
    import torch

    pin(threads)
    torch.set_num_threads(threads)
