"""How far off is `sparsenet.targets.estimate`? The same method on x86-64, where the truth can be measured.

    python -m benchmarks.arm.validate --runner build/x86_64-static/sparsenet-run --plugin plugin.so \\
        --json validation.json --docs docs/arm.md

Single layers at several shares of zeros: the AVX2 kernels are counted in qemu-x86_64, put through llvm-mca's model of
the host's core, and timed on it. The table goes between two marks in the file of --docs. --json keeps the rows: what it
holds is not counted again, and more rounds of timing add to those before.
"""

from __future__ import annotations

import itertools
import json
import shlex
import statistics
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import sparsenet as sn
from benchmarks import markdown
from benchmarks.arm import cli
from benchmarks.layers import Conv, Layer, Linear
from sparsenet.atomic import write_text
from sparsenet.targets.blocks import Caches
from sparsenet.targets.estimate import LABEL, Core, estimate
from sparsenet.timing import cpu_model

POINTWISE = [Conv(32, 64, 1, 1, 28), Conv(64, 128, 1, 1, 28), Conv(128, 64, 1, 1, 14), Conv(256, 256, 1, 1, 14)]
WINDOWS = [Conv(16, 16, 3, 1, 28), Conv(32, 32, 3, 1, 14), Conv(64, 64, 3, 1, 14), Conv(32, 64, 3, 2, 28)]
DEPTHWISE = [Conv(64, 64, 3, 1, 28, 64), Conv(128, 128, 3, 2, 28, 128), Conv(128, 128, 3, 1, 14, 128)]
LINEAR = [Linear(784, 300), Linear(1024, 256)]
# Layers, successive outputs that are zero together, shares of zeros. Pruners leave depthwise layers dense.
GRID: list[tuple[Sequence[Layer], int, tuple[float, ...]]] = [
    ([*POINTWISE, *WINDOWS], 1, (0.0, 0.5, 0.8, 0.9, 0.95)),
    ([*POINTWISE, *WINDOWS], 4, (0.8, 0.9)),
    (DEPTHWISE, 1, (0.0,)),
    (LINEAR, 1, (0.0, 0.8, 0.9)),
]
# Without ERMS, memset is a loop of vector stores. With it, it is one instruction, `rep stosb`, which qemu repeats for
# each byte, and llvm-mca takes for eight cycles.
QEMU = ["qemu-x86_64", "-cpu", "max,-erms"]


@dataclass(frozen=True)
class Point:
    """Cycles of one layer: the ends of the estimate, of which `low` is llvm-mca's alone, and those measured."""

    layer: str
    zeros: float
    low: float
    high: float
    measured: float = float("inf")
    kernel: str = ""
    block: int = 1
    instructions: float = 0
    l1_misses: float = 0

    @property
    def error(self) -> float:
        """Of the lower end."""
        return self.low / self.measured - 1

    @property
    def family(self) -> str:
        """Of the kernel."""
        return self.kernel.split("_")[0]


def cases() -> Iterable[tuple[Layer, int, float]]:
    """Layer, block, share of zeros."""
    for layers, block, shares in GRID:
        yield from ((layer, block, zeros) for layer in layers for zeros in shares)


def measure(points: list[Point], commands: list[list[str]], clock: list[str], rounds: int) -> list[Point]:
    """The least 10th percentile of a number of processes in turns, each beside a look at the clock."""
    found = list(points)
    for _ in range(rounds):
        for index, command in enumerate(commands):
            ghz = float(subprocess.run(clock, check=True, capture_output=True, text=True).stdout)
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            cycles = json.loads(told)["p10_ms"] * ghz * 1e6
            found[index] = replace(found[index], measured=min(found[index].measured, cycles))
    return found


def table(points: list[Point]) -> str:
    """The errors, and which of two neighbours in zeros wins, in Markdown."""
    columns = ["<layer", "<zeros", "<kernel", "measured, cycles", "estimate", "error of its lower end"]
    columns.append("<measured lies")
    lines = []
    for p in points:
        where = "within" if p.low <= p.measured <= p.high else "below" if p.measured < p.low else "above"
        cells = [p.layer, f"{p.zeros:.0%}{f', {p.block}x1' * (p.block > 1)}", f"`{p.kernel}`", f"{p.measured:,.0f}"]
        lines.append([*cells, f"{p.low:,.0f} to {p.high:,.0f}", f"{p.error:+.0%}", where])
    every = markdown.table(columns, lines)
    return f"{summary(points)}\n\n<details><summary>every point</summary>\n\n{every}\n</details>"


