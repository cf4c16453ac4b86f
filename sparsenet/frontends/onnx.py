"""from_onnx(): an ONNX model becomes a Graph."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence

import onnx

from sparsenet.errors import InvalidArgumentError
from sparsenet.frontends.onnx_ops.check import check_model
from sparsenet.frontends.onnx_ops.file import read_model
from sparsenet.frontends.onnx_ops.lower import Lowering
from sparsenet.graph import Graph

__all__ = ["from_onnx"]


def from_onnx(
    model: str | os.PathLike[str] | onnx.ModelProto,
    shapes: Mapping[str, Sequence[int | None]] | Sequence[Sequence[int | None]] | None = None,
) -> Graph:
    """Import an ONNX model (opset 7 to 28) with floating-point inputs and constant weights, which keep their zeros.

    The file is not trusted: everything it says is checked before use, no other file is opened, nothing in it is run.

    Args:
        model: a path, or a ModelProto. Weights must be in the model itself, not in files beside it.
        shapes: for inputs whose height or width the model leaves open: shapes by input name, or of all inputs
            in order. Axis 0, the batch, stays as the model has it.

    Returns:
        The graph. Axis 0 of every input is the batch. Where the model gives it as a number, `graph.fixed_batch` is
        that number; as samples stay apart in every graph, setting `graph.fixed_batch = 0` then allows any batch, unless
        the model only looks as if axis 0 were a batch. Inputs, outputs, values and weights keep their ONNX names.

    Raises:
        UnsupportedOpError: lists every node that sparsenet cannot take, with its operator and the reason.
        FileFormatError: not an ONNX model, a damaged one, one of another version, or one with external data.
        GraphError, ShapeError: the model breaks ONNX's own rules, an input has no batch axis or a symbolic size on
            another axis, or a weight is not finite.
        SparsenetIOError: the file cannot be read.

    Example:
        >>> graph = from_onnx("model.onnx")  # doctest: +SKIP
    """
    if isinstance(model, (str, os.PathLike)):
        model = read_model(model)
    elif not isinstance(model, onnx.ModelProto):
        raise InvalidArgumentError(f"from_onnx takes a path or an onnx.ModelProto; got {type(model).__name__}")
    lowering = Lowering(model, check_model(model), shapes)
    graph = lowering.run()
    if lowering.rounded:
        names = lowering.rounded
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        warnings.warn(f"{len(names)} weights were converted to float32: {shown}", stacklevel=2)
    return graph
