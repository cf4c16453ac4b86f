"""Whole networks against dense peers on the same core, at several shares of zeros.

    python -m benchmarks.bench_resnet50
    python -m benchmarks.bench_resnet50 --networks resnet50,vgg16,mobilenet_v1 --sparsity 0,90 --json out.json

Method: batch 1, full-size inputs, seeded weights, the same share of random zeros in every layer but the stem. For each
network and share one process holds all runtimes, pinned to the same core(s), with as many threads each; they take
turns (sparsenet.timing.interleave) and medians are compared. Every peer computes the same network from the same
weights, zeros and all, and its output is checked against ours first.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from rich.console import Console

import sparsenet
from benchmarks.models import create, input_shape, measure_batch_norm, names, seeded_init, sparsify
from benchmarks.peers.onnx_writer import to_onnx
from sparsenet.cli.bench import onnx_call
from sparsenet.cli.common import replacing, table
from sparsenet.timing import Timing, cpu_model, interleave


def measure(name: str, percent: int, args: argparse.Namespace) -> dict[str, Any]:
    """One network at one share of zeros: timings of each runtime, and the ratio of each peer's median to ours."""
    model = seeded_init(create(name), seed=0)
    if percent:
        model = measure_batch_norm(sparsify(model, percent / 100, seed=1), seed=0)
    x = torch.randn(1, *input_shape(name), generator=torch.Generator().manual_seed(2))
    graph = sparsenet.from_torch(model, (x,))
    engine = sparsenet.compile(graph, threads=args.threads, tune_seconds=args.tune_seconds)
    array = x.numpy()
    candidates: dict[str, Callable[[], object]] = {"sparsenet": lambda: engine(array)}
    expected: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if "onnxruntime" in args.peers:
            file = Path(folder) / "model.onnx"
            onnx.save(to_onnx(graph), str(file))
            call = onnx_call(file, [array], args.threads)
            candidates["onnxruntime"] = call
            expected["onnxruntime"] = call()[0]  # type: ignore[index]
    if "torch" in args.peers:
        candidates["torch"] = lambda: model(x)
        expected["torch"] = model(x).numpy()
    ours = engine(array)
    for peer, y in expected.items():
        gap = float(np.abs(ours - y).max() / np.abs(y).max())
        assert gap < 1e-3, f"{name} at {percent} %: {peer} computes something else, off by {gap:.1e} of the maximum"
    timings = interleave(candidates, args.seconds)
    return {"network": name, "zeros": percent, "isa": engine.isa, **_results(timings)}


def _results(timings: dict[str, Timing]) -> dict[str, Any]:
    ours = timings["sparsenet"].median
    results = {name: timing.summary() for name, timing in timings.items()}
    return {"results": results, "ratios": {name: t.median / ours for name, t in timings.items() if name != "sparsenet"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="resnet50", help=f"comma-separated, of {', '.join(names())}")
    parser.add_argument("--sparsity", default="0,50,70,80,90,95", help="percent of zeros, comma-separated")
    parser.add_argument("--peers", default="onnxruntime", help="of onnxruntime, torch; comma-separated")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0, help="of timing for each network and share")
    parser.add_argument("--tune-seconds", type=float, default=5.0, help="budget of sparsenet.compile")
    parser.add_argument("--json", type=Path, help="write everything measured here")
    args = parser.parse_args()
    args.peers = [peer for peer in args.peers.split(",") if peer]
    unknown = set(args.peers) - {"onnxruntime", "torch"}
    if unknown:
        parser.error(f"unknown peers: {', '.join(sorted(unknown))}")
    unknown = set(args.networks.split(",")) - set(names())
    if unknown:
        parser.error(f"unknown networks: {', '.join(sorted(unknown))}")
    if args.threads > len(os.sched_getaffinity(0)):
        parser.error(f"--threads {args.threads}: only {len(os.sched_getaffinity(0))} cores are available")
    cores = sorted(os.sched_getaffinity(0))[-args.threads :]
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(args.threads)
    measured = []
    console = Console(highlight=False)
    with torch.inference_mode():
        for name in args.networks.split(","):
            for percent in (int(share) for share in args.sparsity.split(",")):
                measured.append(measure(name, percent, args))
                console.print(_line(measured[-1]))
    caption = f"{cpu_model()}; {measured[0]['isa']}; core {cores}, {args.threads} thread(s); batch 1"
    runtimes = ["sparsenet", *args.peers]
    columns = ["<network", "zeros", *(f"{r} ms (p10)" for r in runtimes), *(f"{p} / sparsenet" for p in args.peers)]
    rows = [
        (
            m["network"],
            f"{m['zeros']} %",
            *(f"{m['results'][r]['median_ms']:.2f} ({m['results'][r]['p10_ms']:.2f})" for r in runtimes),
            *(f"{m['ratios'][p]:.2f}x" for p in args.peers),
        )
        for m in measured
    ]
    console.print(table("median latency, interleaved", columns, rows, caption))
    if args.json is not None:
        versions = {"torch": torch.__version__, "sparsenet": sparsenet.__version__}
        told = {"cpu": cpu_model(), "cores": cores, "threads": args.threads, "versions": versions, "measured": measured}
        with replacing(args.json) as temporary:
            temporary.write_text(json.dumps(told, indent=1) + "\n")


def _line(m: dict[str, Any]) -> str:
    times = ", ".join(f"{name} {t['median_ms']:.2f} ms" for name, t in m["results"].items())
    return f"{m['network']} {m['zeros']} % zeros: {times}"


if __name__ == "__main__":
    main()
