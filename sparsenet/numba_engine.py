"""The Numba backend: whole networks, with sparse layers in Python kernels and the other ops in NumPy."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsenet import _core, reference
from sparsenet.arrays import FloatArray
from sparsenet.errors import InvalidArgumentError
from sparsenet.graph import Graph
from sparsenet.reference.elementwise import ACTIVATIONS
from sparsenet.reference.types import Inputs

try:
    from sparsenet import numba_kernels as kernels
except ImportError as error:
    raise InvalidArgumentError(f"backend 'numba' needs Numba: pip install 'sparsenet[numba]' ({error})") from error

if TYPE_CHECKING:
    from sparsenet.backend import CompileOptions

#: Floats a panel, 32 KB: what an L1 cache holds.
PANEL = 8192
#: Pixels a tile at most.
MAX_TILE = 128
#: Tiles are a multiple of this, the floats of a cache line, so that inner loops have no remainder.
LANES = 16
#: Denser layers go to NumPy, whose BLAS outruns a kernel that loads an index for each product.
DENSE = 0.25
#: A block format is taken where its blocks are at least so full: it stores and multiplies the zeros inside them.
FULL_BLOCKS = 0.9
BLOCKS = ((4, 1), (1, 4), (1, 1))
#: Up to so many rows of input a fully connected layer runs as SpMV.
VECTOR_ROWS = 4

KERNELS = (*(f"numba_spmm_{br}x{bc}" for br, bc in BLOCKS), "numba_spmv", "numpy")

Run = Callable[[Inputs, "Threads"], FloatArray]


class Threads:
    """Shares the tasks of a kernel out, in equal ranges; the threads live for one call of the engine."""

    def __init__(self, count: int, pool: ThreadPoolExecutor | None) -> None:
        self.count, self.pool = count, pool

    @staticmethod
    @contextlib.contextmanager
    def start(count: int) -> Iterator[Threads]:
        if count == 1:
            yield Threads(1, None)
        else:
            with ThreadPoolExecutor(count) as pool:
                yield Threads(count, pool)

    def share(self, kernel: Callable[..., None], tasks: int, *args: Any) -> None:
        if self.pool is None:
            kernel(0, tasks, *args)
            return
        edges = [tasks * i // self.count for i in range(self.count + 1)]
        for done in [self.pool.submit(kernel, a, b, *args) for a, b in itertools.pairwise(edges) if a < b]:
            done.result()


@dataclass
class Frozen:
    """The graph as the interpreter reads it, without a crossing into C++ for every node of every call."""

    inputs: list[tuple[str, tuple[int | None, ...]]]
    outputs: list[tuple[str, tuple[int | None, ...]]]
    nodes: list[Any]
    constants: dict[str, FloatArray]

    def constant(self, name: str) -> FloatArray | None:
        return self.constants.get(name)

    @staticmethod
    def of(graph: Graph) -> Frozen:
        constants = {name: graph.constant(name) for name in graph.values}
        held = {name: value for name, value in constants.items() if value is not None}
        return Frozen(list(graph.inputs), list(graph.outputs), list(graph.nodes), held)


@dataclass
class Layer:
    """How one node runs, and what explain() says of it."""

    kernel: str
    why: str
    run: Run
    weights: int = 0
    nnz: int = 0
    macs: float = 0.0
    useful_macs: float = 0.0
    packed_bytes: int = 0
    shape: tuple[int | None, ...] = field(default=())


def _stream(w: FloatArray, block: tuple[int, int], tile: int) -> kernels.Stream:
    """Pack ``w[groups, M, K]`` in k-blocks whose panel for ``tile`` pixels fits L1."""
    br, bc = block
    kc = PANEL // tile // bc * bc
    start, column, value = _core.pack(w, br, bc, kc)
    return kernels.Stream(br, bc, kc, -(-w.shape[2] // kc), -(-w.shape[1] // br), start, column, value)


def _tile(pixels: int) -> int:
    """Pixels a tile: the least that covers them with as few tiles as possible."""
    return -(-pixels // -(-pixels // MAX_TILE) // LANES) * LANES


def _block(w: FloatArray, nnz: int) -> tuple[int, int]:
    """The block format for ``w[groups, M, K]``: the largest whose blocks are full enough."""
    groups, rows, columns = w.shape
    for br, bc in BLOCKS:
        padded = np.pad(w != 0, ((0, 0), (0, -rows % br), (0, -columns % bc)))
        blocks = padded.reshape(groups, -(-rows // br), br, -(-columns // bc), bc).any(axis=(2, 4))
        if nnz >= FULL_BLOCKS * br * bc * int(blocks.sum()):
            return br, bc
    return 1, 1


def _clamp(attrs: dict[str, Any]) -> tuple[np.float32, np.float32, Callable[[FloatArray], FloatArray]]:
    """The bounds that none, relu and clip come down to, and what is left of any other activation."""
    act, a, b = attrs["act"], attrs["act_a"], attrs["act_b"]
    if act == "clip":
        return np.float32(a), np.float32(b), lambda y: y
    low = np.float32(0 if act == "relu" else -np.inf)
    after = ACTIVATIONS["none" if act == "relu" else act]
    return low, np.float32(np.inf), lambda y: np.asarray(after(y, a, b))


def _conv(node: Any, x_shape: Sequence[int | None], w: FloatArray, block: tuple[int, int]) -> tuple[Run, int]:
    attrs, groups = node.attrs, node.attrs["groups"]
    spatial = w.ndim - 2
    kernel = [1] * (2 - spatial) + list(w.shape[2:])
    size = [1] * (2 - spatial) + [int(n or 0) for n in x_shape[2:]]
    stride, dilation = ([1] * (2 - spatial) + list(attrs[name]) for name in ("stride", "dilation"))
    begin, end = ([0] * (2 - spatial) + list(p) for p in (attrs["padding"][:spatial], attrs["padding"][spatial:]))
    out = [(size[i] + begin[i] + end[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(2)]
    rows, columns = w.shape[0] // groups, prod(w.shape[1:])
    window = kernels.Window(groups, rows, columns, w.shape[1], *size, *out, *kernel, *stride, *dilation, *begin)
    tile = _tile(prod(out))
    stream = _stream(w.reshape(groups, rows, columns), block, tile)
    low, high, after = _clamp(attrs)

    def run(inputs: Inputs, threads: Threads) -> FloatArray:
        x, bias, residual = _operands(inputs, w.shape[0])
        batch = len(x)
        y = np.empty((batch * groups, rows, prod(out)), np.float32)
        tasks = len(y) * -(-prod(out) // tile)
        threads.share(
            kernels.conv, tasks, window, stream, tile, bias, low, high,
            x.reshape(batch, -1, size[0], size[1]), residual.reshape(-1, rows, prod(out)), y,
        )  # fmt: skip
        return after(y.reshape(batch, w.shape[0], *out[2 - spatial :]))

    return run, _bytes(stream)


def _linear(node: Any, w: FloatArray, block: tuple[int, int], vector_rows: float) -> tuple[Run, int]:
    stream = _stream(w[None], block, MAX_TILE)
    low, high, after = _clamp(node.attrs)

    def run(inputs: Inputs, threads: Threads) -> FloatArray:
        x, bias, residual = _operands(inputs, len(w))
        rows = x.reshape(-1, w.shape[1])
        y = np.empty((len(rows), len(w)), np.float32)
        rest = (bias, low, high, rows, residual.reshape(-1, len(w)), y)
        if len(rows) <= vector_rows:
            threads.share(kernels.spmv, len(w), stream, *rest)
        else:
            tile = _tile(len(rows))
            threads.share(kernels.linear, -(-len(rows) // tile), stream, tile, *rest)
        return after(y.reshape(*x.shape[:-1], len(w)))

    return run, _bytes(stream)


def _operands(inputs: Inputs, rows: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """x, bias and residual, C-contiguous; zeros for an absent bias, an empty array for an absent residual."""
    x, bias, residual = (inputs[i] if i < len(inputs) else None for i in (0, 2, 3))
    return (
        np.ascontiguousarray(x, dtype=np.float32),
        np.zeros(rows, np.float32) if bias is None else np.array(bias, dtype=np.float32),
        np.empty(0, np.float32) if residual is None else np.ascontiguousarray(residual, dtype=np.float32),
    )


def _bytes(stream: kernels.Stream) -> int:
    return stream.start.nbytes + stream.column.nbytes + stream.value.nbytes


def _lower(graph: Graph, node: Any, forced: str | None) -> Layer:
    shape = tuple(graph.shape(node.output))
    layer = Layer("numpy", "no kernel of its own", lambda inputs, _: _interpret(node, inputs), shape=shape)
    w = graph.constant(node.inputs[1]) if node.op in ("Conv", "Linear") else None
    if w is None:
        return layer
    groups = node.attrs.get("groups", 1)
    matrix = w.reshape(groups, len(w) // groups, -1)
    layer.weights, layer.nnz = w.size, int(np.count_nonzero(w))
    layer.packed_bytes = w.nbytes
    pixels = prod(int(n or 1) for n in (shape[2:] if node.op == "Conv" else shape[1:-1]))
    layer.macs, layer.useful_macs = float(pixels) * layer.weights, float(pixels) * layer.nnz
    density = layer.nnz / layer.weights
    layer.why = f"density {density:.2f}"
    if forced == "numpy" or (forced == "numba_spmv" and node.op != "Linear"):
        return layer
    if forced is None and (density > DENSE or matrix.shape[1] == 1):
        return layer
    block = _block(matrix, layer.nnz)
    if forced is not None:
        block = (1, 1) if forced == "numba_spmv" else BLOCKS[KERNELS.index(forced)]
    layer.kernel = f"numba_spmm_{block[0]}x{block[1]}"
    if node.op == "Conv":
        layer.run, layer.packed_bytes = _conv(node, graph.shape(node.inputs[0]), w, block)
        return layer
    limit = {None: VECTOR_ROWS if block == (1, 1) else 0, "numba_spmv": np.inf}.get(forced, 0)
    if limit:
        layer.kernel = "numba_spmv"
    layer.run, layer.packed_bytes = _linear(node, w, block, limit)
    return layer


def _interpret(node: Any, inputs: Inputs) -> FloatArray:
    return np.asarray(reference.evaluate(node.op, inputs, node.attrs), dtype=np.float32)


class NumbaEngine:
    """What ``sparsenet.compile(graph, backend="numba")`` runs on; see :class:`sparsenet.engine.Backend`.

    ``kernel=`` forces one of :data:`KERNELS` wherever it applies. ``isa`` and ``tune`` have no meaning here: LLVM
    compiles for the CPU at hand, and the choice is by density.
    """

    def __init__(self, graph: Graph, options: CompileOptions) -> None:
        if options.isa:
            raise InvalidArgumentError(f"backend 'numba' compiles for this CPU; isa={options.isa!r} cannot be forced")
        if options.kernel is not None and options.kernel not in KERNELS:
            raise InvalidArgumentError(f"backend 'numba' has no kernel {options.kernel!r}; it has {', '.join(KERNELS)}")
        self.graph = graph.copy()
        self.graph.verify()
        if options.passes is not False:
            self.graph.run_passes(list(options.passes) if isinstance(options.passes, tuple) else [])
        self._frozen = Frozen.of(self.graph)
        self._threads = options.threads
        self._layers = {node.output: _lower(self.graph, node, options.kernel) for node in self._frozen.nodes}
        if options.kernel is not None and options.kernel not in {layer.kernel for layer in self._layers.values()}:
            raise InvalidArgumentError(f"kernel {options.kernel!r} applies to no node of this graph")

    @property
    def isa(self) -> str:
        """LLVM compiles for the CPU at hand, so: the best of what it has."""
        return _core.best_isa()

    @property
    def inputs(self) -> list[tuple[str, tuple[int | None, ...]]]:
        return self._infos(self._frozen.inputs)

    @property
    def outputs(self) -> list[tuple[str, tuple[int | None, ...]]]:
        return self._infos(self._frozen.outputs)

    def _infos(self, tensors: list[tuple[str, tuple[int | None, ...]]]) -> list[tuple[str, tuple[int | None, ...]]]:
        return [(name, (self.graph.fixed_batch or None, *shape[1:])) for name, shape in tensors]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """A dict a node, with the fields of :class:`sparsenet.explain.Step`."""
        told = ("kernel", "why", "shape", "weights", "nnz", "macs", "useful_macs", "packed_bytes")
        layers = [(node, self._layers[node.output]) for node in self._frozen.nodes]
        return [{"node": node.name, "op": node.op, **{k: getattr(layer, k) for k in told}} for node, layer in layers]

    @property
    def packed_bytes(self) -> int:
        return sum(layer.packed_bytes for layer in self._layers.values())

    def run(self, batch: int, inputs: Sequence[FloatArray], outputs: Sequence[FloatArray]) -> None:
        """Fill ``outputs`` from ``inputs``; may be called from several threads."""
        self.run_timed(batch, inputs, outputs)

    def call(self, inputs: tuple[Any, ...]) -> None:
        """None: every call takes the general path, whose cost is small beside the interpreter's."""

    def run_timed(
        self, batch: int, inputs: Sequence[FloatArray], outputs: Sequence[FloatArray]
    ) -> tuple[list[float], list[float]]:
        """run, and when each step began and ended, in seconds from the start of the call."""
        fixed = self.graph.fixed_batch
        if batch < 1 or (fixed and batch != fixed):
            raise InvalidArgumentError(f"expected a batch of {fixed or 'at least 1'}, got {batch}")
        zero, begin, end = time.perf_counter(), [], []
        with Threads.start(self._threads) as threads:

            def evaluate(node: Any, args: Inputs) -> FloatArray:
                begin.append(time.perf_counter() - zero)
                y = self._layers[node.output].run(args, threads)
                end.append(time.perf_counter() - zero)
                return y

            results = reference.run(self._frozen, inputs, np.float32, evaluate_node=evaluate)
        for out, (name, _) in zip(outputs, self._frozen.outputs, strict=True):
            out[...] = results[name].reshape(out.shape)
        return begin, end
