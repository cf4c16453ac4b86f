"""Matrix libraries that multiply a sparse matrix by a dense one (SpMM), as a 1x1 convolution does: a module each.

A peer `<name>_matrix` has

    REQUIREMENT                          what to `pip install`
    load()                               imports the library and returns it, or raises
    prepare(weight, x, threads) -> call  call() returns weight @ x: [M, K] with zeros times [K, N], float32, row-major

Engines that run whole networks are in sparsenet.peers.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from sparsenet.peers import PeerError
from sparsenet.peers.network import one_line

Array = np.ndarray[Any, np.dtype[np.float32]]
NAMES = ("scipy", "mkl", "torch", "blas")
"""scipy.sparse, MKL's sparse BLAS, torch.sparse, and a dense product by the BLAS torch brings."""


def missing(name: str) -> str | None:
    """Why a library can't be used here, or None if it can."""
    module = import_module(f"benchmarks.peers.{name}_matrix")
    try:
        module.load()
    except Exception as error:  # a broken install raises anything
        return f"{one_line(error)} (pip install {module.REQUIREMENT})"
    return None


def prepare(name: str, weight: Array, x: Array, threads: int) -> Callable[[], Array]:
    """A call that computes weight @ x; it has run once and agrees with NumPy in fp64. Raises PeerError."""
    why = missing(name)
    if why is not None:
        raise PeerError(f"not installed: {why}")
    try:
        call: Callable[[], Array] = import_module(f"benchmarks.peers.{name}_matrix").prepare(weight, x, threads)
        got = call()
    except Exception as error:
        raise PeerError(f"cannot run it: {one_line(error)}") from error
    check(got, weight, x)
    return call


def check(got: Array, weight: Array, x: Array) -> None:
    """Raises PeerError unless |got - weight x| <= 2 sqrt(K) eps |weight| |x| everywhere."""
    wide, deep = weight.astype(np.float64), x.astype(np.float64)
    limit = 2 * np.sqrt(weight.shape[1]) * np.finfo(np.float32).eps * (np.abs(wide) @ np.abs(deep))
    if not (np.abs(got - wide @ deep) <= limit + 1e-30).all():
        raise PeerError("computes something else")
