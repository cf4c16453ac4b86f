"""Sparse times dense, layer by layer: our kernels, packing included, beside the sparse libraries and a dense BLAS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparsenet.peers import PeerError

from . import peers
from .side_by_side import OURS, pin
from .spmm import ours, problem


def test_spmm(shape: tuple[int, int, int], zeros: int, library: str, benchmark: Any) -> None:
    pin(1)
    weight, x = problem(shape, zeros / 100)
    try:
        call = ours(weight, x) if library == OURS else peers.prepare(library, weight, x, 1)
    except PeerError as error:
        pytest.skip(f"{library}: {error}")
    benchmark.group = f"{'x'.join(map(str, shape))}, {zeros} % zeros"
    benchmark(call)
    if benchmark.stats is not None:  # None under --benchmark-disable
        useful = 2e-9 * np.count_nonzero(weight) * x.shape[1]
        benchmark.extra_info["useful_gflops"] = float(useful / benchmark.stats.stats.min)
