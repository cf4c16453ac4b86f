"""What one core of this machine can do at best, measured: FMAs a second, and bytes a second by where they lie."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from sparsenet import _core


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
