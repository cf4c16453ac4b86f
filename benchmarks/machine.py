"""What one core of this machine can do at best, measured: FMAs a second, and bytes a second by where they lie."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from sparsenet import _core, apart

# Of the highest FMA peak that a machine has shown: below it somebody else is using the core. Two hardware threads share
# its units and caches; a neighbour halves the peak, and slows engines by different factors. Clocks alone move it by a
# quarter (75 to 96 GFLOP/s), which engines share.
UNDISTURBED = 0.7


def fma_peak() -> float:
    """GFLOP/s of one core right now, of the cores that this process is held to. A process measures its peak once, so
    each call asks a new one."""
    return float(apart.call(_peak, patience=60))


def _peak() -> float:
    return _core.peak_gflops()


def settle(highest: float, patience: float) -> float:
    """Waits until the FMA peak is near the highest that was seen, `patience` seconds at most; returns it."""
    end = time.monotonic() + patience
    while (now := fma_peak()) < UNDISTURBED * highest and time.monotonic() < end:
        time.sleep(1)
    return now


@dataclass(frozen=True)
class Peaks:
    gflops: float
    memory_gbs: float  # copying 128 MiB, reads and writes counted
    l2_gbs: float  # copying 256 KiB


def peaks(isa: str) -> Peaks:
    """Measures; takes about half a second."""
    return Peaks(_core.peak_gflops(isa), _copy_rate(1 << 27, 6), _copy_rate(1 << 18, 2000))


def _copy_rate(size: int, times: int) -> float:
    source, target = np.ones(size // 4, np.float32), np.zeros(size // 4, np.float32)
    best = float("inf")
    for _ in range(times):
        begin = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - begin)
    return 2e-9 * size / best
