"""The C++ core: one section a file of csrc/bind/. Use it through the package, which documents and checks more."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str

Shape = tuple[int | None, ...]
"""None stands for the batch, on axis 0 of every activation."""

# graph.cpp

class Node:
    """A snapshot of one node: changing it changes no graph."""

    @property
    def op(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def inputs(self) -> list[str | None]: ...
    @property
    def output(self) -> str: ...
    @property
    def attrs(self) -> dict[str, Any]: ...

class Graph:
    fixed_batch: int
    """The only batch size the graph holds for, or 0 for any."""

    def __init__(self, other: Graph = ...) -> None: ...
    def add_input(self, name: str, shape: Sequence[int | None]) -> str: ...
    def add_constant(self, name: str, array: NDArray[Any]) -> str:
        """Shares the memory of a C-contiguous float32 array, which must not change any more; converts other arrays."""

    def add_node(
        self, op: str, inputs: Sequence[str | None], attrs: dict[str, Any] = ..., name: str = ""
    ) -> str:
        """The name of the output: `name`, or one made up from the op."""

    def set_outputs(self, names: Sequence[str]) -> None: ...
    @property
    def nodes(self) -> list[Node]: ...
    @property
    def inputs(self) -> list[tuple[str, Shape]]: ...
    @property
    def outputs(self) -> list[tuple[str, Shape]]: ...
    @property
    def values(self) -> list[str]: ...
    def shape(self, name: str) -> Shape: ...
    def constant(self, name: str) -> NDArray[np.float32] | None:
        """A read-only view of the weights, or None for an activation."""

    def unique_name(self, wish: str) -> str: ...
    def verify(self) -> None: ...
    def compact(self) -> None:
        """Drops nodes and values that no output needs; inputs stay."""

    def run_passes(self, disabled: Sequence[str] = ...) -> None:
        """Rewrites this graph by every pass but the disabled ones."""

    def copy(self) -> Graph: ...

def op_table() -> list[dict[str, Any]]:
    """A row an op: name, min_inputs, max_inputs, attrs (each with name, kind and perhaps default)."""

def passes() -> list[tuple[str, str]]:
    """(name, what it does), in the order they run."""

# engine.cpp

class Engine:
    @staticmethod
    def compile(
        graph: Graph,
        *,
        threads: int,
        tune: bool,
        tune_seconds: float,
        batch: int,
        isa: str,
        kernel: str,
        winograd: bool,
        passes: bool,
        disabled_passes: Sequence[str],
    ) -> Engine: ...
    @staticmethod
    def compile_file(
        path: str | bytes | os.PathLike[str],
        *,
        threads: int,
        tune: bool,
        tune_seconds: float,
        batch: int,
        isa: str,
        kernel: str,
        winograd: bool,
        passes: bool,
        disabled_passes: Sequence[str],
    ) -> tuple[Engine, str]: ...
    def run(
        self, batch: int, inputs: Sequence[NDArray[np.float32]], outputs: Sequence[NDArray[np.float32]]
    ) -> None: ...
    def call(self, inputs: tuple[Any, ...]) -> Any: ...
    def run_timed(
        self, batch: int, inputs: Sequence[NDArray[np.float32]], outputs: Sequence[NDArray[np.float32]]
    ) -> tuple[list[float], list[float]]:
        """run, and (begin, end) of each step in seconds from the start of the call."""

    def arena_bytes(self, batch: int) -> int: ...
    def reserve(self, batch: int) -> None: ...
    @property
    def inputs(self) -> list[tuple[str, Shape]]: ...
    @property
    def outputs(self) -> list[tuple[str, Shape]]: ...
    @property
    def steps(self) -> list[dict[str, Any]]: ...
    @property
    def isa(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def packed_bytes(self) -> int: ...

# io.cpp

def save(graph: Graph, path: str | bytes | os.PathLike[str], fp16: bool = False) -> None: ...
def load(path: str | bytes | os.PathLike[str]) -> Graph: ...
def save_bytes(graph: Graph, fp16: bool = False) -> bytes: ...
def load_bytes(data: bytes) -> Graph: ...
def load_with_digest(path: str | bytes | os.PathLike[str]) -> tuple[Graph, str]: ...
def load_bytes_with_digest(data: bytes) -> tuple[Graph, str]: ...

# channels.cpp

def channel_sets(graph: Graph) -> dict[str, tuple[int, NDArray[np.int32], bool]]:
    """By activation: the axis of its channels, for each channel the number of the set that can only be removed as a
    whole, over the whole graph, and whether its channels have to stay."""

# kernels.cpp

def kernels() -> list[dict[str, Any]]:
    """Every kernel in this binary: family, name, isa, available (on this CPU)."""

def isas() -> list[str]: ...
def best_isa(requested: str = "") -> str:
    """The ISA compile() takes: the one asked for, else SPARSENET_FORCE_ISA, else the best."""

def peak_gflops(isa: str = "") -> float:
    """Measured FMA peak of one core in GFLOP/s; takes milliseconds."""

# pack.cpp

def pack(
    w: NDArray[np.float32], br: int = 1, bc: int = 1, kc: int = 128
) -> tuple[NDArray[np.uint32], NDArray[np.uint16], NDArray[np.float32]]:
    """Dense weights [groups, M, K] -> (start, index, value), the stream that the sparse kernels walk."""
