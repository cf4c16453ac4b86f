"""Sparse times dense, layer by layer: our kernels, packing included, beside the sparse libraries and a dense BLAS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import spmm


def test_spmm(
    shape: tuple[int, int, int], zeros: int, library: str, alone: Callable[..., None], benchmark: Any
) -> None:
    benchmark.group = f"{'x'.join(map(str, shape))}, {zeros} % zeros"
    alone(spmm.alone, library, shape, zeros / 100)
    if benchmark.stats is not None:  # None under --benchmark-disable
        weight, x = spmm.problem(shape, zeros / 100)
        useful = 2e-9 * np.count_nonzero(weight) * x.shape[1]
        benchmark.extra_info["useful_gflops"] = float(useful / benchmark.stats.stats.min)
