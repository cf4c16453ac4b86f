"""One network in sparsenet and its peers, in a process of its own: a peer that crashes takes no report with it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import sparsenet
from sparsenet import _core, apart, peers
from sparsenet.arrays import FloatArray
from sparsenet.report.energy import NoCounter, joules_per_call
from sparsenet.timing import interleave

OURS = "sparsenet"
BASELINE = "sparsenet, dense"
_PATIENCE = 600.0  # seconds beyond the timing itself: tuning, imports, peers that compile


def measure(
    snet: Path,
    inputs: Sequence[FloatArray],
    peers: Sequence[str],
    threads: int = 1,
    seconds: float = 3.0,
    baseline: Path | None = None,
) -> dict[str, Any]:
    """Times and memory; ``absent`` says of each peer that was not timed why: not installed, crashed, too slow.

    ``baseline`` is the dense network to compare with, None if this is it. Raises apart.Died if sparsenet itself ends
    the process.
    """
    told, ended = apart.call_peers(
        _measure, peers, snet, list(inputs), threads, seconds, baseline, patience=seconds + _PATIENCE
    )
    result: dict[str, Any] = told
    return {**result, "absent": {**ended, **result["absent"]}}


def _measure(
    names: Sequence[str], snet: Path, inputs: list[FloatArray], threads: int, seconds: float, baseline: Path | None
) -> dict[str, Any]:
    """Memory first, while nothing but sparsenet is loaded; then times, with the peers; then energy."""
    apart.at(OURS, "prepared")
    graph = sparsenet.load(snet)
    warm_up(threads)
    before = resident("VmRSS")
    engine = sparsenet.compile(snet, threads=threads, batch=len(inputs[0]))
    y = engine(*inputs)
    peak = resident("VmHWM")
    memory = {
        "packed_bytes": engine.packed_bytes,
        "dense_bytes": engine.dense_bytes,
        "peak_resident_bytes": None if before is None or peak is None else max(0, peak - before),
    }
    network = peers.Network(graph, inputs, [np.asarray(o) for o in (y if isinstance(y, tuple) else (y,))])
    calls: dict[str, Callable[[], object]] = {OURS: lambda: engine(*inputs)}
    absent = {}
    for name in names:
        try:
            calls[name] = peers.prepare(name, network, threads)
        except peers.PeerError as error:
            absent[name] = str(error)
    if baseline is not None:
        # The dense network takes turns too: a ratio to it then holds on a machine that changes its speed.
        dense = sparsenet.compile(baseline, threads=threads, batch=len(inputs[0]))
        calls[BASELINE] = lambda: dense(*inputs)
    timings = interleave(calls, seconds)
    reference = timings.pop(BASELINE, timings[OURS])
    calls.pop(BASELINE, None)
    engines = {
        name: {
            **timing.summary(),
            "per_second": len(inputs[0]) / timing.median,
            "times_ours": timing.over(timings[OURS]),
        }
        for name, timing in timings.items()
    }
    apart.at(OURS, "explained")
    explained = engine.explain(*inputs)
    layers = json.loads(explained.to_json())
    for row, moved in zip(layers["rows"], bytes_moved(engine, len(inputs[0])), strict=True):
        row["bytes"] = moved
    return {
        "engines": engines,
        "speedup_over_dense": reference.over(timings[OURS]),
        "absent": absent,
        "memory": memory,
        "energy": energy(calls),
        "isa": engine.isa,
        "peak_gflops": _core.peak_gflops(engine.isa),
        "bandwidth": bandwidth(seconds),
        "layers": layers["rows"],
    }


def warm_up(threads: int) -> None:
    """A first small engine starts what every process with an engine pays once."""
    graph = sparsenet.Graph()
    w = graph.add_constant("w", np.ones((4, 4), np.float32))
    graph.set_outputs([graph.add_node("Linear", [graph.add_input("x", (None, 4)), w], {}, "y")])
    sparsenet.compile(graph, threads=threads)(np.ones((1, 4), np.float32))


def resident(key: str) -> int | None:
    """VmRSS (now) or VmHWM (most so far) in bytes; None where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:")), None)


def bytes_moved(engine: sparsenet.Engine, batch: int) -> list[int]:
    """For each step, what it must at least read and write: packed weights, activations in and out."""
    graph = engine.graph
    reads = {
        node.name: [name for name in node.inputs if name is not None and graph.constant(name) is None]
        for node in graph.nodes
    }
    moved = []
    for step in engine.steps:
        elements = [np.prod([n or 1 for n in graph.shape(name)]) for name in reads.get(step.node, [])]
        moved.append(step.packed_bytes + step.output_bytes(batch) + 4 * batch * int(sum(elements)))
    return moved


def bandwidth(seconds: float, megabytes: int = 64) -> float:
    """Bytes a second that one core copies in memory, read and written counted: the slope of the roofline. The best of
    three to fifteen copies, fewer where ``seconds`` are over."""
    source = np.ones(megabytes << 18, np.float32)
    target = np.empty_like(source)
    best, end = float("inf"), time.perf_counter() + seconds
    for copies in range(15):
        start = time.perf_counter()
        if copies >= 3 and start > end:
            break
        np.copyto(target, source)
        best = min(best, time.perf_counter() - start)
    return 2 * source.nbytes / best


def energy(calls: dict[str, Callable[[], object]]) -> dict[str, Any]:
    """Joules a call by engine, or why there are none."""
    try:
        return {"joules": {name: _joules(name, call) for name, call in calls.items()}}
    except NoCounter as error:
        return {"why_not": str(error)}


def _joules(name: str, call: Callable[[], object]) -> float:
    apart.at(name, "measured for energy")
    return joules_per_call(call)
