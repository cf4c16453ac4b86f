"""How far off is `sparsenet.targets.estimate`? The same method on x86-64, where the truth can be measured.

    python -m benchmarks.arm.validate --runner build/x86_64-static/sparsenet-run --plugin plugin.so --docs docs/arm.md

Single layers at several shares of zeros: the AVX2 kernels are counted in qemu-x86_64, put through llvm-mca's model of
the host's core, and timed on it. The table goes between two marks in the file of --docs; the rows, with commands and
machine, to --json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shlex
import statistics
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import sparsenet as sn
from sparsenet.targets.blocks import Caches
from sparsenet.targets.estimate import LABEL, Core, estimate
from sparsenet.timing import cpu_model

# Input channels, output channels, height and width, kernel: late and early 1x1 layers, a 3x3 one.
LAYERS = [(32, 64, 28, 1), (128, 64, 14, 1), (32, 32, 14, 3)]
ZEROS = [0.0, 0.5, 0.9]
ROUNDS = 10
MARKS = "<!-- validation begins -->", "<!-- validation ends -->"


@dataclass(frozen=True)
class Point:
    """Cycles of one layer: measured, and the ends of the estimate, of which `low` is llvm-mca's alone."""

    layer: str
    zeros: float
    measured: float
    low: float
    high: float
    instructions: float
    l1_misses: float


def network(layer: tuple[int, int, int, int], zeros: float) -> sn.Graph:
    """One convolution with random weights, a share of them zero."""
    channels, filters, size, kernel = layer
    rng = np.random.default_rng(7)
    weight = rng.standard_normal((filters, channels, kernel, kernel)).astype(np.float32)
    weight.reshape(-1)[rng.permutation(weight.size)[: round(zeros * weight.size)]] = 0
    graph = sn.Graph()
    x = graph.add_input("x", (None, channels, size, size))
    attrs = {"stride": [1, 1], "padding": [kernel // 2] * 4, "dilation": [1, 1]}
    graph.set_outputs([graph.add_node("Conv", [x, graph.add_constant("w", weight)], attrs, "y")])
    return graph


def measure(commands: list[list[str]], clock: list[str]) -> list[float]:
    """Cycles of a run of each: the least 10th percentile of ten processes in turns, each beside a look at the clock."""
    found = [float("inf")] * len(commands)
    for _ in range(ROUNDS):
        for index, command in enumerate(commands):
            ghz = float(subprocess.run(clock, check=True, capture_output=True, text=True).stdout)
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[index] = min(found[index], json.loads(told)["p10_ms"] * ghz * 1e6)
    return found


def table(points: list[Point]) -> str:
    """The errors, and which of two neighbours in zeros wins, in Markdown."""
    columns = ["layer", "zeros", "measured, cycles", "estimate", "error of its lower end", "measured lies"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for p in points:
        where = "within" if p.low <= p.measured <= p.high else "below" if p.measured < p.low else "above"
        cells = [p.layer, f"{p.zeros:.0%}", f"{p.measured:,.0f}", f"{p.low:,.0f} to {p.high:,.0f}"]
        lines.append("| " + " | ".join([*cells, f"{p.low / p.measured - 1:+.0%}", where]) + " |")
    pairs = [(a, b) for a, b in itertools.combinations(points, 2) if a.layer == b.layer]
    claimed = [(a, b) for a, b in pairs if a.high < b.low or b.high < a.low]
    right = sum((a.low < b.low) == (a.measured < b.measured) for a, b in claimed)
    errors = [abs(p.low / p.measured - 1) for p in points]
    inside = sum(p.low <= p.measured <= p.high for p in points)
    lines += [
        "",
        f"Error of the lower end (llvm-mca alone, every access in L1): median {statistics.median(errors):.0%}, "
        f"largest {max(errors):.0%}. The measured time lies within the range at {inside} of {len(points)} points. Of "
        f"{len(pairs)} pairs of densities of a layer the ranges are apart for {len(claimed)}, and say rightly which is "
        f"faster for {right} of them.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runner", type=Path, required=True, help="a static sparsenet-run for x86-64")
    parser.add_argument("--plugin", type=Path, required=True, help="plugin.c, built")
    parser.add_argument("--cpu", default="sapphirerapids", help="LLVM's name of this host's core")
    parser.add_argument("--l1", default="48,12", help="its KB,ways")
    parser.add_argument("--l2", default="2048,16", help="its KB,ways")
    parser.add_argument("--prefix", default="taskset -c 0", help="before each timed command")
    parser.add_argument("--docs", type=Path, help="Markdown file to put the table into")
    parser.add_argument("--json", type=Path, help="where the rows go")
    args = parser.parse_args()
    caches = Caches(*map(int, (args.l1 + "," + args.l2).split(",")))
    # An L1 miss costs at most about L2's latency, an L2 miss at most about half of memory's: streams are prefetched.
    core = Core("x86_64", args.cpu, caches, (0, 14), (0, 100))
    prefix = shlex.split(args.prefix)
    points: list[Point] = []
    with tempfile.TemporaryDirectory() as folder:
        clock = str(Path(folder, "clock"))
        subprocess.run(["cc", "-O2", str(Path(__file__).with_name("clock.c")), "-o", clock], check=True)
        grid = list(itertools.product(LAYERS, ZEROS))
        commands, estimates = [], []
        for index, (layer, zeros) in enumerate(grid):
            file = str(Path(folder, f"{index}.snet"))
            network(layer, zeros).save(file)
            commands.append([str(args.runner), file, "--tune", "0", "--isa", "avx2"])
            estimates.append(estimate(["qemu-x86_64", "-cpu", "max"], args.plugin, core, commands[-1]))
            print(layer, zeros, estimates[-1], flush=True)
        timed = [[*prefix, *command, "--json", "--repeat", "500"] for command in commands]
        for (layer, zeros), told, found in zip(grid, estimates, measure(timed, [*prefix, clock]), strict=True):
            name = f"{layer[3]}x{layer[3]}, {layer[0]} to {layer[1]}, {layer[2]}x{layer[2]}"
            points.append(Point(name, zeros, found, *told["cycles"], told["instructions"], told["l1_misses"]))
    text = table(points)
    print(text)
    if args.json:
        rows = {"label": LABEL, "host": cpu_model(), "model": args.cpu, "points": [asdict(p) for p in points]}
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    if args.docs:
        page = args.docs.read_text()
        head, rest = page.split(MARKS[0])
        args.docs.write_text(f"{head}{MARKS[0]}\n{text}\n{MARKS[1]}{rest.split(MARKS[1])[1]}")


if __name__ == "__main__":
    main()
