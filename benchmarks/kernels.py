"""Every matrix kernel of this machine's table over ResNet-50's layer shapes.

    python -m benchmarks.kernels                          # one representative shape a stage, 90 % zeros
    python -m benchmarks.kernels --sparsity 80 --all --isa avx2

One row a layer: the kernel the cost model picks and the three fastest, with their useful GFLOP/s (nonzeros only,
packing included) and that as a share of the measured FMA peak. Times are the least of repeated runs on one thread;
kernels of a layer take turns, so that a slow spell of the machine meets them all.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import sparsenet as sn
from sparsenet import _core

# (channels in, channels out, window, stride, input side)
SHAPES = [
    (64, 64, 1, 1, 56), (64, 64, 3, 1, 56), (64, 256, 1, 1, 56), (256, 64, 1, 1, 56), (256, 128, 1, 1, 56),
    (128, 128, 3, 2, 56), (128, 512, 1, 1, 28), (256, 512, 1, 2, 56), (512, 128, 1, 1, 28), (128, 128, 3, 1, 28),
    (512, 256, 1, 1, 28), (256, 256, 3, 2, 28), (256, 1024, 1, 1, 14), (512, 1024, 1, 2, 28), (1024, 256, 1, 1, 14),
    (256, 256, 3, 1, 14), (1024, 512, 1, 1, 14), (512, 512, 3, 2, 14), (512, 2048, 1, 1, 7), (1024, 2048, 1, 2, 14),
    (2048, 512, 1, 1, 7), (512, 512, 3, 1, 7),
]  # fmt: skip
REPRESENTATIVE = [1, 2, 6, 9, 12, 15, 18, 21]


def layer(shape: tuple[int, int, int, int, int], zeros: float, seed: int) -> tuple[sn.Graph, np.ndarray]:
    channels, filters, window, stride, side = shape
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((filters, channels, window, window), dtype=np.float32)
    weight *= rng.random(weight.shape) >= zeros
    graph = sn.Graph()
    x = graph.add_input("x", (None, channels, side, side))
    w = graph.add_constant("w", weight)
    attrs = {"stride": [stride] * 2, "padding": [window // 2] * 4, "dilation": [1, 1], "act": "relu"}
    graph.set_outputs([graph.add_node("Conv", [x, w], attrs, "y")])
    return graph, rng.standard_normal((1, channels, side, side), dtype=np.float32)


def best_times(engines: dict[str, sn.Engine], x: np.ndarray, seconds: float) -> dict[str, float]:
    best = dict.fromkeys(engines, float("inf"))
    out = next(iter(engines.values()))(x)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, engine in engines.items():
            begin = time.perf_counter()
            engine(x, out=out)
            best[name] = min(best[name], time.perf_counter() - begin)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparsity", type=float, default=90, help="percent of zeros")
    parser.add_argument("--isa", default=_core.best_isa(), help="instruction set")
    parser.add_argument("--seconds", type=float, default=1.5, help="of timing for each layer")
    parser.add_argument("--all", action="store_true", help=f"all {len(SHAPES)} shapes")
    args = parser.parse_args()
    zeros = args.sparsity / 100
    family = "spmm" if zeros > 0 else "gemm"
    names = [k["name"] for k in _core.kernels() if k["family"] == family and k["isa"] == args.isa]
    peak = _core.peak_gflops(args.isa)
    print(f"{args.isa}, FMA peak {peak:.0f} GFLOP/s, {args.sparsity:g} % zeros")
    for index in range(len(SHAPES)) if args.all else REPRESENTATIVE:
        graph, x = layer(SHAPES[index], zeros, index)
        model = sn.compile(graph, isa=args.isa, tune=False)
        picked = model.explain(time=False).rows[0]
        engines = {name: sn.compile(graph, isa=args.isa, tune=False, kernel=name) for name in names}
        best = best_times(engines, x, args.seconds)
        flops = 2 * picked.useful_macs
        channels, filters, window, stride, side = SHAPES[index]
        print(f"{channels:4} -> {filters:4}  {window}x{window}/{stride} at {side:2}: model {picked.kernel}")
        for name in sorted(best, key=best.__getitem__)[:3]:
            rate = flops / best[name] * 1e-9
            print(f"      {name:24} {best[name] * 1e3:7.3f} ms {rate:6.1f} GFLOP/s {rate / peak:4.0%} of peak")


if __name__ == "__main__":
    main()
