"""What must hold for a model before its nodes are looked at: version, a single file, tensors as long as they say."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from sparsenet.errors import FileFormatError
from sparsenet.frontends.onnx_ops.tensors import check_tensor

OPSETS = range(7, 29)  # those whose operators were read; 6 and older broadcast differently
MAX_NODES = 50_000


def check_model(model: onnx.ModelProto) -> int:
    """The opset of the default domain. Raises FileFormatError saying what is wrong and how to mend it."""
    if not model.HasField("graph"):
        raise FileFormatError("not an ONNX model: it has no graph")
    opsets: list[int] = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(opsets) != 1 or opsets[0] not in OPSETS:
        raise FileFormatError(
            f"the model must use one opset from {OPSETS[0]} to {OPSETS[-1]}; got {', '.join(map(str, opsets)) or 'no'}"
            ": onnx.version_converter.convert_version changes it"
        )
    graph = model.graph
    if len(graph.node) > MAX_NODES:
        raise FileFormatError(f"the model has {len(graph.node):,} nodes; at most {MAX_NODES:,} are read")
    for name in _names(graph):
        if not isinstance(name, str):  # protobuf gives what is no text as bytes
            raise FileFormatError(f"the name {name!r} is not UTF-8: the model is damaged, or its exporter is at fault")
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise FileFormatError(f"sparse initializer '{name}': store weights dense, zeros and all")
    for where, tensor in _tensors(graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise FileFormatError(
                f"{where} is stored outside of the model, in another file; only single files are read: "
                "onnx.save(onnx.load(path), path) joins them, torch.onnx.export(..., external_data=False) makes one"
            )
        check_tensor(where, tensor)
    return opsets[0]


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    for named in (*graph.input, *graph.output, *graph.initializer):
        yield named.name
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def _tensors(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    for tensor in graph.initializer:
        yield f"initializer '{tensor.name}'", tensor
    for node in graph.node:
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors) if attribute.HasField("t") else attribute.tensors:
                yield f"attribute '{attribute.name}' of {node.op_type} '{node.name}'", tensor
