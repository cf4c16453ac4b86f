"""from_onnx on models whose attributes, constants, sizes and inputs were changed at random: imported or refused."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, numpy_helper
from test_onnx_import import IMAGE, SPELLINGS, model_of
from test_onnx_nodes import CASES, _prepared

import sparsenet as sn

MODELS = [_prepared(case)[0] for case in CASES.values()]
MODELS += [model_of(nodes, IMAGE, ["y"], constants, opset) for opset, nodes, constants, _ in SPELLINGS.values()]
INTS = st.sampled_from([0, -1, 1, 2, 3, 7, -7, 100, 2**31, 2**40, -(2**40), 2**63 - 1, -(2**63)])
FLOATS = st.sampled_from([0.0, -1.0, 2.5, 1e30, 1e-45, float("nan"), float("inf"), float("-inf")])


def change_attribute(draw: Any, node: onnx.NodeProto) -> None:
    attribute = draw(st.sampled_from(list(node.attribute)))
    if attribute.type == AttributeProto.INT:
        attribute.i = draw(INTS)
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = draw(FLOATS)
    elif attribute.type == AttributeProto.STRING:
        attribute.s = draw(st.sampled_from([b"", b"\xff", b"linear", b"edge", b"SAME_UPPER"]))
    elif attribute.type == AttributeProto.INTS:
        values = [*attribute.ints, 0]
        values[draw(st.integers(0, len(values) - 1))] = draw(INTS)
        del attribute.ints[:]
        attribute.ints.extend(values[: draw(st.integers(0, len(values)))])


def change_constant(draw: Any, tensor: onnx.TensorProto) -> None:
    array = numpy_helper.to_array(tensor).copy()
    kind = draw(st.sampled_from(["value", "flat", "axis", "one", "empty", "double"]))
    if kind == "value" and array.size and array.dtype.kind in "if":
        at = draw(st.integers(0, array.size - 1))
        limits = np.iinfo(array.dtype) if array.dtype.kind == "i" else None
        value = draw(INTS) if limits else draw(FLOATS)
        array.reshape(-1)[at] = np.clip(value, limits.min, limits.max) if limits else value
    flat = array.reshape(-1)
    others = {"flat": flat, "axis": array[None], "one": flat[:1], "empty": flat[:0], "double": np.tile(flat, 2)}
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(others.get(kind, array)), tensor.name))


def change(draw: Any, graph: onnx.GraphProto) -> None:
    node = draw(st.sampled_from(list(graph.node)))
    what = draw(st.sampled_from(["attribute", "constant", "size", "input", "fewer"]))
    if what == "attribute" and node.attribute:
        change_attribute(draw, node)
    elif what == "constant" and graph.initializer:
        change_constant(draw, draw(st.sampled_from(list(graph.initializer))))
    elif what == "size" and graph.input and graph.input[0].type.tensor_type.shape.dim:
        dims = graph.input[0].type.tensor_type.shape.dim
        dims[draw(st.integers(0, len(dims) - 1))].dim_value = draw(INTS)
    elif node.input:
        at = draw(st.integers(0, len(node.input) - 1))
        if what == "fewer":
            del node.input[at:]
        elif what == "input":
            known = [info.name for info in graph.input] + [tensor.name for tensor in graph.initializer]
            node.input[at] = draw(st.sampled_from(["", *known]))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_imported_or_refused(data: st.DataObject) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(data.draw(st.sampled_from(MODELS)))
    for _ in range(data.draw(st.integers(1, 3))):
        change(data.draw, model.graph)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[0-9]+ weights were converted to float32")
        try:
            graph = sn.from_onnx(model)
        except sn.errors.SparsenetError:
            return
    graph.verify()
