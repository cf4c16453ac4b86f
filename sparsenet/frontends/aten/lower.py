"""The walk over an exported program: constants are evaluated, every other node goes to its converter."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from sparsenet.errors import GraphError, ShapeError
from sparsenet.frontends.aten import layers, layout, pointwise, pool  # noqa: F401 - they fill TABLE
from sparsenet.frontends.aten.call import Call, Repeated
from sparsenet.frontends.aten.layout import BROADCASTING, NO_OPS
from sparsenet.frontends.aten.report import Report, node_path
from sparsenet.frontends.aten.table import TABLE, Unsupported, key_of, writes_first, written
from sparsenet.graph import Graph

_UNKNOWN = object()  # the result of something that was reported already


class Lowering:
    """One program on its way to a Graph. `rounded` names the weights that were not float32."""

    def __init__(self, program: ExportedProgram) -> None:
        self.program = program
        self.graph = Graph()
        self.rounded: list[str] = []
        self.batch: Any = None  # SymPy symbol, or a number in a static program
        self.env: dict[fx.Node, Any] = {}
        self._report = Report()
        self._full_names: dict[fx.Node, str] = {}  # parameters and buffers
        self._constants: dict[fx.Node, str] = {}  # those already in the graph
        self._aliases: dict[fx.Node, list[fx.Node]] = {}  # a node, and those that write to its tensor in place
        self.wishes: dict[fx.Node, str] = {}  # names that the program's outputs ask for

    def run(self) -> Graph:
        nodes = list(self.program.graph.nodes)
        outputs = self._outputs(nodes[-1])
        self._inputs([node for node in nodes if node.op == "placeholder"])
        for node in nodes:
            if node.op == "call_function":
                tensor = written(node)
                aliases = self._aliases.setdefault(tensor, [tensor])
                if node is not tensor:
                    aliases.append(node)
                self.env.update(dict.fromkeys(aliases, self._visit(node)))
            elif node.op == "get_attr":
                self.env[node] = _UNKNOWN  # the branch of a torch.cond or the like, which is reported itself
        self._report.raise_if_any()
        names: list[str] = []
        for node, key in outputs:
            names.append(self._output(node, key, names))
        self.graph.set_outputs(names)
        if isinstance(self.batch, int):
            self.graph.fixed_batch = self.batch
        self.graph.compact()
        self.graph.verify()
        return self.graph

    # ---- inputs and outputs

    def _inputs(self, placeholders: Sequence[fx.Node]) -> None:
        tensors = {**self.program.state_dict, **self.program.constants}
        for node, spec in zip(placeholders, self.program.graph_signature.input_specs, strict=True):
            if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
                assert spec.target is not None
                self.env[node] = tensors[spec.target]
                self._full_names[node] = spec.target
            elif spec.kind == InputKind.USER_INPUT and isinstance(spec.arg, TensorArgument):
                self.env[node] = self._input(node)
            else:
                self.env[node] = _UNKNOWN  # a Python value that the program was specialised on, or a token
        if self.batch is None:
            raise ShapeError("the program has no tensor among its inputs")

    def _input(self, node: fx.Node) -> str:
        value = node.meta["val"]
        if not value.is_floating_point():
            raise ShapeError(f"input '{node.name}' must be floating point; got {value.dtype}")
        if value.dim() == 0:
            raise ShapeError(f"input '{node.name}' must have a batch axis 0; got a scalar")
        batch = value.shape[0] if isinstance(value.shape[0], int) else value.shape[0].node.expr
        if not isinstance(batch, int) and not batch.is_symbol:
            raise ShapeError(f"input '{node.name}': axis 0 must be any batch size; the program restricts it to {batch}")
        if self.batch is None:
            self.batch = batch
        if batch != self.batch:
            raise ShapeError(f"input '{node.name}': axis 0 must be the batch ({self.batch}), as elsewhere; got {batch}")
        for axis, size in enumerate(value.shape[1:], start=1):
            if not isinstance(size, int):
                raise ShapeError(f"input '{node.name}': axis {axis} is symbolic; only axis 0, the batch, may be")
        return self.graph.add_input(self.graph.unique_name(node.name), (None, *value.shape[1:]))

    def _outputs(self, output: fx.Node) -> list[tuple[fx.Node, str]]:
        """The node and wished name ("" for none) of each user output."""
        signature = self.program.graph_signature
        for spec in signature.output_specs:
            if spec.kind == OutputKind.BUFFER_MUTATION:
                raise GraphError(
                    f"forward writes to the buffer '{spec.target}': a graph keeps no state between calls. "
                    "Export the module in eval mode."
                )
        results: Any = output.args[0]
        specs = signature.output_specs
        nodes = [node for node, spec in zip(results, specs, strict=True) if spec.kind == OutputKind.USER_OUTPUT]
        tree = pytree.tree_unflatten(nodes, self.program.call_spec.out_spec)
        found: list[tuple[fx.Node, str]] = []
        for path, node in pytree.tree_flatten_with_path(tree)[0]:
            if node is None:
                continue
            if not isinstance(node, fx.Node):
                raise GraphError(f"output {pytree.keystr(path)} is the constant {node!r}: leave it out")
            key = ".".join(str(getattr(step, "key", getattr(step, "idx", step))) for step in path)
            key = key if any(isinstance(step, pytree.MappingKey) for step in path) else ""
            found.append((node, key))
            if key:
                origin = node
                while origin.target is operator.getitem or key_of(origin.target) in NO_OPS:
                    origin = origin.args[0]  # type: ignore[assignment]
                self.wishes.setdefault(origin, key)
        return found

    def _output(self, node: fx.Node, key: str, taken: list[str]) -> str:
        name = self.env[node]
        if not isinstance(name, str):
            raise GraphError(f"output '{key or node.name}' does not depend on the inputs: leave it out")
        if name in taken or name in [n for n, _ in self.graph.inputs] or (key and name != key):
            return self.graph.add_node("Identity", [name], {}, self.graph.unique_name(key or f"{name}.output"))
        return name

    # ---- nodes

    def _visit(self, node: fx.Node) -> Any:
        arguments = [self.env[n] for n in node.all_input_nodes]
        if node.target is operator.getitem:
            results, index = arguments[0], cast(int, node.args[1])
            return results[index] if isinstance(results, (list, tuple)) else self._stand_in(node)
        value = node.meta.get("val")
        if not isinstance(value, (torch.Tensor, list, tuple)):
            return None  # assertions, and arithmetic on sizes
        try:
            if _is_random(node):
                raise Unsupported("random; export the module in eval mode")
            if all(isinstance(a, torch.Tensor) for a in arguments) and not _has_symbols(value):
                return self._evaluate(node)
            if all(isinstance(a, (torch.Tensor, Repeated)) for a in arguments) and key_of(node.target) in BROADCASTING:
                return Repeated(self._evaluate(node))
            convert = TABLE.get(key_of(node.target))
            if convert is None:
                raise Unsupported("no such operator in sparsenet")
            if any(a is _UNKNOWN for a in arguments):
                return self._stand_in(node)
            result = convert(Call(self, node))
            self._check(node, result)
            return result
        except Unsupported as error:
            self._report.add(node, str(error))
        except ShapeError as error:
            self._report.add(node, str(error).removeprefix(f"node '{node_path(node)}' "))
        return self._stand_in(node)

    def _evaluate(self, node: fx.Node) -> Any:
        mutable = writes_first(node.target)

        def value(argument: Any) -> Any:
            known = self.env[argument] if isinstance(argument, fx.Node) else argument
            known = known.sample if isinstance(known, Repeated) else known
            return known.clone() if mutable and isinstance(known, torch.Tensor) else known

        with torch.no_grad():
            return node.target(*pytree.tree_map(value, node.args), **pytree.tree_map(value, node.kwargs))  # type: ignore[operator]

    def _stand_in(self, node: fx.Node) -> Any:
        """Something of the right shape, so that what follows a failed node is checked as well."""

        def stand_in(value: Any) -> Any:
            if not isinstance(value, torch.Tensor) or not value.is_floating_point():
                return _UNKNOWN
            try:
                shape = self.shape_of(value)
            except Unsupported:
                return _UNKNOWN
            if 0 in shape:
                return _UNKNOWN
            return self.graph.add_input(self.graph.unique_name(f"{node.name}.missing"), shape)

        value = node.meta.get("val")
        return [stand_in(v) for v in value] if isinstance(value, (list, tuple)) else stand_in(value)

    def _check(self, node: fx.Node, result: Any) -> None:
        if isinstance(result, str) and str(node.target) != "aten.expand.default":  # that one may be left to its readers
            expected, got = self.shape_of(node.meta["val"]), self.graph.shape(result)
            if tuple(expected) != got:
                raise GraphError(f"node '{node_path(node)}': torch infers shape {expected}, sparsenet {got}")

    def shape_of(self, value: torch.Tensor) -> list[int | None]:
        """A traced tensor's shape with None for the batch; Unsupported if axis 0 is not the batch."""
        shape = list(value.shape)
        axis0 = None if not shape else shape[0] if isinstance(shape[0], int) else shape[0].node.expr
        if axis0 is None or axis0 != self.batch:
            raise Unsupported(f"axis 0 of its result, {shape}, is not the batch: samples must stay apart")
        if any(not isinstance(size, int) for size in shape[1:]):
            raise Unsupported(f"the batch size turns up on another axis than 0: {shape}")
        return [None, *shape[1:]]

    # ---- constants

    def add_constant(self, source: fx.Node | torch.Tensor, tensor: torch.Tensor, wish: str) -> str:
        """The name of a constant in the graph: the parameter's own if it is one, else `wish`."""
        if isinstance(source, fx.Node) and source in self._constants:
            return self._constants[source]
        is_parameter = isinstance(source, fx.Node) and source in self._full_names
        name = self.graph.unique_name(self._full_names[source] if is_parameter else wish)  # type: ignore[index]
        if tensor.is_complex() or tensor.is_quantized:
            raise Unsupported(f"'{name}' is {tensor.dtype}; only real floating-point weights are")
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            self.rounded.append(name)
        tensor = tensor.detach().to("cpu")
        tensor = tensor.to_dense() if tensor.layout != torch.strided else tensor
        # A copy: the graph must not change when the module is trained further.
        array = tensor.to(torch.float32, copy=True).contiguous()
        if not bool(torch.isfinite(array).all()):
            bad = int((~torch.isfinite(array)).sum())
            raise GraphError(f"weight '{name}' has {bad} values that are not finite in float32 (NaN or infinity)")
        # A mask times a negative weight is -0.0, which a .snet file, true to the bit, would have to store.
        self.graph.add_constant(name, array.add_(0.0).numpy())
        if is_parameter:
            self._constants[source] = name  # type: ignore[index]
        return name


def _is_random(node: fx.Node) -> bool:
    tags = getattr(node.target, "tags", ())
    # Dropout carries the tag even in eval mode, where it does nothing.
    return torch.Tag.nondeterministic_seeded in tags and key_of(node.target) not in NO_OPS


def _has_symbols(value: Any) -> bool:
    tensors = value if isinstance(value, (list, tuple)) else [value]
    return any(not isinstance(n, int) for t in tensors if isinstance(t, torch.Tensor) for n in t.shape)

