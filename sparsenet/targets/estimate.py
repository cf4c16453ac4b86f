"""Cycles of a core nobody has here: executed blocks times llvm-mca's cycles, plus cache misses times a penalty.

    cycles = sum over blocks of count * mca(block) + l1_penalty * L1 misses + l2_penalty * L2 misses

Nobody knows the penalties: an out-of-order core hides part of a miss, a prefetcher most of a stream's. So the result is
the range over them. Not modelled: memory bandwidth, TLB, prefetch, branch misses, frequency, heat, several threads.
`docs/arm.md` shows how far off the method is where truth can be had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsenet.targets.blocks import Caches, Counts, count
from sparsenet.targets.mca import cycles

LABEL = "simulated estimate (qemu + llvm-mca), never timed"
_COVERED = 0.995  # of the executed instructions; the rest, thousands of rare blocks, is given the others' mean


@dataclass(frozen=True)
class Core:
    """A core's model: LLVM's names, its data caches, and the range of cycles that a miss adds."""

    triple: str
    cpu: str
    caches: Caches
    l1_penalty: tuple[float, float]
    l2_penalty: tuple[float, float]
    proxy: bool = False


# Caches: what phones mostly have of what the cores' technical reference manuals allow. Penalties: from all hidden up to
# most of the latency of the next level (A55 in order, so more than A76) and of memory at about 2 GHz.
CORES = {
    "cortex-a55": Core("aarch64", "cortex-a55", Caches(32, 4, 128, 4), (0, 10), (0, 100)),
    "cortex-a76": Core("aarch64", "neoverse-n1", Caches(64, 4, 256, 8), (0, 5), (0, 100), proxy=True),
}
REFUSED = {
    "cortex-a53": "no estimate: someone who has the core calls llvm-mca's model of it unrealistic (LLVM issue 219478)",
}


def estimate(qemu: Sequence[str], plugin: Path, core: Core, command: Sequence[str]) -> dict[str, Any]:
    """One run of `command` (see `blocks.count`) on `core`.

    Returns:
        label, cpu (the model's) and proxy (it is another core's); cycles: [least, most]; mca_cycles; instructions,
        accesses, l1_misses, l2_misses of one run; l1_penalty and l2_penalty, the ranges assumed.
    """
    counts = count(qemu, plugin, core.caches, command)
    base = mca_cycles(counts, core)
    low, high = (
        base + core.l1_penalty[i] * counts.l1_misses + core.l2_penalty[i] * counts.l2_misses for i in (0, 1)
    )
    return {
        "label": LABEL,
        "cpu": core.cpu,
        "proxy": core.proxy,
        "cycles": [low, high],
        "mca_cycles": base,
        "instructions": counts.instructions,
        "accesses": counts.accesses,
        "l1_misses": counts.l1_misses,
        "l2_misses": counts.l2_misses,
        "l1_penalty": list(core.l1_penalty),
        "l2_penalty": list(core.l2_penalty),
    }


def mca_cycles(counts: Counts, core: Core) -> float:
    """The first term: every access hits L1."""
    chosen, covered, total = [], 0.0, counts.instructions
    for block, times in sorted(counts.blocks.items(), key=lambda item: -len(item[0]) * item[1]):
        if covered >= _COVERED * total:
            break
        chosen.append(block)
        covered += len(block) * times
    each = cycles(chosen, core.triple, core.cpu)
    found = sum(counts.blocks[block] * of for block, of in zip(chosen, each, strict=True))
    return found * total / covered if covered else 0.0