def summary(points: list[Point]) -> str:
    """Errors by family of kernels, of speed-ups, and of claims."""
    columns = ["<kernels", "points", "median error of the lower end", "from", "to", "measured within the range"]
    lines = []
    groups = [(name, [p for p in points if p.family == name]) for name in sorted({p.family for p in points})]
    for name, group in [*groups, ("all", points)]:
        errors, inside = [p.error for p in group], sum(p.low <= p.measured <= p.high for p in group)
        size = [f"{statistics.median(map(abs, errors)):.0%}", f"{min(errors):+.0%}", f"{max(errors):+.0%}"]
        lines.append([name, str(len(group)), *size, str(inside)])
    pairs = [(a, b) for a, b in itertools.combinations(points, 2) if a.layer == b.layer]
    claimed = [(a, b) for a, b in pairs if a.high < b.low or b.high < a.low]
    right = sum((a.low < b.low) == (a.measured < b.measured) for a, b in claimed)
    dense = {p.layer: p for p in points if p.zeros == 0}
    gains = [(dense[p.layer].low / p.low, dense[p.layer].measured / p.measured) for p in points if p.zeros > 0]
    told = f"Of {len(pairs)} pairs of variants of a layer the ranges are apart for {len(claimed)}, and say rightly "
    told += f"which is faster for {right} of them."
    if gains:
        errors = [abs(told / found - 1) for told, found in gains]
        wrong = sum((told > 1) != (found > 1) for told, found in gains)
        told += (
            f" Speed-ups over the dense layer, by the lower ends: median error {statistics.median(errors):.0%}, "
            f"largest {max(errors):.0%}; the winner wrong for {wrong} of {len(gains)}."
        )
    return f"{markdown.table(columns, lines)}\n{told}"


def main() -> None:
    parser = cli.parser(__doc__, "a static sparsenet-run for x86-64")
    parser.add_argument("--cpu", default="sapphirerapids", help="LLVM's name of this host's core")
    parser.add_argument("--l1", default="48,12", help="its KB,ways")
    parser.add_argument("--l2", default="2048,16", help="its KB,ways")
    parser.add_argument("--prefix", default="taskset -c 0", help="before each timed command")
    parser.add_argument("--rounds", type=int, default=10, help="of timing (default 10); 0: only estimates")
    parser.add_argument("--json", type=Path, help="where the rows are kept")
    args = parser.parse_args()
    caches = Caches(*map(int, (args.l1 + "," + args.l2).split(",")))
    # An L1 miss costs at most about L2's latency, an L2 miss at most about half of memory's: streams are prefetched.
    core = Core("x86_64", args.cpu, caches, (0, 14), (0, 100))
    points: list[Point] = []
    if args.json and args.json.is_file():
        points = [Point(**row) for row in json.loads(args.json.read_text())["points"]]

    def keep() -> None:
        if args.json:
            rows = {"label": LABEL, "host": cpu_model(), "model": args.cpu, "points": [asdict(p) for p in points]}
            write_text(args.json, json.dumps(rows, indent=1) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        commands = []
        for index, (layer, block, zeros) in enumerate(cases()):
            file = str(Path(folder, f"{index}.snet"))
            graph, _ = layer.build(zeros, block=block)
            graph.save(file)
            commands.append([str(args.runner), file, "--tune", "0", "--isa", "avx2"])
            if index < len(points):
                continue
            kernel = sn.compile(graph, isa="avx2", tune=False).steps[0].kernel
            told = estimate(QEMU, args.plugin, core, commands[-1])
            counts = {"instructions": told["instructions"], "l1_misses": told["l1_misses"]}
            points.append(Point(str(layer), zeros, *told["cycles"], kernel=kernel, block=block, **counts))
            print(points[-1], flush=True)
            keep()
        if args.rounds:
            clock, prefix = str(Path(folder, "clock")), shlex.split(args.prefix)
            subprocess.run(["cc", "-O2", str(Path(__file__).with_name("clock.c")), "-o", clock], check=True)
            timed = [[*prefix, *command, "--json", "--repeat", "500"] for command in commands]
            points = measure(points, timed, [*prefix, clock], args.rounds)
            keep()
    if any(p.measured == float("inf") for p in points):
        return
    cli.show(args, "validation", table(points))


if __name__ == "__main__":
    main()
