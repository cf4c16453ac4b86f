"""One network in sparsenet and its peers, in a process of its own: a peer that crashes takes no report with it.

    python -m sparsenet.report.child JOB.json

prints a line of JSON before each thing that may crash, {"preparing": NAME}, and at the end {"result": ...}.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import sparsenet
from sparsenet import _core, peers
from sparsenet.arrays import FloatArray
from sparsenet.report.energy import NoCounter, joules_per_call
from sparsenet.timing import interleave

OURS = "sparsenet"
BASELINE = "sparsenet, dense"


def announce(name: str) -> None:
    """Tells the parent what is about to happen, at once: a crash leaves no time to flush."""
    print(json.dumps({"preparing": name}), flush=True)


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with np.load(job["inputs"], allow_pickle=False) as stored:
        inputs = [stored[name] for name in stored.files]
    print(json.dumps({"result": measure(job, inputs)}), flush=True)


def measure(job: dict[str, Any], inputs: list[FloatArray]) -> dict[str, Any]:
    """Memory first, while nothing but sparsenet is loaded; then times, with the peers; then energy."""
    announce(OURS)
    graph = sparsenet.load(job["snet"])
    warm_up(job["threads"])
    before = resident("VmRSS")
    engine = sparsenet.compile(job["snet"], threads=job["threads"], batch=len(inputs[0]))
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
    for name in job["peers"]:
        announce(name)
        try:
            calls[name] = peers.prepare(name, network, job["threads"])
        except peers.PeerError as error:
            absent[name] = str(error)
    if job["baseline"] is not None:
        # The dense network takes turns too: a ratio to it then holds on a machine that changes its speed.
        dense = sparsenet.compile(job["baseline"], threads=job["threads"], batch=len(inputs[0]))
        calls[BASELINE] = lambda: dense(*inputs)
    announce("timing")
    timings = interleave(calls, job["seconds"])
    baseline = timings.pop(BASELINE, timings[OURS])
    calls.pop(BASELINE, None)
    engines = {
        name: {
            **timing.summary(),
            "per_second": len(inputs[0]) / timing.median,
            "times_ours": timing.over(timings[OURS]),
        }
        for name, timing in timings.items()
    }
    explained = engine.explain(*inputs)
    layers = json.loads(explained.to_json())
    for row, moved in zip(layers["rows"], bytes_moved(engine, len(inputs[0])), strict=True):
        row["bytes"] = moved
    return {
        "engines": engines,
        "speedup_over_dense": baseline.over(timings[OURS]),
        "absent": absent,
        "memory": memory,
        "energy": energy(calls),
        "isa": engine.isa,
        "peak_gflops": _core.peak_gflops(engine.isa),
        "bandwidth": bandwidth(job["seconds"]),
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
        return {"joules": {name: joules_per_call(call) for name, call in calls.items()}}
    except NoCounter as error:
        return {"why_not": str(error)}


if __name__ == "__main__":
    main()
