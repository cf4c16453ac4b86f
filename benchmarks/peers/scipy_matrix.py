"""scipy.sparse: a CSR matrix times an array, on one thread whatever is asked."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

REQUIREMENT = "scipy"


def load() -> Any:
    return import_module("scipy.sparse")


def prepare(weight: Any, x: Any, threads: int) -> Callable[[], Any]:
    if threads > 1:
        raise ValueError("has one thread")
    matrix = load().csr_array(weight)
    return lambda: matrix @ x
