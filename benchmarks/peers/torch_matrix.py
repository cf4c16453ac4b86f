"""torch.sparse: a CSR tensor times a dense one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

REQUIREMENT = "torch"


def load() -> Any:
    return import_module("torch")


def prepare(weight: Any, x: Any, threads: int) -> Callable[[], Any]:
    torch = load()
    torch.set_num_threads(threads)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        matrix = torch.from_numpy(weight).to_sparse_csr()
    dense = torch.from_numpy(x)

    def call() -> Any:
        with torch.inference_mode():
            return torch.mm(matrix, dense).numpy()

    return call
