"""What runs a plan, and how it is made: from a graph, or straight from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sparsenet import _core
from sparsenet.arrays import FloatArray
from sparsenet.errors import InvalidArgumentError
from sparsenet.graph import Graph


@dataclass(frozen=True)
class CompileOptions:
    """What compile() was asked for; see there."""

    threads: int = 1
    tune: bool = True
    batch: int = 1
    isa: str | None = None
    kernel: str | None = None
    winograd: bool = True
    passes: bool | tuple[str, ...] = True
    tune_seconds: float = 1.0
    backend: str = "cpp"


class Backend(Protocol):
    """What runs a plan: `_core.Engine`, or the Numba one. Arrays are C-contiguous float32, in the network's order."""

    @property
    def inputs(self) -> list[tuple[str, tuple[int | None, ...]]]: ...
    @property
    def outputs(self) -> list[tuple[str, tuple[int | None, ...]]]: ...
    @property
    def steps(self) -> list[dict[str, Any]]: ...
    @property
    def isa(self) -> str: ...
    @property
    def packed_bytes(self) -> int: ...
    def run(self, batch: int, inputs: Sequence[FloatArray], outputs: Sequence[FloatArray]) -> None: ...
    def call(self, inputs: tuple[Any, ...]) -> Any:
        """The result (a tuple for several outputs) where no input needs a conversion or an error, else None."""

    def run_timed(
        self, batch: int, inputs: Sequence[FloatArray], outputs: Sequence[FloatArray]
    ) -> tuple[list[float], list[float]]: ...


def compile_graph(graph: Graph, options: CompileOptions) -> Backend:
    if options.backend == "cpp":
        core: Backend = _core.Engine.compile(graph, **_keywords(options))
        return core
    return _numba_engine(graph, options)


def compile_file(path: Path, options: CompileOptions) -> tuple[Backend, str]:
    """The backend, and the digest of the file. No graph in Python holds its weights, so they go as they are packed."""
    if options.backend == "cpp":
        core: tuple[Backend, str] = _core.Engine.compile_file(path, **_keywords(options))
        return core
    graph, digest = _core.load_with_digest(path)
    return _numba_engine(Graph(graph), options), digest


def _numba_engine(graph: Graph, options: CompileOptions) -> Backend:
    if options.backend != "numba":
        raise InvalidArgumentError(f"backend: expected 'cpp' or 'numba', got {options.backend!r}")
    from sparsenet.numba_engine import NumbaEngine

    return NumbaEngine(graph, options)


def _keywords(options: CompileOptions) -> dict[str, Any]:
    return {
        "threads": options.threads,
        "tune": options.tune,
        "tune_seconds": options.tune_seconds,
        "batch": options.batch,
        "isa": options.isa or "",
        "kernel": options.kernel or "",
        "winograd": options.winograd,
        "passes": options.passes is not False,
        "disabled_passes": disabled_passes(options),
    }


def disabled_passes(options: CompileOptions) -> list[str]:
    return list(options.passes) if isinstance(options.passes, tuple) else []
