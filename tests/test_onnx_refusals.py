"""from_onnx on files that are wrong or hostile: one clear error of our own, no other file opened, no memory wasted."""

from __future__ import annotations

import os
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_checks import model_of
from strategies import normal

import sparsenet as sn
from sparsenet.errors import (
    FileFormatError,
    GraphError,
    ShapeError,
    SparsenetError,
    SparsenetIOError,
    UnsupportedOpError,
)

node = helper.make_node


def conv_model() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    nodes = [node("Conv", ["x", "w"], ["c"], pads=[1] * 4, name="conv"), node("Relu", ["c"], ["y"], name="relu")]
    return model_of(nodes, {"x": ["N", 3, 5, 5]}, ["y"], {"w": normal(rng, 4, 3, 3, 3)})


def test_all_unsupported_nodes_are_told_at_once() -> None:
    nodes = [
        node("LSTM", ["x", "w", "w"], ["a"], name="first"),
        node("Frobnicate", ["x"], ["b"], name="second", domain="com.example"),
        node("Relu", ["b"], ["r"]),
        node("ArgMax", ["r"], ["i"], name="third"),
        node("Conv", ["x", "w"], ["y"], name="fourth", secret=[1]),
    ]
    model = model_of(nodes, {"x": ["N", 3, 5, 5]}, ["y"], {"w": normal(np.random.default_rng(0), 4, 3, 3, 3)})
    with pytest.raises(UnsupportedOpError) as error:
        sn.from_onnx(model)
    told = str(error.value)
    assert told.startswith("4 nodes")
    parts = ["LSTM x1", "'first'", "com.example.Frobnicate x1", "'second'", "ArgMax", "attribute 'secret'", "'fourth'"]
    for part in parts:
        assert part in told


def test_nodes_after_a_failed_one_are_checked_by_the_told_shape() -> None:
    nodes = [node("Elu", ["x"], ["e"], name="first"), node("Transpose", ["e"], ["y"], perm=[1, 0], name="second")]
    model = model_of(nodes, {"x": ["N", 3]}, ["y"])
    model.graph.value_info.append(helper.make_tensor_value_info("e", TensorProto.FLOAT, ["N", 3]))
    with pytest.raises(UnsupportedOpError, match=r"(?s)Elu.*'first'.*moves the batch.*'second'"):
        sn.from_onnx(model)


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/passwd", "/dev/zero"])
def test_external_data_is_refused_and_not_opened(tmp_path: Path, location: str) -> None:
    model = conv_model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FileFormatError, match="another file"):
        sn.from_onnx(tmp_path / "m.onnx")


def test_external_data_of_an_attribute_is_refused() -> None:
    model = conv_model()
    value = TensorProto(data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    model.graph.node.append(node("Constant", [], ["k"], value=value))
    with pytest.raises(FileFormatError, match="another file"):
        sn.from_onnx(model)


def test_files_that_are_none(tmp_path: Path) -> None:
    for name, content in {"empty": b"", "text": b"hello" * 99, "zeros": bytes(99)}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileFormatError):
            sn.from_onnx(tmp_path / name)
    for name in ("absent", "."):
        with pytest.raises(SparsenetError, match=r"cannot be read|not a regular"):
            sn.from_onnx(tmp_path / name)
    with pytest.raises(SparsenetIOError):
        sn.from_onnx(tmp_path / "absent")
    with pytest.raises(sn.errors.InvalidArgumentError, match="list"):
        sn.from_onnx([1])  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_devices_and_pipes_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused = []

    def read(path: Path) -> None:
        try:
            sn.from_onnx(path)
        except FileFormatError:
            refused.append(path)

    for path in (tmp_path / "pipe", Path("/dev/zero")):
        thread = threading.Thread(target=read, args=[path], daemon=True)
        thread.start()
        thread.join(20)
        assert path in refused, f"{path} blocks"


LIES = {
    "more dims than data": ({"dims": [4, 3, 3, 2**40]}, "need"),
    "dims that overflow": ({"dims": [2**33, 2**33, 1, 1]}, "need"),
    "fewer dims than data": ({"dims": [4, 3, 3, 2]}, "need"),
    "negative dims": ({"dims": [-4, -3, 3, 3]}, "sizes >= 0"),
    "many axes": ({"dims": [1] * 255}, "at most 8"),
    "another type": ({"data_type": TensorProto.DOUBLE}, "need"),
    "in segments": ({"segment": TensorProto.Segment(begin=0, end=1)}, "segments"),
}


@pytest.mark.parametrize("name", LIES)
def test_tensors_that_lie(name: str) -> None:
    fields, told = LIES[name]
    model = conv_model()
    tensor = model.graph.initializer[0]
    if "dims" in fields:
        del tensor.dims[:]
    tensor.MergeFrom(TensorProto(**fields))
    with pytest.raises(FileFormatError, match=f"(?s)'w'.*{told}"):
        sn.from_onnx(model)


