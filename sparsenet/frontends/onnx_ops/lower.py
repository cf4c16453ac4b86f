"""The walk over a model: constants are evaluated, every other node goes to its converter."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from sparsenet.errors import GraphError, ShapeError, UnsupportedOpError
from sparsenet.frontends.onnx_ops import (  # noqa: F401 - some only fill the table of ops
    fold,
    layers,
    layout,
    pointwise,
    reduce,
    resize,
    slices,
    windows,
)
from sparsenet.frontends.onnx_ops.call import Call
from sparsenet.frontends.onnx_ops.fold import FOLDS, Room
from sparsenet.frontends.onnx_ops.gelu import Gelus
from sparsenet.frontends.onnx_ops.pointwise import BROADCASTING
from sparsenet.frontends.onnx_ops.report import Report, label
from sparsenet.frontends.onnx_ops.table import TABLE, Unsupported
from sparsenet.frontends.onnx_ops.tensors import FLOATS, Constant, to_array, type_name
from sparsenet.frontends.onnx_ops.values import BATCH, UNKNOWN, Repeated
from sparsenet.graph import Graph


class Lowering:
    """One checked model on its way to a Graph. `rounded` names the weights that were not float32."""

    def __init__(
        self,
        model: onnx.ModelProto,
        opset: int,
        shapes: Mapping[str, Sequence[int | None]] | Sequence[Sequence[int | None]] | None = None,
    ) -> None:
        self.model = model.graph
        self.opset = opset
        self.graph = Graph()
        self.rounded: list[str] = []
        self.batch: Any = None  # BATCH, or a number in a static model
        # A value's name, an array, a Repeated, a list of results, or UNKNOWN.
        self.env: dict[str, Any] = {}
        self.room = Room(sum(int(np.prod(tensor.dims)) for tensor in self.model.initializer))
        self._shapes = self._by_name(shapes or {})
        self._report = Report()
        self._constants: dict[int, str] = {}  # id of an array that env keeps alive -> its name in the graph
        self._names: dict[int, str] = {}  # id of an array -> its name in the model
        self._reserved = {name for node in self.model.node for name in node.output}
        self._gelus = Gelus(self.model)
        self._infos = {info.name: info for info in self.model.value_info}

    def run(self) -> Graph:
        for tensor in self.model.initializer:
            self._define(tensor.name, self._initializer(tensor))
        for info in self.model.input:
            if info.name not in self.env:  # up to IR version 3 initializers are inputs as well
                self._define(info.name, self._input(info))
        if self._shapes:
            raise ShapeError(f"shapes are given for {', '.join(self._shapes)}, which the model has no inputs of")
        if self.batch is None:
            raise ShapeError("the model has no inputs but its weights")
        for node in self.model.node:
            results = self._visit(node)
            for name, result in zip(node.output, results, strict=True):
                if name:
                    self._define(name, result)
        self._report.raise_if_any()
        outputs: list[str] = []
        for info in self.model.output:
            outputs.append(self._output(info.name, outputs))
        self.graph.set_outputs(outputs)
        if self.batch is not BATCH:
            self.graph.fixed_batch = self.batch
        self.graph.compact()
        self.graph.verify()
        return self.graph

    def _define(self, name: str, known: Any) -> None:
        if name in self.env:
            raise GraphError(f"'{name}' is written twice in the model")
        self.env[name] = known
        if isinstance(known, np.ndarray):
            self._names.setdefault(id(known), name)

    # ---- inputs and outputs

    def _by_name(
        self, shapes: Mapping[str, Sequence[int | None]] | Sequence[Sequence[int | None]]
    ) -> dict[str, Sequence[int | None]]:
        if isinstance(shapes, Mapping):
            return dict(shapes)
        weights = {tensor.name for tensor in self.model.initializer}
        names = [info.name for info in self.model.input if info.name not in weights]
        if len(names) != len(shapes):
            raise ShapeError(f"the model has {len(names)} inputs ({', '.join(names)}); got {len(shapes)} shapes")
        return dict(zip(names, shapes, strict=True))

    def _initializer(self, tensor: onnx.TensorProto) -> Any:
        try:
            return to_array(tensor)
        except Unsupported as error:
            return error  # raised again by the first node that reads it

    def _input(self, info: onnx.ValueInfoProto) -> str:
        kind = info.type.tensor_type
        if not info.type.HasField("tensor_type") or kind.elem_type not in FLOATS:
            raise ShapeError(f"input '{info.name}' must be a floating-point tensor; got {type_name(kind.elem_type)}")
        sizes: list[int | None] = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
        if not kind.HasField("shape"):
            raise ShapeError(f"input '{info.name}' has no shape, not even a number of axes")
        given = self._shapes.pop(info.name, sizes)
        pairs = list(zip(sizes[1:], given[1:], strict=False))
        if len(given) != len(sizes) or any(d != g for d, g in pairs if d is not None and g is not None):
            raise ShapeError(f"input '{info.name}' has shape {sizes}; got the shape {list(given)}")
        sizes[1:] = [g if d is None else d for d, g in pairs]
        if not sizes:
            raise ShapeError(f"input '{info.name}' must have a batch axis 0; got a scalar")
        open_axes = [axis for axis, size in enumerate(sizes) if size is None and axis > 0]
        if open_axes:
            raise ShapeError(
                f"input '{info.name}': axis {open_axes[0]} is symbolic; only axis 0, the batch, may be: say the others "
                f"with shapes={{'{info.name}': (None, ...)}}"
            )
        batch = BATCH if sizes[0] is None else sizes[0]
        self.batch = batch if self.batch is None else self.batch
        if batch != self.batch:
            raise ShapeError(f"input '{info.name}': axis 0 must be the batch ({self.batch}), as elsewhere; got {batch}")
        return self.graph.add_input(info.name, (None, *sizes[1:]))

    def _output(self, name: str, taken: Sequence[str]) -> str:
        if name not in self.env:
            raise GraphError(f"output '{name}' is written by no node")
        known = self.env[name]
        if isinstance(known, Unsupported):
            raise UnsupportedOpError(f"output '{name}' {known}")
        if not isinstance(known, str):
            raise GraphError(f"output '{name}' does not depend on the inputs: leave it out")
        if known == name and known not in taken and known not in [n for n, _ in self.graph.inputs]:
            return name
        return self.graph.add_node("Identity", [known], {}, self.graph.unique_name(name))

    # ---- nodes

    def _visit(self, node: onnx.NodeProto) -> list[Any]:
        for name in node.input:
            if name and name not in self.env:
                raise GraphError(f"{node.op_type} '{label(node)}' reads '{name}', which nothing before it writes")
        if not node.output:
            raise GraphError(f"{node.op_type} '{label(node)}' has no output")
        if node.output[0] in self._gelus.inside:
            return [UNKNOWN] * len(node.output)
        known = [self.env[name] for name in node.input if name]
        try:
            if node.output[0] in self._gelus.inputs and isinstance(self.env[self._gelus.inputs[node.output[0]]], str):
                x = self.env[self._gelus.inputs[node.output[0]]]
                return [self.graph.add_node("Activation", [x], {"act": "gelu"}, node.output[0])]
            if node.domain not in ("", "ai.onnx") or (node.op_type not in TABLE and node.op_type not in FOLDS):
                raise Unsupported("no such operator in sparsenet")
            for value in known:
                if isinstance(value, Unsupported):
                    raise value
            if any(value is UNKNOWN for value in known):
                return self._stand_ins(node)
            result = self._convert(node, known)
            results = list(result) if isinstance(result, list) else [result]
            # A mask or indices: named by some exporters, and refused only where a node reads them.
            extra = Unsupported(f"reads an output of {node.op_type} '{label(node)}' that is not computed")
            return results + [extra] * (len(node.output) - len(results))
        except Unsupported as error:
            self._report.add(node, str(error))
        except ShapeError as error:
            self._report.add(node, str(error))
        except (ArithmeticError, LookupError, TypeError, ValueError, StopIteration) as error:
            # Converters check what valid models get wrong; what only a broken one does, Python notices.
            self._report.add(node, f"is malformed: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
        return self._stand_ins(node)

    def _convert(self, node: onnx.NodeProto, known: Sequence[Any]) -> Any:
        constant = all(isinstance(value, np.ndarray) for value in known)
        if constant and node.op_type in FOLDS:
            row = FOLDS[node.op_type]
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # what is not finite is found when it becomes a weight
                return row.convert(Call(self, node, row))
        if node.op_type in BROADCASTING and all(isinstance(value, (np.ndarray, Repeated)) for value in known):
            return self._repeat(node)
        if node.op_type not in TABLE:
            raise Unsupported("its inputs must be constants")
        return TABLE[node.op_type].convert(Call(self, node, TABLE[node.op_type]))

    def _repeat(self, node: onnx.NodeProto) -> Repeated:
        """Arithmetic on constants, some of them alike for all samples."""
        call = Call(self, node, FOLDS[node.op_type])
        call.inputs = [known.sample if isinstance(known, Repeated) else known for known in call.inputs]
        with np.errstate(all="ignore"):
            return Repeated(FOLDS[node.op_type].convert(call))

    def _stand_ins(self, node: onnx.NodeProto) -> list[Any]:
        """Something of the shape that the model tells, so that what follows a failed node is checked as well."""
        results: list[Any] = []
        for name in node.output:
            info = self._infos.get(name)
            try:
                if info is None or info.type.tensor_type.elem_type not in FLOATS:
                    raise ShapeError
                inner = [dim.dim_value for dim in info.type.tensor_type.shape.dim][1:]
                results.append(self.graph.add_input(self.free_name(f"{name}.missing"), (None, *inner)))
            except ShapeError:
                results.append(UNKNOWN)
        return results

    # ---- names and constants

    def free_name(self, wish: str) -> str:
        """``wish``, or something like it, that neither the graph nor the model uses."""
        name, i = self.graph.unique_name(wish), 0
        while name in self._reserved or name in self.env:
            i += 1
            name = self.graph.unique_name(f"{wish}_{i}")
        return name

    def add_constant(self, array: Constant, wish: str) -> str:
        """The name of an array in the graph: the model's own if it comes from there, else `wish`."""
        if id(array) in self._constants:
            return self._constants[id(array)]
        own = self._names.get(id(array))
        name = self.graph.unique_name(own) if own is not None else self.free_name(wish)
        if array.dtype.kind != "f":
            # Integers and booleans take part in float arithmetic only by mistake, the batch size not at all.
            raise Unsupported(f"computes with the {'batch size' if array.dtype == object else array.dtype} '{name}'")
        if array.dtype != np.float32:
            self.rounded.append(name)
        with np.errstate(all="ignore"):
            # Adding zero copies, and turns -0.0, which a .snet file would have to store, to 0.0.
            values = np.add(array.astype(np.float32, copy=False), np.float32(0), dtype=np.float32, order="C")
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            raise GraphError(f"weight '{name}' has {bad} values that are not finite in float32 (NaN or infinity)")
        self.graph.add_constant(name, values)
        if own is not None:
            self._constants[id(array)] = name
        return name
