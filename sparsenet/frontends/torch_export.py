"""Module -> ExportedProgram with a symbolic batch and no side effects, leaving the module untouched."""

from __future__ import annotations

import contextlib
import operator
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import fx
from torch.export import Dim, ExportedProgram, ShapesCollection, export
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from sparsenet.errors import GraphError, InvalidArgumentError, ShapeError
from sparsenet.frontends.aten.layout import NO_OPS
from sparsenet.frontends.aten.table import TABLE, key_of, writes_first, written


def export_module(module: torch.nn.Module, example_inputs: Any) -> tuple[ExportedProgram, str | None]:
    """The program, and why its batch is static if it is."""
    if isinstance(module, torch.jit.ScriptModule):
        raise InvalidArgumentError(
            "from_torch takes an nn.Module as written in Python; got a TorchScript module: pass the original"
        )
    module = getattr(module, "_orig_mod", module)  # torch.compile's wrapper
    args, kwargs = _arguments(example_inputs)
    _check_examples(args, kwargs)
    _check_weights(module)
    # torch specialises a program on batch size 1, so the example gets a second sample.
    two = pytree.tree_map(lambda t: torch.cat([t, t]) if t.shape[0] == 1 else t, (args, kwargs))
    with _eval_mode(module):
        try:
            shapes = ShapesCollection()  # type: ignore[no-untyped-call]
            for leaf in pytree.tree_leaves(two):
                shapes[leaf] = {0: Dim("batch", min=1)}
            return _export(module, two[0], two[1], shapes), None
        except Exception as dynamic:  # torch.export has no common base class for what it raises
            try:
                return _export(module, args, kwargs, None), _reason(dynamic)
            except Exception as static:
                raise GraphError(
                    f"torch.export cannot trace {type(module).__name__}: {_reason(static)}. Does "
                    "module(*example_inputs) run? Control flow on values must be rewritten without Python's if."
                ) from static


def _export(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: Any) -> ExportedProgram:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's own notes on its internals; nothing in them is for our caller
        return export(module, args, kwargs, dynamic_shapes=shapes, strict=False)


def functional(program: ExportedProgram) -> ExportedProgram:
    """The program without in-place operators and with composite ones taken apart.

    torch does that by tracing once more, which takes longer than the export. Most programs need neither: each operator
    is in our table, and each tensor that is written in place has no view that would have to change with it.
    """
    if _is_plain(program):
        return program
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        # An empty table: conv, batch_norm, hardswish and the like stay whole.
        program = program.run_decompositions({})
    return program


def _is_plain(program: ExportedProgram) -> bool:
    weights = {s.arg.name for s in program.graph_signature.input_specs if s.kind != InputKind.USER_INPUT}
    viewed: set[fx.Node] = set()  # tensors that share memory with another one
    for node in program.graph.nodes:
        if node.op != "call_function":
            if node.op == "get_attr":
                return False
            continue
        if not isinstance(node.meta.get("val"), (torch.Tensor, list, tuple)):
            continue
        if node.target is not operator.getitem and key_of(node.target) not in TABLE:
            return False
        if writes_first(node.target):
            tensor = written(node)
            if tensor in viewed or tensor.name in weights:
                return False
        elif _is_view(node):
            viewed.update([node, *(written(n) for n in node.all_input_nodes)])
    return True


def _is_view(node: fx.Node) -> bool:
    if not isinstance(node.target, torch._ops.OpOverload) or key_of(node.target) in NO_OPS:
        return True
    return any(result.alias_info is not None for result in node.target._schema.returns)


def _arguments(example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if example_inputs is None:
        raise InvalidArgumentError("from_torch needs example_inputs: a tensor, a tuple of tensors or a dict of tensors")
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    if isinstance(example_inputs, (tuple, list)):
        return tuple(example_inputs), {}
    return (example_inputs,), {}


def _check_examples(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    batches: dict[str, int] = {}
    for path, leaf in pytree.tree_flatten_with_path((args, kwargs))[0]:
        name = f"example input {pytree.keystr(path[1:])}"
        if not isinstance(leaf, torch.Tensor):
            hint = "; use torch.from_numpy" if type(leaf).__module__ == "numpy" else ""
            raise InvalidArgumentError(f"{name} must be a torch.Tensor; got {type(leaf).__name__}{hint}")
        if not leaf.is_floating_point():
            raise InvalidArgumentError(f"{name} must be floating point; got {leaf.dtype}")
        if leaf.dim() == 0 or leaf.numel() == 0:
            raise ShapeError(f"{name} must have a batch axis 0 and no empty axis; got shape {list(leaf.shape)}")
        batches[name] = leaf.shape[0]
    if not batches:
        raise InvalidArgumentError("from_torch needs at least one example tensor; got none")
    if len(set(batches.values())) > 1:
        sizes = ", ".join(f"{name}: {size}" for name, size in batches.items())
        raise ShapeError(f"axis 0 of every input is the batch and must be equal; got {sizes}")


def _check_weights(module: torch.nn.Module) -> None:
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if torch.nn.parameter.is_lazy(tensor):
            raise GraphError(f"parameter {name} is lazy: run the module once, so that its shape is known")
        if tensor.is_meta:
            raise GraphError(f"parameter {name} is on the meta device: load the weights first")


@contextlib.contextmanager
def _eval_mode(module: torch.nn.Module) -> Iterator[None]:
    # Beside `training`, forward hooks (of nn.utils.prune, say) set plain attributes: tracing would leave fakes there.
    saved = [(m, dict(m.__dict__), dict(m._parameters), dict(m._buffers)) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, attributes, parameters, buffers in saved:
            m.__dict__.clear()
            m.__dict__.update(attributes)
            m._parameters.clear()
            m._parameters.update(parameters)
            m._buffers.clear()
            m._buffers.update(buffers)


def _reason(error: Exception) -> str:
    """The telling lines of torch.export's long messages."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("Constraints violated")]
    return (telling or lines or [type(error).__name__])[0].rstrip(".")