def bombs() -> dict[str, onnx.ModelProto]:
    """A few nodes that ask for terabytes."""
    big = np.array([2**20, 2**20], np.int64)
    x = {"x": ["N", 3]}

    def model(nodes: list[onnx.NodeProto], **constants: np.ndarray) -> onnx.ModelProto:
        return model_of([*nodes, node("Add", ["x", "k"], ["y"])], x, ["y"], {"big": big, **constants})

    one, doubled = np.ones(1, np.float32), [node("Concat", ["k0", "k0"], ["k1"], axis=0)]
    doubled += [node("Concat", [f"k{i}", f"k{i}"], [f"k{i + 1}"], axis=0) for i in range(1, 40)]
    column = np.ones((2**13, 1), np.float32)
    return {
        "ConstantOfShape": model([node("ConstantOfShape", ["big"], ["k"])]),
        "Expand": model([node("Expand", ["k0", "big"], ["k"])], k0=one),
        "Range": model([node("Range", ["zero", "end", "step"], ["k"])], zero=np.float32(0), end=np.float32(1e12),
                       step=np.float32(1)),
        "Concat": model([*doubled, node("Identity", ["k40"], ["k"])], k0=one),
        "Add": model([node("Transpose", ["c"], ["r"]), node("Add", ["c", "r"], ["k"])], c=column),
        "Gather": model([node("Gather", ["k0", "zeros"], ["k"])], k0=np.ones((1, 8192), np.float32),
                        zeros=np.zeros(8192, np.int64)),
    }  # fmt: skip


@pytest.mark.parametrize("name", bombs())
def test_constants_do_not_explode(name: str) -> None:
    model = bombs()[name]
    tracemalloc.start()
    try:
        with pytest.raises(UnsupportedOpError, match="out of proportion"):
            sn.from_onnx(model)
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()


def test_broken_graphs() -> None:
    cases = {
        "reads 'nowhere'": [node("Relu", ["nowhere"], ["y"])],
        "already a value named 'y'": [node("Relu", ["x"], ["y"]), node("Relu", ["x"], ["y"])],
        "reads 'y'": [node("Add", ["x", "y"], ["a"]), node("Relu", ["a"], ["y"])],
        "written by no node": [node("Relu", ["x"], ["z"])],
        "has no output": [node("Relu", ["x"], [])],
    }
    for told, nodes in cases.items():
        with pytest.raises(GraphError, match=told):
            sn.from_onnx(model_of(nodes, {"x": ["N", 3]}, ["y"]))


def test_inputs_and_versions() -> None:
    relu = [node("Relu", ["x"], ["y"])]
    for shape in ([], ["N", "M"], ["N", 0]):
        with pytest.raises(ShapeError):
            sn.from_onnx(model_of(relu, {"x": shape}, ["y"]))
    with pytest.raises(ShapeError, match="axis 0 must be the batch"):
        sn.from_onnx(model_of([node("Add", ["x", "z"], ["y"])], {"x": ["N", 3], "z": [1, 3]}, ["y"]))
    for opset in (6, 29):
        with pytest.raises(FileFormatError, match="opset"):
            sn.from_onnx(model_of(relu, {"x": ["N", 3]}, ["y"], opset=opset))
    integers = model_of(relu, {"x": ["N", 3]}, ["y"])
    integers.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(ShapeError, match="floating-point tensor; got INT64"):
        sn.from_onnx(integers)
    constant = model_of([node("Relu", ["k"], ["y"])], {"x": ["N", 3]}, ["y"], {"k": np.ones(3, np.float32)})
    with pytest.raises(SparsenetError):
        sn.from_onnx(constant)


def test_weights_that_are_not_finite() -> None:
    model = conv_model()
    w = numpy_helper.to_array(model.graph.initializer[0]).copy()
    w[0, 0, 0, 0] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(w, "w"))
    with pytest.raises(GraphError, match="'w' has 1 values that are not finite"):
        sn.from_onnx(model)


def test_many_nodes_take_time_in_proportion() -> None:
    count = 4000
    nodes = [node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(count)]
    model = model_of(nodes, {"v0": ["N", 3]}, [f"v{count}"])
    start = time.perf_counter()
    assert len(sn.from_onnx(model).nodes) == count
    assert time.perf_counter() - start < 60
    del model.graph.node[:]
    model.graph.node.extend([onnx.NodeProto()] * 50_001)
    with pytest.raises(FileFormatError, match="50,001 nodes"):
        sn.from_onnx(model)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    content = conv_model().SerializeToString()
    for name in (b"Conv", conv_model().graph.input[0].name.encode(), conv_model().graph.output[0].name.encode()):
        path.write_bytes(content.replace(name, b"\x80" + name[1:]))
        with pytest.raises(FileFormatError, match="not UTF-8"):
            sn.from_onnx(path)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_bytes_raise_our_errors_only(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Truncated, or with bytes changed: imported or refused, never anything else."""
    content = bytearray(conv_model().SerializeToString())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "m.onnx"
    path.write_bytes(content)
    try:
        graph = sn.from_onnx(path)
    except SparsenetError:
        return
    graph.verify()
