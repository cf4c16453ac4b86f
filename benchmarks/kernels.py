"""Every kernel of this machine's table that can run a layer, over real layer shapes.

    python -m benchmarks.kernels                                   # one representative shape a stage, 90 % zeros
    python -m benchmarks.kernels --layers resnet50,mobilenet,linear --sparsity 0,80 --isa avx2
    python -m benchmarks.kernels --layers resnet50 --roofline roofline.svg --json kernels.json

A row a layer and share of zeros: the kernel that compile's tuning picks and the fastest others. GFLOP/s count nonzeros
only and their time includes packing; beside them the share of the measured FMA peak, and of the memory bandwidth if
every input, output and packed weight travels once (above 100 %: it stayed in the caches). The kernels of a layer take
turns; times are their 10th percentile on one thread. The picture sets each layer's best kernel against the roofs.
"""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import sparsenet as sn
from sparsenet import _core
from sparsenet.cli.common import console, replacing, table
from sparsenet.errors import InvalidArgumentError
from sparsenet.timing import cpu_model, interleave

from .layers import SETS, Layer
from .machine import Peaks, peaks
from .roofline import draw
from .side_by_side import pin


@dataclass(frozen=True)
class Measured:
    """One kernel on one layer."""

    layer: str
    zeros: float
    kernel: str
    tuned: bool  # compile's own choice
    ms: float
    gflops: float
    intensity: float  # useful FLOPs a byte that has to travel


def run_layer(layer: Layer, zeros: float, isa: str, seconds: float, fp16: bool = False) -> list[Measured]:
    """Each kernel that takes the layer, fastest first; ``fp16`` as in `Graph.save`."""
    graph, x = layer.build(zeros)
    if fp16:
        graph = _core.load_bytes(_core.save_bytes(graph, fp16=True))
    chosen = sn.compile(graph, isa=isa)
    engines = {chosen.steps[0].kernel: chosen}
    for row in _core.kernels():
        name = row["name"]
        if row["isa"] == isa and name not in engines:
            with suppress(InvalidArgumentError):  # a kernel for other layers
                engines[name] = sn.compile(graph, isa=isa, tune=False, kernel=name)
    outputs = {name: engine(x) for name, engine in engines.items()}
    timings = interleave(
        {name: lambda e=engine, o=outputs[name]: e(x, out=o) for name, engine in engines.items()}, seconds
    )
    measured = []
    for name, timing in timings.items():
        step = engines[name].steps[0]
        moved = x.nbytes + outputs[name].nbytes + step.packed_bytes
        seconds, flops = timing.percentile(10), 2 * step.useful_macs
        numbers = 1e3 * seconds, 1e-9 * flops / seconds, flops / moved
        measured.append(Measured(str(layer), round(1 - step.density, 2), name, engines[name] is chosen, *numbers))
    return sorted(measured, key=lambda m: m.ms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default="short", help=f"of {', '.join(SETS)}; comma-separated")
    parser.add_argument("--sparsity", default="90", help="percent of zeros, comma-separated")
    parser.add_argument("--isa", default=_core.best_isa(), help="instruction set")
    parser.add_argument("--fp16", action="store_true", help="weights rounded to half floats, which some kernels take")
    parser.add_argument("--top", type=int, default=3, help="kernels to show for each layer (default 3)")
    parser.add_argument("--seconds", type=float, default=1.5, help="of timing for each layer")
    parser.add_argument("--json", type=Path, help="write every measurement here")
    parser.add_argument("--roofline", type=Path, help="draw the picture here (.svg)")
    args = parser.parse_args()
    unknown = set(args.layers.split(",")) - set(SETS)
    if unknown:
        parser.error(f"no layers {', '.join(sorted(unknown))}; there are {', '.join(SETS)}")
    pin(1)
    machine = peaks(args.isa)
    out = console()
    everything = []
    rows = []
    for zeros in (float(share) / 100 for share in args.sparsity.split(",")):
        for layer in (layer for name in args.layers.split(",") for layer in SETS[name]):
            with out.status(f"{layer}, {zeros:.0%} zeros"):
                measured = run_layer(layer, zeros, args.isa, args.seconds, args.fp16)
            everything += measured
            rows += [_row(m, machine, first=i == 0) for i, m in enumerate(measured[: args.top])]
            rows += [_row(m, machine, first=False) for m in measured[args.top :] if m.tuned]
    columns = ("<layer", "zeros", "<kernel", "ms", "GFLOP/s", "of FMA peak", "of bandwidth", "<")
    caption = f"{cpu_model()}; {args.isa}; FMA peak {machine.gflops:.0f} GFLOP/s; copying "
    caption += f"{machine.memory_gbs:.0f} GB/s in memory, {machine.l2_gbs:.0f} in L2"
    out.print(table("kernels", columns, rows, caption))
    if args.json is not None:
        told = {"cpu": cpu_model(), "isa": args.isa, "peaks": asdict(machine), "rows": [asdict(m) for m in everything]}
        with replacing(args.json) as temporary:
            temporary.write_text(json.dumps(told, indent=1) + "\n")
    if args.roofline is not None:
        best = {(m.layer, m.zeros): m for m in sorted(everything, key=lambda m: -m.ms)}
        points = [(m.zeros, m.intensity, m.gflops) for m in best.values()]
        with replacing(args.roofline) as temporary:
            draw(points, machine, f"{cpu_model()}, {args.isa}, one core", temporary)


def _row(m: Measured, machine: Peaks, first: bool) -> tuple[str, ...]:
    bandwidth = m.gflops / m.intensity / machine.memory_gbs
    return (
        m.layer if first else "",
        f"{m.zeros:.0%}" if first else "",
        m.kernel,
        f"{m.ms:.3f}",
        f"{m.gflops:.1f}",
        f"{m.gflops / machine.gflops:.0%}",
        f"{bandwidth:.0%}",
        "chosen" if m.tuned else "",
    )


if __name__ == "__main__":
    main()
