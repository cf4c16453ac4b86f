"""The IR seen from Python: building, errors, constants without copies, and shapes held against torch's."""

from __future__ import annotations

import ast
import copy
import gc
import pickle
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsenet as sn
from sparsenet import Graph, _core
from sparsenet.errors import GraphError, InvalidArgumentError, ShapeError, SparsenetError, UnsupportedOpError

F = torch.nn.functional


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


@pytest.fixture
def graph() -> Graph:
    """x[N,4,8,8] -> conv -> relu -> + x -> out"""
    graph = Graph()
    x = graph.add_input("x", (None, 4, 8, 8))
    w = graph.add_constant("w", noise(4, 4, 3, 3))
    attrs = {"stride": [1, 1], "padding": [1, 1, 1, 1], "dilation": [1, 1]}
    y = graph.add_node("Conv", [x, w], attrs, "conv")
    y = graph.add_node("Activation", [y], {"act": "relu"}, "relu")
    graph.set_outputs([graph.add_node("Add", [y, x], name="out")])
    return graph


def test_reads_back_as_built(graph: Graph) -> None:
    graph.verify()
    assert graph.inputs == [("x", (None, 4, 8, 8))]
    assert graph.outputs == [("out", (None, 4, 8, 8))]
    assert graph.values == ["x", "w", "conv", "relu", "out"]
    assert graph.shape("w") == (4, 4, 3, 3)
    conv, relu, add = graph.nodes
    assert (conv.op, conv.name, conv.inputs, conv.output) == ("Conv", "conv", ["x", "w"], "conv")
    assert conv.attrs == {
        "stride": [1, 1],
        "padding": [1, 1, 1, 1],
        "dilation": [1, 1],
        "groups": 1,
        "act": "none",
        "act_a": 0.0,
        "act_b": 0.0,
    }
    assert relu.attrs["act"] == "relu"
    assert add.inputs == ["relu", "x"]
    assert graph.unique_name("w") == "w_1"
    assert graph.fixed_batch == 0
    graph.fixed_batch = 2
    assert graph.copy().fixed_batch == 2


def test_optional_inputs_are_none(graph: Graph) -> None:
    attrs = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1)}
    name = graph.add_node("Conv", ["x", "w", None, "relu"], attrs)
    assert name == "conv_1"
    assert graph.nodes[-1].inputs == ["x", "w", None, "relu"]


def test_repr_tells_the_story(graph: Graph) -> None:
    assert repr(graph) == (
        "<sparsenet.Graph x[N, 4, 8, 8] -> out[N, 4, 8, 8]: 1 Conv, 1 Activation, 1 Add; 144 weights>"
    )
    assert repr(graph.nodes[0]) == "<Node conv (Conv) -> conv>"
    graph.add_constant("zeros", np.zeros(1296, np.float32))
    assert "1.44 k weights, 90.0% zeros" in repr(graph)
    assert repr(Graph()) == "<sparsenet.Graph ? -> ?: no nodes; 0 weights>"


def test_constants_are_shared_not_copied(graph: Graph) -> None:
    array = noise(8, 4)
    graph.add_constant("shared", array)
    view = graph.constant("shared")
    assert np.shares_memory(view, array)
    assert not view.flags.writeable
    assert graph.constant("x") is None
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 1


def test_constants_outlive_their_graph() -> None:
    graph, array = Graph(), noise(64, 64)
    want = array.copy()
    graph.add_constant("w", array)
    gone = weakref.ref(array)
    twin = graph.copy()
    view = graph.constant("w")
    del array, graph, twin
    gc.collect()
    assert gone() is not None
    np.testing.assert_array_equal(view, want)
    del view
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    "array",
    [
        noise(6, 4).T,
        noise(8, 4)[::2],
        noise(3).astype(np.float64),
        noise(3).astype(np.float16),
        noise(3).astype(">f4"),
        np.arange(5),
        np.array([True, False]),
        np.array(2.5),
    ],
    ids=["transposed", "strided", "float64", "float16", "big-endian", "int", "bool", "scalar"],
)
def test_other_arrays_are_converted(array: np.ndarray) -> None:
    graph = Graph()
    graph.add_constant("w", array)
    view = graph.constant("w")
    assert view.dtype == np.float32
    assert view.flags.c_contiguous
    assert not np.shares_memory(view, array)
    np.testing.assert_array_equal(view, np.asarray(array, np.float32))


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([1j]), np.array([None])], ids=["str", "complex", "object"])
def test_constants_that_are_not_numbers(array: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="constant 'w': expected an array of real numbers"):
        Graph().add_constant("w", array)


def test_empty_constant() -> None:
    with pytest.raises(ShapeError, match="at least 1"):
        Graph().add_constant("w", np.zeros((0, 3), np.float32))


def test_copies_do_not_touch_each_other(graph: Graph) -> None:
    twin = graph.copy()
    assert type(twin) is Graph
    twin.add_node("Identity", ["out"], name="more")
    assert "more" not in graph.values
    assert np.shares_memory(twin.constant("w"), graph.constant("w"))


