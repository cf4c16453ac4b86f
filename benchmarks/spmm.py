"""Sparse times dense, [M, K] x [K, N], beside the libraries that do it: scipy, MKL, torch.sparse, and a dense BLAS.

    python -m benchmarks.spmm
    python -m benchmarks.spmm --sparsity 80 --libraries mkl,blas --seconds 3 --json spmm.json

Ten pointwise layers of ResNet-50 and MobileNetV1, random zeros, fp32, row-major. Ours is the engine on the layer as a
1x1 convolution, packing of x included; theirs have prepared what they can. All results are checked, all take turns on
one core; GFLOP/s count nonzeros only (for the dense product too) at the 10th percentile of the times.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import sparsenet as sn
from sparsenet.apart import at
from sparsenet.cli.common import console, replacing, table
from sparsenet.peers import PeerError
from sparsenet.timing import Timing, cpu_model, interleave

from . import peers
from .layers import SPMM
from .machine import peaks
from .side_by_side import OURS, pin


def problem(shape: tuple[int, int, int], zeros: float) -> tuple[Any, Any]:
    """(weight [M, K], x [K, N]), seeded."""
    rng = np.random.default_rng(shape)
    m, k, n = shape
    weight = rng.standard_normal((m, k), np.float32)
    weight[rng.random((m, k)) < zeros] = 0
    return weight, rng.standard_normal((k, n), np.float32)


def ours(weight: Any, x: Any) -> Any:
    """A call of the engine that computes weight @ x."""
    k, n = x.shape
    graph = sn.Graph()
    side = math.isqrt(n)
    rows, columns = (side, side) if side * side == n else (1, n)
    inputs = [graph.add_input("x", (None, k, rows, columns)), graph.add_constant("w", weight[:, :, None, None])]
    attrs = {"stride": [1, 1], "padding": [0] * 4, "dilation": [1, 1]}
    graph.set_outputs([graph.add_node("Conv", inputs, attrs, "y")])
    engine = sn.compile(graph)
    image = x.reshape(1, k, rows, columns)
    out = engine(image)
    peers.check(out.reshape(len(weight), n), weight, x)
    return lambda: engine(image, out=out)


def prepare(weight: Any, x: Any, libraries: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """(calls by name, reasons of those that are missing)."""
    calls, absent = {OURS: ours(weight, x)}, {}
    for name in libraries:
        try:
            calls[name] = peers.prepare(name, weight, x, 1)
        except PeerError as error:
            absent[name] = str(error)
    return calls, absent


def alone(library: str, shape: tuple[int, int, int], zeros: float, seconds: float) -> Timing:
    """One of them by itself, on one core; PeerError if it cannot."""
    pin(1)
    at(library, "prepared")
    weight, x = problem(shape, zeros)
    try:
        call = ours(weight, x) if library == OURS else peers.prepare(library, weight, x, 1)
    except PeerError as error:
        raise PeerError(f"{library}: {error}") from error
    return interleave({library: call}, seconds)[library]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparsity", default="70,80,90,95", help="percent of zeros, comma-separated")
    parser.add_argument("--libraries", default=",".join(peers.NAMES), help="comma-separated")
    parser.add_argument("--seconds", type=float, default=1.0, help="of timing for each shape and share")
    parser.add_argument("--json", type=Path, help="write every measurement here")
    args = parser.parse_args()
    libraries = [name for name in args.libraries.split(",") if name]
    if set(libraries) - set(peers.NAMES):
        parser.error(f"unknown library among {args.libraries}; there are {', '.join(peers.NAMES)}")
    pin(1)
    isa = sn._core.best_isa()
    peak = peaks(isa).gflops
    out = console()
    told: list[dict[str, Any]] = []
    absent: dict[str, str] = {}
    for zeros in (int(share) for share in args.sparsity.split(",")):
        for shape in SPMM:
            weight, x = problem(shape, zeros / 100)
            with out.status(f"{shape}, {zeros} % zeros"):
                calls, why = prepare(weight, x, libraries)
                timings = interleave(calls, args.seconds)
            absent |= why
            flops = 2e-9 * np.count_nonzero(weight) * x.shape[1]
            rates = {name: float(flops / timing.percentile(10)) for name, timing in timings.items()}
            told.append({"shape": shape, "zeros": zeros, "gflops": rates})
    names = [OURS, *(name for name in libraries if name not in absent)]
    rows = [
        ("x".join(map(str, t["shape"])), f"{t['zeros']} %", *(f"{t['gflops'][name]:.1f}" for name in names))
        for t in told
    ]
    for zeros in dict.fromkeys(t["zeros"] for t in told):
        means = [_mean([t["gflops"][name] for t in told if t["zeros"] == zeros]) for name in names]
        rows.append(("geometric mean", f"{zeros} %", *(f"{mean:.1f} ({mean / peak:.0%})" for mean in means)))
    caption = f"{cpu_model()}; {isa}; useful GFLOP/s (share of the FMA peak, {peak:.0f})"
    out.print(table("SpMM, M x K x N", ("<shape", "zeros", *names), rows, caption))
    for name, reason in absent.items():
        out.print(f"{name}: {reason}", markup=False)
    if args.json is not None:
        with replacing(args.json) as temporary:
            content = {"cpu": cpu_model(), "isa": isa, "peak_gflops": peak, "missing": absent, "rows": told}
            temporary.write_text(json.dumps(content, indent=1) + "\n")


def _mean(rates: list[float]) -> float:
    return math.exp(sum(map(math.log, rates)) / len(rates))


if __name__ == "__main__":
    main()
