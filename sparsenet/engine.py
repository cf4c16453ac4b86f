"""compile() and Engine: a network made ready for this machine, called with arrays."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparsenet import _core
from sparsenet.arrays import FloatArray, TensorInfo, batch_of, check_out, is_torch, overlap, ready, to_numpy
from sparsenet.backend import CompileOptions, compile_file, compile_graph, disabled_passes
from sparsenet.errors import InvalidArgumentError
from sparsenet.explain import Explanation, Profile, Step, measure, write_trace
from sparsenet.graph import Graph
from sparsenet.model_file import ModelFile


def compile(
    model: _core.Graph | str | os.PathLike[str],
    threads: int = 1,
    tune: bool = True,
    *,
    batch: int = 1,
    isa: str | None = None,
    kernel: str | None = None,
    winograd: bool = True,
    passes: bool | Iterable[str] = True,
    tune_seconds: float = 1.0,
    backend: str = "cpp",
) -> Engine:
    """Choose kernels for this machine, pack the weights and plan the memory.

    Args:
        model: a Graph, or the path of a .snet file. The graph is not changed. An engine from a file holds packed
            weights only; one from a Graph shares that Graph's weights as well, for Engine.graph and pickling.
        threads: how many threads a call uses, the caller's included.
        tune: time the candidate kernels of each layer here and now; without it a cost model chooses.
        batch: the batch size to choose kernels for. Every batch size runs, and is fast where layers are alike.
        isa: "scalar", "avx2", "avx512" or "neon"; None takes $SPARSENET_FORCE_ISA, else the best this CPU has.
        kernel: use this kernel (a name of `sparsenet._core.kernels()`) wherever it applies. The name of a matrix kernel
            may be followed by the layout of what a convolution reads, as in "spmm_1x1_r7_avx2/padded": a panel of
            copies, "packed" or "sliding", or zero-padded input in place, "padded", or "shifted" with a copy for each
            column of the window.
        winograd: False keeps convolutions of 3x3 at stride 1, and of 5x5 to 8x8 at stride 2 (stems), from running as
            Winograd's minimal filtering, which is the faster way where zeros are few, with larger rounding errors
            (docs/performance.md has both).
        passes: True runs every graph pass, False none; a list names passes to leave out.
        tune_seconds: time that tuning may take, for the whole network.
        backend: "cpp", or "numba" for kernels written in Python.

    Raises:
        InvalidArgumentError: a model or option that cannot be, with what is possible.
        UnsupportedOpError: ops that no kernel runs, all of them.

    Example:
        >>> engine = sparsenet.compile("model.snet", threads=2)
        >>> y = engine(numpy.zeros((1, 3, 224, 224), numpy.float32))
    """
    if not isinstance(tune_seconds, (int, float)) or not tune_seconds >= 0:
        raise InvalidArgumentError(f"tune_seconds: expected a number >= 0, got {tune_seconds!r}")
    for name, value in (("isa", isa), ("kernel", kernel)):
        if not isinstance(value, (str, type(None))):
            raise InvalidArgumentError(f"{name}: expected a name or None, got {value!r}")
    options = CompileOptions(
        threads=_positive_int("threads", threads),
        tune=bool(tune),
        batch=_positive_int("batch", batch),
        isa=isa,
        kernel=kernel,
        winograd=bool(winograd),
        passes=_passes(passes),
        tune_seconds=float(tune_seconds),
        backend=backend,
    )
    return Engine(_as_model(model), options)


def _passes(passes: object) -> bool | tuple[str, ...]:
    if isinstance(passes, bool):
        return passes
    listed = tuple(passes) if isinstance(passes, Iterable) and not isinstance(passes, str) else (None,)
    names = tuple(name for name in listed if isinstance(name, str))
    if len(names) < len(listed):
        raise InvalidArgumentError(f"passes: expected True, False or pass names to leave out, got {passes!r}")
    return names


def _positive_int(name: str, value: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if not 1 <= number < 2**31 or isinstance(value, bool):
        raise InvalidArgumentError(f"{name}: expected an integer >= 1 and below 2**31, got {value!r}")
    return number


def _as_model(model: object) -> _core.Graph | Path:
    if isinstance(model, _core.Graph):
        return model
    if isinstance(model, (str, os.PathLike)):
        path = Path(model)
        importer = {".onnx": "from_onnx(path)", ".pt2": "from_torch(torch.export.load(path))"}.get(path.suffix)
        if importer:
            raise InvalidArgumentError(f"'{path}' is not a .snet file; import it first: graph = sparsenet.{importer}")
        return path.absolute()
    kinds = {f"{c.__module__}.{c.__qualname__}" for c in type(model).__mro__}
    name = type(model).__name__
    if "torch.nn.modules.module.Module" in kinds:
        mend = "; import it first: graph = sparsenet.from_torch(module, example_inputs)"
    elif "torch.export.exported_program.ExportedProgram" in kinds:
        mend = "; import it first: graph = sparsenet.from_torch(program)"
    elif isinstance(model, Engine):
        mend = "; it is compiled already (engine.graph holds its graph)"
    else:
        mend = ""
    raise InvalidArgumentError(f"compile: expected a sparsenet.Graph or the path of a .snet file, got {name}{mend}")


class Engine:
    """A network ready to run; made by sparsenet.compile(). Immutable, and callable from several threads at once.

    Example:
        >>> y = engine(x)                     # x: float32 [N, 3, 224, 224]; any N
        >>> engine(x, out=y)                  # writes into y
        >>> a, b = engine({"left": u, "right": v})
    """

    def __init__(self, model: _core.Graph | Path, options: CompileOptions) -> None:
        # What `graph` and pickling go back to. A file is read again rather than its weights kept, so that running a
        # network takes the packed weights and no second copy in another form. A Graph's weights are shared with
        # whoever made it, and held compressed where they have many zeros.
        self._source: Graph | ModelFile
        if isinstance(model, Path):
            self._backend, digest = compile_file(model, options)
            self._source = ModelFile(model, digest)
        else:
            self._source = Graph(model)
            self._backend = compile_graph(self._source, options)
        self.options = options
        self.inputs = [TensorInfo(name, tuple(shape)) for name, shape in self._backend.inputs]
        self.outputs = [TensorInfo(name, tuple(shape)) for name, shape in self._backend.outputs]
        self.steps = [Step(**step) for step in self._backend.steps]
        self._names = [f"input '{info.name}'" for info in self.inputs]

    @property
    def graph(self) -> Graph:
        """The graph after the passes, made anew: what the steps compute.

        Raises:
            InvalidArgumentError: the engine was compiled from a file that has been written over since.
            SparsenetIOError: that file cannot be read any more.
        """
        graph = self._source.load() if isinstance(self._source, ModelFile) else self._source.copy()
        if self.options.passes is not False:
            graph.run_passes(disabled_passes(self.options))
        return graph

    @property
    def isa(self) -> str:
        """The instruction set in use."""
        return self._backend.isa

    @property
    def threads(self) -> int:
        """Threads a call uses, the caller's included."""
        return self.options.threads

    @property
    def packed_bytes(self) -> int:
        """Bytes of the packed weights in memory."""
        return self._backend.packed_bytes

    @property
    def dense_bytes(self) -> int:
        """Bytes the weights of all steps would take as dense float32."""
        return 4 * sum(step.weights for step in self.steps)

    def __call__(self, *inputs: Any, out: Any = None) -> Any:
        """Run the network.

        Args:
            inputs: one float32 array an input of the network, in order, or one mapping of names to arrays: NumPy,
                torch on the CPU (detached), or whatever speaks DLPack or the buffer protocol. Axis 0 is the batch and
                may have any size. C-contiguous arrays are read in place; others are copied.
            out: array (or a sequence of them, for several outputs) to write the result into: float32, C-contiguous, of
                the right shape, sharing no memory with an input.

        Returns:
            The output, or a tuple of them; torch tensors if an input was one, else NumPy arrays. With `out`, `out`.

        Raises:
            ShapeError: wrong dtype, rank or shape, an empty batch, or batches that differ.
            InvalidArgumentError: wrong number or names of inputs, not an array, not on the CPU, an unusable `out`.
        """
        if out is None and (result := self._backend.call(inputs)) is not None:
            return result
        given = self._ordered(inputs)
        views = [to_numpy(x, what) for x, what in zip(given, self._names, strict=True)]
        batch = self._batch(views)
        if out is not None:
            self._backend.run(batch, [ready(v) for v in views], self._checked_out(out, batch, views))
            return out
        results = self._results(batch)
        self._backend.run(batch, [ready(v) for v in views], results)
        if any(is_torch(x) for x in given):
            import torch

            tensors = tuple(torch.from_numpy(r) for r in results)
            return tensors[0] if len(tensors) == 1 else tensors
        return results[0] if len(results) == 1 else tuple(results)

    def run(self, *inputs: Any, out: Any = None) -> Any:
        """The same as calling the engine."""
        return self(*inputs, out=out)

    def explain(self, *inputs: Any, time: bool = True, repeat: int = 10) -> Explanation:
        """A row a step: what it computes, the kernel and why, and how fast it is here.

        Args:
            inputs: as for a call; without any, seeded normal noise of the batch the engine was compiled for.
            time: whether to run the network; False leaves the measured columns empty.
            repeat: runs to take the median time of each step from.

        Example:
            >>> print(engine.explain())
        """
        timing = None
        if time:
            batch, arrays = self._example(inputs)
            timing = measure(self._backend, batch, arrays, self._results(batch), _positive_int("repeat", repeat))
        return Explanation.build(self.steps, timing, title=repr(self), isa=self.isa, threads=self.threads)

    def profile(self, *inputs: Any, trace: str | os.PathLike[str] | None = None, warmup: int = 1) -> Profile:
        """Time each step of one call.

        Args:
            inputs: as for a call; without any, seeded normal noise.
            trace: where to write a Chrome trace (open it at ui.perfetto.dev); replaced only once it is complete.
            warmup: calls before the one that is timed.
        """
        batch, arrays = self._example(inputs)
        results = self._results(batch)
        for _ in range(warmup):
            self._backend.run(batch, arrays, results)
        begin, end = self._backend.run_timed(batch, arrays, results)
        profile = Profile(batch=batch, steps=tuple(self.steps), begin=tuple(begin), end=tuple(end))
        if trace is not None:
            write_trace(Path(trace), profile, title=repr(self))
        return profile

    def _ordered(self, inputs: tuple[Any, ...]) -> Sequence[Any]:
        if len(inputs) == 1 and isinstance(inputs[0], Mapping):
            feed, names = inputs[0], [info.name for info in self.inputs]
            missing = [n for n in names if n not in feed]
            unknown = [str(n) for n in feed if n not in names]
            if missing or unknown:
                wrong = [f"missing {missing}"] * bool(missing) + [f"unknown {unknown}"] * bool(unknown)
                raise InvalidArgumentError(f"inputs: expected {names}; {', '.join(wrong)}")
            return [feed[n] for n in names]
        if len(inputs) != len(self.inputs):
            names = [info.name for info in self.inputs]
            raise InvalidArgumentError(f"expected {len(names)} input(s) {names}, got {len(inputs)}")
        return inputs

    def _batch(self, views: list[FloatArray]) -> int:
        batches = [batch_of(v, info, what) for v, info, what in zip(views, self.inputs, self._names, strict=True)]
        if len(batches) > 1 and len(set(batches)) > 1:
            told = ", ".join(f"{what} has {b}" for what, b in zip(self._names, batches, strict=True))
            raise InvalidArgumentError(f"inputs disagree on the batch size: {told}")
        return batches[0]

    def _checked_out(self, out: Any, batch: int, views: list[FloatArray]) -> list[FloatArray]:
        given = list(out) if isinstance(out, (tuple, list)) else [out]
        if len(given) != len(self.outputs):
            raise InvalidArgumentError(f"out: expected {len(self.outputs)} array(s), got {len(given)}")
        arrays: list[FloatArray] = []
        for x, info in zip(given, self.outputs, strict=True):
            what = f"out '{info.name}'"
            if is_torch(x) and x.requires_grad:
                raise InvalidArgumentError(f"{what}: the tensor requires grad; pass out.detach()")
            array = to_numpy(x, what)
            check_out(array, info.with_batch(batch), what)
            if any(overlap(v, array) for v in views):
                raise InvalidArgumentError(f"{what}: shares memory with an input; use an array of its own")
            if any(overlap(a, array) for a in arrays):
                raise InvalidArgumentError(f"{what}: shares memory with another output; use an array of its own")
            arrays.append(array)
        return arrays

    def _example(self, inputs: tuple[Any, ...]) -> tuple[int, list[FloatArray]]:
        if inputs:
            views = [to_numpy(x, what) for x, what in zip(self._ordered(inputs), self._names, strict=True)]
            return self._batch(views), [ready(v) for v in views]
        batch = self.inputs[0].shape[0] or self.options.batch
        rng = np.random.default_rng(0)
        noise = [rng.standard_normal(info.with_batch(batch), np.float32) for info in self.inputs]
        return batch, noise

    def _results(self, batch: int) -> list[FloatArray]:
        return [np.empty(info.with_batch(batch), np.float32) for info in self.outputs]

    def __reduce__(self) -> tuple[Any, ...]:
        # As .snet bytes of the graph the passes left, so that they need not run again; kernels are chosen anew, for
        # the machine that unpickles, where a path may mean another file or none.
        return _restore, (_core.save_bytes(self.graph), asdict(replace(self.options, passes=False)))

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing to release: memory and threads go with the engine."""

    def __repr__(self) -> str:
        weights = sum(s.weights for s in self.steps)
        zeros = 1 - sum(s.nnz for s in self.steps) / weights if weights else 0.0
        families: dict[str, int] = {}
        for step in self.steps:
            families[step.family] = families.get(step.family, 0) + 1
        kernels = ", ".join(f"{n} {family}" for family, n in families.items())
        numba = " (numba)" if self.options.backend == "numba" else ""
        return (
            f"Engine({', '.join(map(str, self.inputs))} -> {', '.join(map(str, self.outputs))}; "
            f"{weights:,} weights, {zeros:.1%} zeros; {len(self.steps)} steps: {kernels}; "
            f"{self.isa}{numba}, {self.threads} thread{'s' * (self.threads > 1)}; "
            f"packed {_size_text(self.packed_bytes)}, dense {_size_text(self.dense_bytes)})"
        )


def _size_text(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _restore(snet: bytes, options: dict[str, Any]) -> Engine:
    return Engine(_core.load_bytes(snet), CompileOptions(**options))
