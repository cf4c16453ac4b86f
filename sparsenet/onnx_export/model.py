"""The whole model: nodes in order, inputs and outputs under their names, weights as initializers."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from sparsenet import _core
from sparsenet.errors import UnsupportedOpError
from sparsenet.onnx_export import layers, layout, windows  # noqa: F401 - they fill EMITTERS
from sparsenet.onnx_export.pointwise import activation
from sparsenet.onnx_export.writer import EMITTERS, Inexpressible, Writer

OPSET = 20  # the first with Gelu
IR_VERSION = 9  # goes with opset 20; a newer one would ask for a newer onnxruntime without need
MAX_BYTES = 2**31 - 1  # of a protobuf message


def to_model(graph: _core.Graph) -> onnx.ModelProto:
    """The graph as it stands (run the passes beforehand), in fp32, with a symbolic batch unless the graph fixes it.

    Raises:
        UnsupportedOpError: lists every node that ONNX has no form for.
        GraphError, ShapeError: the graph does not verify.
    """
    graph.verify()
    writer = Writer(graph)
    problems = []
    for node in graph.nodes:
        try:
            _emit(writer, node)
        except Inexpressible as error:
            problems.append(f"  {node.op} '{node.name}': {error}")
    if problems:
        raise UnsupportedOpError("\n".join(["ONNX has no form for:", *problems]))
    batch = graph.fixed_batch or "N"
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape[1:]]) for name, shape in side]
        for side in (graph.inputs, graph.outputs)
    )
    body = helper.make_graph(writer.nodes, "sparsenet", inputs, outputs, list(writer.constants.values()))
    model = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="sparsenet"
    )
    if model.ByteSize() > MAX_BYTES:
        raise UnsupportedOpError(f"the model has {model.ByteSize():,} bytes; a single ONNX file may have 2 GiB")
    return model


def _emit(writer: Writer, node: _core.Node) -> None:
    inputs = []
    for name in node.inputs:
        if name is not None and writer.graph.constant(name) is not None and not _rewrites_weight(writer, node, name):
            writer.weight(name)
        inputs.append(name or "")
    act = node.attrs.get("act", "none") if node.op != "Activation" else "none"
    own = node.output if act == "none" else writer.name(f"{node.output}.linear")
    EMITTERS[node.op](writer, node, inputs, own)
    if act != "none":
        activation(writer, node.attrs, own, node.output)


def _rewrites_weight(writer: Writer, node: _core.Node, name: str) -> bool:
    """Whether the emitter stores its own form of the constant: a slope's shape, a matrix the other way round."""
    if node.op == "PRelu":
        return True
    x = node.inputs[0]
    return node.op == "Linear" and name == node.inputs[1] and x is not None and len(writer.graph.shape(x)) != 2