def test_saves_loads_and_pickles(graph: Graph, tmp_path: Path) -> None:
    graph.save(tmp_path / "g.snet")
    for other in (sn.load(tmp_path / "g.snet"), pickle.loads(pickle.dumps(graph)), copy.deepcopy(graph)):
        assert type(other) is Graph
        assert repr(other) == repr(graph)
        assert [n.attrs for n in other.nodes] == [n.attrs for n in graph.nodes]
        np.testing.assert_array_equal(other.constant("w"), graph.constant("w"))


def test_run_passes_is_in_place(graph: Graph) -> None:
    graph.run_passes(disabled=[name for name, _ in _core.passes()])
    assert [n.op for n in graph.nodes] == ["Conv", "Activation", "Add"]
    graph.run_passes()
    graph.verify()
    assert len(graph.nodes) < 3


def test_errors_are_ours_and_say_what(graph: Graph) -> None:
    cases: list[tuple[type[Exception], str, Any]] = [
        (UnsupportedOpError, "no op is named 'Convolve'", lambda: graph.add_node("Convolve", ["x"])),
        (GraphError, "no value is named 'y'", lambda: graph.add_node("Identity", ["y"])),
        (GraphError, "no value is named 'y'", lambda: graph.shape("y")),
        (GraphError, "no value is named 'y'", lambda: graph.set_outputs(["y"])),
        (GraphError, "unknown attribute 'dim'; it takes axis", lambda: graph.add_node("Softmax", ["x"], {"dim": 1})),
        (GraphError, "'axis' must be int, got 'one'", lambda: graph.add_node("Softmax", ["x"], {"axis": "one"}, "s")),
        (GraphError, "'axis' must be int, got 1.5", lambda: graph.add_node("Softmax", ["x"], {"axis": 1.5}, "s")),
        (ShapeError, r"node 's' \(Softmax\): axis must be", lambda: graph.add_node("Softmax", ["x"], {"axis": 4}, "s")),
        (ShapeError, "axis 0 must be the batch", lambda: graph.add_input("y", (1, 3))),
        (ShapeError, "only axis 0 may be None", lambda: graph.add_input("y", (None, None))),
        (GraphError, "the graph has no input", lambda: Graph().verify()),
        (InvalidArgumentError, "no pass is named 'magic'", lambda: graph.run_passes(["magic"])),
    ]
    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()
        assert issubclass(error, SparsenetError)
    assert issubclass(ShapeError, ValueError)


def test_op_table_and_passes() -> None:
    table = {row["name"]: row for row in _core.op_table()}
    assert table["Conv"]["min_inputs"] == 2
    assert table["Conv"]["max_inputs"] == 4
    attrs = {a["name"]: a for a in table["Conv"]["attrs"]}
    assert attrs["stride"] == {"name": "stride", "kind": "ints"}
    assert attrs["groups"] == {"name": "groups", "kind": "int", "default": 1}
    names = [name for name, _ in _core.passes()]
    assert len(names) == len(set(names)) > 0


def test_stubs_know_every_name() -> None:
    tree = ast.parse(Path(sn.__file__).with_name("_core.pyi").read_text())
    stubs = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    assert {name for name in vars(_core) if not name.startswith("__")} <= set(stubs)
    for kind in (_core.Graph, _core.Node):
        body = stubs[kind.__name__].body
        stubbed = {node.name for node in body if isinstance(node, ast.FunctionDef)} - {"__init__"}
        stubbed |= {node.target.id for node in body if isinstance(node, ast.AnnAssign)}
        assert {name for name in vars(kind) if not name.startswith("_")} == stubbed


def test_import_needs_only_numpy(tmp_path: Path) -> None:
    code = (
        "import sys; import sparsenet as sn; sn.Graph; sn.errors.GraphError; assert sn.__version__;"
        "assert not {'torch', 'numba', 'scipy', 'cffi', 'onnx'} & set(sys.modules), sys.modules"
    )
    # Elsewhere: `python -c` would import the source tree of the working directory, not what is installed.
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert {"Graph", "from_torch", "load", "compile", "Engine", "InferenceSession"} <= set(dir(sn))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = sn.nonsense


# Shapes against torch. Each case draws options freely; where torch refuses them, so must we.

Dims = tuple[int, ...]


def torch_shape(run: Any) -> Dims | None:
    try:
        shape = tuple(run().shape)
    except (RuntimeError, ValueError):
        return None
    return None if 0 in shape else shape  # the IR has no empty tensors


def our_shape(op: str, x: Dims, attrs: dict[str, Any], weight: Dims | None = None) -> Dims | None:
    graph = Graph()
    names: list[str | None] = [graph.add_input("x", (None, *x[1:]))]
    if weight:
        names.append(graph.add_constant("w", noise(*weight)))
    try:
        return (x[0], *graph.shape(graph.add_node(op, names, attrs))[1:])
    except ShapeError:
        return None


