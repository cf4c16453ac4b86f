"""What the tests of ONNX share: running a model in onnxruntime, small models, and what the engine makes of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import sparsenet as sn
from sparsenet import reference

ort.set_default_logger_severity(3)  # its notes on what it optimises go to stderr otherwise


def run_ort(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs in order."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def run_ours(graph: sn.Graph, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    y = sn.compile(graph, tune=False)(dict(feeds))
    return list(y) if isinstance(y, tuple) else [y]


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[Any]],
    outputs: Sequence[str],
    constants: Mapping[str, np.ndarray] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model whose inputs and outputs are float32; a string in a shape is a symbolic size."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    for info in graph.output:
        info.type.tensor_type.elem_type = TensorProto.FLOAT
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


_APPROXIMATED = {"sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "hard_swish", "exp"}


def assert_ort_close(
    got: Sequence[np.ndarray], graph: sn.Graph, feeds: Mapping[str, np.ndarray], statistical: bool = False
) -> None:
    """onnxruntime against the fp64 reference: what is tested is the graph's meaning, so it gets twice the bound of our
    own kernels, which it has been seen to miss by 7 %. Its sigmoid and the like are polynomials, good to some
    1e-7 absolute where the bound is relative, and SiLU multiplies that by an input of up to 50: such graphs get 1e-5 of
    slack."""
    loose = any(node.attrs.get("act") in _APPROXIMATED for node in graph.nodes)
    truth, limits = reference.run(graph, feeds), reference.bound(graph, feeds, statistical=statistical)
    for (name, _), y in zip(graph.outputs, got, strict=True):
        limit = 2 * limits[name] + (1e-5 * (1 + np.abs(truth[name])) if loose else 0)
        ratio = reference.worst(y, truth[name], limit)
        assert ratio <= 1, f"{name}: {ratio:.3g} times the bound"


def agree(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], statistical: bool = False) -> sn.Graph:
    """Imports the model; it and onnxruntime must agree with the fp64 reference of what was imported."""
    graph = sn.from_onnx(model)
    assert_ort_close(run_ort(model, feeds), graph, feeds, statistical)
    reference.assert_close(run_ours(graph, feeds), graph, feeds, statistical=statistical)
    return graph
