"""MKL's sparse BLAS (mkl_sparse_s_mm) through sparse-dot-mkl, its handle made and optimised once, as for inference.

sparse-dot-mkl's public function makes a new handle at every call, which would be timed too; hence its inner names.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

REQUIREMENT = "sparse-dot-mkl mkl"
_NO_TRANSPOSE = 10  # SPARSE_OPERATION_NON_TRANSPOSE
_EXPECTED_CALLS = 1000


def load() -> Any:
    if "MKL_RT" not in os.environ:
        # The loader does not look into a virtual environment's lib/.
        files = importlib.metadata.files("mkl") or []
        for file in files:
            if file.name.startswith("libmkl_rt.so"):
                os.environ["MKL_RT"] = str(file.locate().resolve())
    return import_module("sparse_dot_mkl._mkl_interface")


def prepare(weight: Any, x: Any, threads: int) -> Callable[[], Any]:
    mkl = load()
    mkl.mkl_set_num_threads(threads)
    matrix = import_module("scipy.sparse").csr_matrix(weight)
    handle, _, _ = mkl._create_mkl_sparse(matrix)
    columns = x.shape[1]
    library = import_module("sparse_dot_mkl._mkl_interface._cfunctions")._libmkl
    general = mkl.matrix_descr()
    row_major = mkl.LAYOUT_CODE_C
    for status in (
        library.mkl_sparse_set_mm_hint(handle, _NO_TRANSPOSE, general, row_major, columns, _EXPECTED_CALLS),
        library.mkl_sparse_optimize(handle),
    ):
        if status not in (0, 6):  # success, or nothing to optimise
            raise RuntimeError(f"MKL returned {status}")
    y = np.empty((weight.shape[0], columns), np.float32)
    target = y.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    keep = matrix  # the handle reads its arrays

    def call() -> Any:
        status = mkl.MKL._mkl_sparse_s_mm(
            _NO_TRANSPOSE, 1.0, handle, general, row_major, x, columns, columns, 0.0, target, columns
        )
        if status != 0 or keep is None:
            raise RuntimeError(f"mkl_sparse_s_mm returned {status}")
        return y

    return call
