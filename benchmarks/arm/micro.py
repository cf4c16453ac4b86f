"""What the NEON kernels spend on a fused multiply-add: instructions, loads, misses, counted under qemu, never timed.

    python -m benchmarks.arm.micro --runner kernel-run --plugin plugin.so --docs docs/arm.md

`kernel_run.cpp` says how kernel-run is built. A useful FMA is one vector instruction's worth, a nonzero weight times
four pixels, so that what a kernel multiplies in vain counts against it. "Inner" is the block of instructions that
executes most FMAs; "layer" all of a run, with packing and storing. Misses are of a cache like a Cortex-A55's, 32 KB.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import markdown
from benchmarks.arm import cli
from benchmarks.layers import Conv
from sparsenet.targets.blocks import Counts, count
from sparsenet.targets.estimate import CORES, Core, mca_cycles
from sparsenet.targets.mca import cycles, disassemble

# Late and early pointwise layers, a 3x3 one, a depthwise one; in 4x1 blocks where the kernel is made for them.
POINTWISE, LATE, WINDOW = Conv(128, 128, 1, 1, 28), Conv(256, 512, 1, 1, 7), Conv(64, 64, 3, 1, 14)
DEPTHWISE = Conv(128, 128, 3, 1, 28, 128)
CASES = [
    (POINTWISE, 0.0, 1, "gemm_8x3_neon"),
    (POINTWISE, 0.0, 1, "gemm_6x4_neon"),
    (POINTWISE, 0.9, 1, "spmm_1x1_r8_neon"),
    (POINTWISE, 0.9, 1, "spmm_1x1_r14_neon"),
    (POINTWISE, 0.9, 2, "spmm_2x1_r8_neon"),
    (POINTWISE, 0.9, 4, "spmm_4x1_r4_neon"),
    (POINTWISE, 0.9, 4, "spmm_4x1_r5_neon"),
    (LATE, 0.9, 1, "spmm_1x1_r13_neon"),
    (LATE, 0.9, 4, "spmm_4x1_r5_neon"),
    (WINDOW, 0.0, 1, "gemm_8x3_neon"),
    (WINDOW, 0.9, 1, "spmm_1x1_r8_neon"),
    (WINDOW, 0.9, 4, "spmm_4x1_r4_neon"),
    (DEPTHWISE, 0.0, 1, "depthwise_k3s1_neon"),
]
VECTOR_FMA, LOAD = re.compile(r"fml[as]\s+v\d+\.4s"), re.compile(r"ld\w*\s")


@dataclass(frozen=True)
class Row:
    """Of one run; `inner` of one execution of the block with most FMAs."""

    useful: float  # FMAs that had to be
    instructions: float
    loads: float
    misses: float
    inner: tuple[int, int, int]  # FMAs, instructions, loads
    inner_text: list[str]
    inner_cycles: list[float]  # of that block and of the run, on A55 and A76, if every load hits, by llvm-mca
    cycles: list[float]


def row(counts: Counts, useful: float) -> Row:
    """Sorts the executed instructions."""
    text = disassemble({word for block in counts.blocks for word in block}, "aarch64")

    def fmas(block: tuple[str, ...]) -> int:
        return sum(bool(VECTOR_FMA.match(text[word])) for word in block)

    def loads(block: tuple[str, ...]) -> int:
        return sum(bool(LOAD.match(text[word])) for word in block)

    inner = max(counts.blocks, key=lambda block: fmas(block) * counts.blocks[block])
    all_loads = sum(loads(block) * times for block, times in counts.blocks.items())
    cores = [CORES["cortex-a55"], CORES["cortex-a76"]]
    return Row(
        useful,
        counts.instructions,
        all_loads,
        counts.l1_misses,
        (fmas(inner), len(inner), loads(inner)),
        [text[word] for word in inner],
        [cycles([inner], core.triple, core.cpu)[0] for core in cores],
        [mca_cycles(counts, core) for core in cores],
    )


def table(found: list[tuple[str, str, str, Row]]) -> str:
    """In Markdown, all per useful FMA."""
    columns = ["<layer", "<zeros", "<kernel", "inner: FMAs", "instructions", "loads", "A55", "A76"]
    columns += ["layer: instructions", "loads", "L1 misses", "A55", "A76"]
    lines = []
    for layer, zeros, kernel, of in found:
        fmas, instructions, loads = of.inner
        inner = [value / fmas for value in (instructions, loads, *of.inner_cycles)]
        rest = [value / of.useful for value in (of.instructions, of.loads, of.misses, *of.cycles)]
        lines.append([layer, zeros, f"`{kernel}`", str(fmas), *(f"{value:.2f}" for value in [*inner, *rest])])
    return markdown.table(columns, lines)


def main() -> None:
    parser = cli.parser(__doc__, "kernel_run.cpp, built static for aarch64")
    parser.add_argument("--listing", action="store_true", help="print each inner block's instructions, too")
    parser.add_argument("--only", default="", help="kernels whose name contains this")
    args = parser.parse_args()
    core: Core = CORES["cortex-a55"]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for layer, zeros, block, kernel in CASES:
            if args.only not in kernel:
                continue
            graph, _ = layer.build(zeros, block=block)
            [weight] = [w for w in map(graph.constant, graph.values) if w is not None]
            useful = float((weight != 0).sum()) * layer.side * layer.side / 4
            file = Path(folder, "layer.snet")
            graph.save(file)
            command = [str(args.runner), str(file), "neon", kernel]
            counts = count(["qemu-aarch64", "-cpu", "cortex-a76"], args.plugin, core.caches, command)
            shape = f"{zeros:.0%}{f', {block}x1' * (block > 1)}"
            found.append((str(layer), shape, kernel, row(counts, useful)))
            if args.listing:
                print("\n".join([f"{layer}, {shape}, {kernel}:", *found[-1][-1].inner_text, ""]), flush=True)
    cli.show(args, "kernels", table(found))


if __name__ == "__main__":
    main()
