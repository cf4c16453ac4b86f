"""The C API seen from Python: the shared library that a C program links, called through cffi, and nothing else of ours.

It is for checking and prototyping what an embedded program will do; `sparsenet.compile` is the everyday engine. Needs
the `capi` extra (cffi).
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsenet import _core, errors

__all__ = ["Engine", "version"]

_CLASSES: dict[str, type[Exception]] = {
    "SN_INVALID_ARGUMENT": errors.InvalidArgumentError,
    "SN_GRAPH": errors.GraphError,
    "SN_SHAPE": errors.ShapeError,
    "SN_UNSUPPORTED_OP": errors.UnsupportedOpError,
    "SN_FILE_FORMAT": errors.FileFormatError,
    "SN_IO": errors.SparsenetIOError,
    "SN_OUT_OF_MEMORY": MemoryError,
}


def _find(name: str, *folders: Path) -> Path:
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    raise errors.SparsenetIOError(f"{name} is in none of {', '.join(map(str, folders))}; reinstall sparsenet")


def _declarations(header: str) -> str:
    """The C declarations of sparsenet.h without what cffi does not read: comments, C++ and the preprocessor."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    text = re.sub(r"#ifdef __cplusplus.*?#endif", "", text, flags=re.DOTALL)
    text = re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
    return text.replace("SN_API ", "")


@lru_cache
def _library() -> tuple[Any, Any]:
    """cffi's FFI object and the open library. Header and library lie in the package, or where they were built."""
    import cffi

    package = Path(__file__).parent
    built = Path(_core.__file__).resolve().parent
    header = _find("sparsenet.h", package, package.parent / "csrc" / "include")
    ffi = cffi.FFI()
    ffi.cdef(_declarations(header.read_text(encoding="utf-8")))
    return ffi, ffi.dlopen(str(_find("libsparsenet.so", package, built)))


def _check(status: int) -> None:
    ffi, lib = _library()
    if status != lib.SN_OK:
        name = ffi.string(lib.sn_status_name(status)).decode()
        raise _CLASSES.get(name, errors.SparsenetError)(ffi.string(lib.sn_last_error()).decode())


def _with_batch(batch: int, shape: tuple[int | None, ...]) -> tuple[int, ...]:
    return (batch, *(d for d in shape[1:] if d is not None))


def version() -> str:
    """The version of the shared library."""
    ffi, lib = _library()
    return str(ffi.string(lib.sn_version()).decode())


class Engine:
    """A .snet file, loaded and compiled through sparsenet.h.

    `model` is a path, or the bytes of a file. The options are those of `sn_options`: `threads` (the caller's included),
    `tune` (time kernels for up to `tune_seconds`), `max_batch` (reserve memory for it now), `isa` (None: the best), and
    the limits `max_file_bytes`, `max_elements`, `max_nodes` on what the file may ask for (0: the default).

    Raises `FileFormatError`, `SparsenetIOError`, `InvalidArgumentError` and their kin, as `sparsenet.load` does.

    Example:
        >>> engine = Engine("model.snet", threads=2)  # doctest: +SKIP
        >>> [y] = engine.run(np.zeros((1, 3, 224, 224), np.float32))  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes,
        *,
        threads: int = 1,
        tune: bool = True,
        tune_seconds: float = 1.0,
        max_batch: int = 1,
        isa: str | None = None,
        max_file_bytes: int = 0,
        max_elements: int = 0,
        max_nodes: int = 0,
    ) -> None:
        self._pointer: Any = None
        self._ffi, self._lib = ffi, lib = _library()
        isa_text = ffi.NULL if isa is None else ffi.new("char[]", isa.encode())
        options = ffi.new("sn_options*")
        options.size = ffi.sizeof("sn_options")
        options.threads = threads
        options.tune = tune
        options.tune_seconds = tune_seconds
        options.max_batch = max_batch
        options.isa = isa_text
        options.max_file_bytes = max_file_bytes
        options.max_elements = max_elements
        options.max_nodes = max_nodes
        place = ffi.new("sn_engine**")
        if isinstance(model, bytes):
            _check(lib.sn_load_memory(ffi.from_buffer(model), len(model), options, place))
        else:
            _check(lib.sn_load_path(os.fsencode(model), options, place))
        self._pointer = place[0]

    def close(self) -> None:
        """Free the engine now; any use after that is an error."""
        if self._pointer is not None:
            self._lib.sn_free(self._pointer)
            self._pointer = None

    def _engine(self) -> Any:
        if self._pointer is None:
            raise errors.InvalidArgumentError("this engine is closed")
        return self._pointer

    def _tensors(self, kind: str) -> list[tuple[str, tuple[int | None, ...]]]:
        get = {f: getattr(self._lib, f"sn_{kind}_{f}") for f in ("count", "name", "rank", "dims")}
        out = []
        for i in range(get["count"](self._engine())):
            dims = self._ffi.unpack(get["dims"](self._engine(), i), get["rank"](self._engine(), i))
            name = self._ffi.string(get["name"](self._engine(), i)).decode()
            out.append((name, tuple(None if d < 0 else d for d in dims)))
        return out

    @property
    def inputs(self) -> list[tuple[str, tuple[int | None, ...]]]:
        """(name, shape) of each input; None stands for the batch."""
        return self._tensors("input")

    @property
    def outputs(self) -> list[tuple[str, tuple[int | None, ...]]]:
        """(name, shape) of each output."""
        return self._tensors("output")

    @property
    def isa(self) -> str:
        """The instruction set compiled for."""
        return str(self._ffi.string(self._lib.sn_isa(self._engine())).decode())

    def reserve(self, batch: int) -> None:
        """Allocate now what a run of this batch will need."""
        _check(self._lib.sn_reserve(self._engine(), batch))

    def run(self, *inputs: npt.ArrayLike) -> list[npt.NDArray[np.float32]]:
        """The outputs for float32 arrays of shape [batch, ...], one an input of the network, in its order.

        Raises `ShapeError` for arrays of another shape, `InvalidArgumentError` for another number of them.
        """
        wanted = self.inputs
        if len(inputs) != len(wanted):
            raise errors.InvalidArgumentError(f"expected {len(wanted)} inputs, got {len(inputs)}")
        arrays = [np.ascontiguousarray(x, np.float32) for x in inputs]
        batch = arrays[0].shape[0] if arrays and arrays[0].ndim else 0
        for array, (name, shape) in zip(arrays, wanted, strict=True):
            if array.shape != _with_batch(batch, shape):
                raise errors.ShapeError(f"input '{name}': expected shape {shape}, got {array.shape}")
        results = [np.empty(_with_batch(batch, shape), np.float32) for _, shape in self.outputs]
        views = [[self._ffi.from_buffer("float[]", a) for a in some] for some in (arrays, results)]
        _check(
            self._lib.sn_run(
                self._engine(), batch, self._ffi.new("float*[]", views[0]), self._ffi.new("float*[]", views[1])
            )
        )
        return results

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_pointer", None) is not None:
            self.close()

    def __repr__(self) -> str:
        if self._pointer is None:
            return "<sparsenet.capi.Engine, closed>"
        ends = [
            ", ".join(f"{n}[{', '.join('N' if d is None else str(d) for d in s)}]" for n, s in some)
            for some in (self.inputs, self.outputs)
        ]
        return f"<sparsenet.capi.Engine {ends[0]} -> {ends[1]} on {self.isa}>"
