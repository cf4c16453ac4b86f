"""The dense product, zeros and all, by the BLAS that torch brings (MKL on x86-64, OpenBLAS on aarch64)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

REQUIREMENT = "torch"


def load() -> Any:
    return import_module("torch")


def prepare(weight: Any, x: Any, threads: int) -> Callable[[], Any]:
    torch = load()
    torch.set_num_threads(threads)
    a, b = torch.from_numpy(weight), torch.from_numpy(x)
    out = torch.empty(a.shape[0], b.shape[1])

    def call() -> Any:
        with torch.inference_mode():
            return torch.mm(a, b, out=out).numpy()

    return call