def per_axis(rank: int, low: int, high: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(low, high), min_size=rank, max_size=rank)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), d=st.integers(1, 2))
def test_conv_shape(data: st.DataObject, d: int) -> None:
    groups = data.draw(st.integers(1, 3))
    c, m, per_group = data.draw(per_axis(3, 1, 6))
    size, kernel = data.draw(per_axis(d, 1, 9)), data.draw(per_axis(d, 1, 4))
    stride, pad, dilation = data.draw(per_axis(d, 0, 3)), data.draw(per_axis(d, -1, 3)), data.draw(per_axis(d, 0, 3))
    x, w = (2, c, *size), (m, per_group, *kernel)
    conv = F.conv1d if d == 1 else F.conv2d
    want = torch_shape(lambda: conv(torch.zeros(x), torch.zeros(w), None, stride, pad, dilation, groups))
    attrs = {"stride": stride, "padding": [*pad, *pad], "dilation": dilation, "groups": groups}
    assert our_shape("Conv", x, attrs, w) == want


@settings(max_examples=200, deadline=None)
@given(data=st.data(), d=st.integers(1, 2))
def test_conv_transpose_shape(data: st.DataObject, d: int) -> None:
    groups = data.draw(st.integers(1, 3))
    c, per_group = groups * data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3))
    size, kernel = data.draw(per_axis(d, 1, 6)), data.draw(per_axis(d, 1, 4))
    stride, pad, dilation = data.draw(per_axis(d, 1, 3)), data.draw(per_axis(d, 0, 3)), data.draw(per_axis(d, 1, 3))
    extra = data.draw(per_axis(d, 0, 3))
    x, w = (2, c, *size), (c, per_group, *kernel)
    conv = F.conv_transpose1d if d == 1 else F.conv_transpose2d
    want = torch_shape(lambda: conv(torch.zeros(x), torch.zeros(w), None, stride, pad, extra, groups, dilation))
    attrs = {"stride": stride, "padding": [*pad, *pad], "dilation": dilation, "groups": groups, "output_padding": extra}
    assert our_shape("ConvTranspose", x, attrs, w) == want


@settings(max_examples=300, deadline=None)
@given(data=st.data(), d=st.integers(1, 2), kind=st.sampled_from(["MaxPool", "AvgPool"]), ceil_mode=st.booleans())
def test_pool_shape(data: st.DataObject, d: int, kind: str, ceil_mode: bool) -> None:
    size, kernel = data.draw(per_axis(d, 1, 10)), data.draw(per_axis(d, 1, 5))
    stride, pad = data.draw(per_axis(d, 1, 5)), data.draw(per_axis(d, 0, 4))
    x = (2, 3, *size)
    attrs = {"kernel": kernel, "stride": stride, "padding": [*pad, *pad], "ceil_mode": int(ceil_mode)}
    if kind == "MaxPool":
        attrs["dilation"] = dilation = data.draw(per_axis(d, 1, 3))
        pool = F.max_pool1d if d == 1 else F.max_pool2d
        want = torch_shape(lambda: pool(torch.zeros(x), kernel, stride, pad, dilation, ceil_mode))
    else:
        average = F.avg_pool1d if d == 1 else F.avg_pool2d
        want = torch_shape(lambda: average(torch.zeros(x), kernel, stride, pad, ceil_mode))
    assert our_shape(kind, x, attrs) == want


@settings(max_examples=100, deadline=None)
@given(
    x=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    c=st.lists(st.integers(1, 3), max_size=4),
    left=st.booleans(),
)
def test_broadcast_shape(x: list[int], c: list[int], left: bool) -> None:
    """As NumPy with a batch of 5, unless the constant would reach past axis 0 or fix the batch."""
    graph = Graph()
    names = [graph.add_input("x", (None, *x)), graph.add_constant("c", noise(*c))]
    try:
        want: Dims | None = np.broadcast_shapes((5, *x), tuple(c))
    except ValueError:
        want = None
    if len(c) > len(x) + 1:
        want = None
    try:
        got = (5, *graph.shape(graph.add_node("Add", names[::-1] if left else names))[1:])
    except ShapeError:
        got = None
    assert got == want


@settings(max_examples=100, deadline=None)
@given(data=st.data(), x=st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_reshape_shape(data: st.DataObject, x: list[int]) -> None:
    to = data.draw(st.lists(st.sampled_from([-1, 1, 2, 3, 4, 6, 12]), max_size=4))
    want = torch_shape(lambda: torch.zeros(7, *x).reshape(7, *to))
    assert our_shape("Reshape", (7, *x), {"shape": [0, *to]}, None) == want


@settings(max_examples=100, deadline=None)
@given(data=st.data(), mode=st.sampled_from(["constant", "reflect", "replicate"]))
def test_pad_shape(data: st.DataObject, mode: str) -> None:
    size = data.draw(per_axis(2, 1, 5))
    low = -3 if mode == "constant" else 0
    top, left, bottom, right = data.draw(per_axis(4, low, 5))
    want = torch_shape(lambda: F.pad(torch.zeros(2, 3, *size), (left, right, top, bottom), mode))
    attrs = {"pads": [0, top, left, 0, bottom, right], "mode": mode}
    got = our_shape("Pad", (2, 3, *size), attrs)
    if got != want:  # torch also allows to crop all of the input and pad anew
        assert got is None
        assert size[0] + min(top, 0) + min(bottom, 0) < 1 or size[1] + min(left, 0) + min(right, 0) < 1
