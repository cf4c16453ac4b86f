"""Counting under qemu: which basic blocks one run of a network executes, how often, and what a cache model missed.

The plugin (benchmarks/arm/plugin.c) counts a whole process. Two processes that differ only in their number of runs are
counted, and the difference taken: what loads and compiles the network drops out, and the caches are warm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sparsenet.targets.target import TargetError, call

BUILD_PLUGIN = "cc -O2 -fPIC -shared -o plugin.so benchmarks/arm/plugin.c"
_RUNS = 2  # counted runs, beside the one of the process that is subtracted


@dataclass(frozen=True)
class Caches:
    """The data caches of a core: KB and ways of both levels."""

    l1: int
    ways1: int
    l2: int
    ways2: int


@dataclass(frozen=True)
class Counts:
    """Of one run. blocks: instructions in hexadecimal -> executions; accesses of at most 8 bytes; cache misses."""

    blocks: dict[tuple[str, ...], float]
    accesses: float
    l1_misses: float
    l2_misses: float

    @property
    def instructions(self) -> float:
        """Executed ones."""
        return sum(len(block) * count for block, count in self.blocks.items())


def count(qemu: Sequence[str], plugin: Path, caches: Caches, command: Sequence[str]) -> Counts:
    """Counts a run of sparsenet-run.

    Args:
        qemu: the emulator and its options.
        plugin: benchmarks/arm/plugin.c as a shared object.
        caches: what the cache model is to be.
        command: sparsenet-run and its arguments, without --repeat and --warmup; one thread, and no tuning, whose
            choices would depend on the emulator's speed.

    Raises:
        TargetError: the plugin or the program cannot be run. Only dynamically linked builds of qemu load plugins.
    """
    if not plugin.is_file():
        raise TargetError(f"{plugin}: no such plugin; in sparsenet's source tree: {BUILD_PLUGIN}")
    sizes = f"l1={caches.l1},w1={caches.ways1},l2={caches.l2},w2={caches.ways2}"
    blocks: Counter[tuple[str, ...]] = Counter()
    totals: Counter[str] = Counter()
    with TemporaryDirectory(prefix="sparsenet-") as folder:
        for runs, sign in ((1 + _RUNS, 1), (1, -1)):
            out = Path(folder, "counts")
            loaded = [*qemu, "-plugin", f"{plugin.resolve()},out={out},{sizes}"]
            call(f"counting in {qemu[0]}", [*loaded, *command, "--repeat", str(runs), "--warmup", "1"])
            for line in out.read_text().splitlines():
                first, second, *instructions = line.split()
                if instructions:
                    blocks[tuple(instructions)] += sign * int(first)
                else:
                    totals[first] += sign * int(second)
    return Counts(
        {block: times / _RUNS for block, times in blocks.items() if times > 0},
        *(max(0.0, totals[name] / _RUNS) for name in ("accesses", "l1", "l2")),
    )
