"""What is measured of sparsenet alone: one function a kind of target, each case -> what goes into JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import sparsenet as sn
from sparsenet.timing import interleave

from .cases import Case, build
from .machine import fma_peak
from .side_by_side import results

TUNE_SECONDS = 5.0


def threads(case: Case, count: int, seconds: float) -> dict[str, Any]:
    """One thread against `count` of them."""
    graph, x = build(case)
    engines = {n: sn.compile(graph, threads=n, tune_seconds=TUNE_SECONDS) for n in (1, count)}
    told = results(interleave({f"threads {n}": _call(e, x) for n, e in engines.items()}, seconds), f"threads {count}")
    return {"value": told["ratios"]["threads 1"], **told}


def batch(case: Case, count: int, seconds: float) -> dict[str, Any]:
    """Time an image in a batch against alone."""
    graph, x = build(case)
    calls = {}
    for size in (1, case.batch):
        engine = sn.compile(graph, threads=count, batch=size, tune_seconds=TUNE_SECONDS)
        calls[f"batch {size}"] = _call(engine, np.ascontiguousarray(x[:size]))
    told = results(interleave(calls, seconds), f"batch {case.batch}")
    return {"value": case.batch * told["ratios"]["batch 1"], **told}


def dense(case: Case, count: int, seconds: float) -> dict[str, Any]:
    """The network with its zeros against the same one without."""
    calls = {}
    for name, this in (("dense", replace(case, zeros=0)), ("sparse", case)):
        graph, x = build(this)
        calls[name] = _call(sn.compile(graph, threads=count, tune_seconds=TUNE_SECONDS), x)
    told = results(interleave(calls, seconds), "sparse")
    return {"value": told["ratios"]["dense"], **told}


def peak(case: Case, count: int, seconds: float) -> dict[str, Any]:
    """Useful FLOPs of the convolutions over their time, as a share of the FMA peak measured right before and after.

    The stem, which is dense, is not counted. A process measures its peak once, so each round asks a new one.
    """
    graph, x = build(case)
    engine = sn.compile(graph, threads=count, tune_seconds=TUNE_SECONDS)
    engine(x)
    convs = [i for i, step in enumerate(engine.steps) if step.op.startswith("Conv")][1:]
    flops = 2 * sum(engine.steps[i].useful_macs for i in convs)
    shares = []
    rates = []
    end = time.perf_counter() + seconds
    while len(shares) < 5 or time.perf_counter() < end:
        around = [fma_peak()]
        runs = [[engine.profile(x, warmup=1).seconds[i] for i in convs] for _ in range(3)]
        around.append(fma_peak())
        rates.append(1e-9 * flops / float(np.median(runs, axis=0).sum()))
        shares.append(rates[-1] / (count * float(np.mean(around))))
    return {"value": float(np.median(shares)), "gflops": float(np.median(rates)), "rounds": len(shares)}


def compile(case: Case, count: int, seconds: float) -> dict[str, Any]:
    """Seconds of sn.compile with its default tuning budget: the median of five."""
    graph, _ = build(case)
    taken = [_seconds(lambda: sn.compile(graph, threads=count)) for _ in range(5)]
    return {"value": float(np.median(taken)), "seconds": taken}


def compile_untuned(case: Case, count: int, seconds: float) -> dict[str, Any]:
    """Seconds of sn.compile by the cost model: the median of five."""
    graph, _ = build(case)
    taken = [_seconds(lambda: sn.compile(graph, threads=count, tune=False)) for _ in range(5)]
    return {"value": float(np.median(taken)), "seconds": taken}


def load(case: Case, count: int, seconds: float) -> dict[str, Any]:
    """Loading and compiling a .snet, against reading its bytes and compiling (which packs) the graph in memory."""
    graph, _ = build(case)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.snet"
        graph.save(path)
        size = path.stat().st_size
        calls = {
            "load and compile": lambda: sn.compile(path, threads=count, tune=False),
            "read": path.read_bytes,
            "compile": lambda: sn.compile(graph, threads=count, tune=False),
        }
        timings = interleave(calls, seconds)
    rounds = zip(*(timings[name].turns for name in calls), strict=True)
    value = float(np.median([whole / (read + packing) for whole, read, packing in rounds]))
    return {"value": value, "bytes": size, "results": {name: t.summary() for name, t in timings.items()}}


def memory(case: Case, count: int, seconds: float) -> dict[str, Any]:
    """The growth of resident memory in a process that loads, compiles and runs a .snet: see benchmarks.resident."""
    graph, _ = build(case)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.snet"
        graph.save(path)
        command = [sys.executable, "-m", "benchmarks.resident", str(path), "--threads", str(count)]
        told: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"value": told["running_bytes"] / (told["packed_bytes"] + told["arena_bytes"]), **told}


def _call(engine: sn.Engine, x: np.ndarray[Any, Any]) -> Callable[[], object]:
    return lambda: engine(x)


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


KINDS = {f.__name__: f for f in (threads, batch, dense, peak, compile, compile_untuned, load, memory)}
