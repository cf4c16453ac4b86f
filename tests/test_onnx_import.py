"""from_onnx beside onnxruntime: convolutions of every kind, older opsets' spellings, what torch exports, shapes."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_checks import agree, model_of, run_ours
from strategies import normal, seeds

import sparsenet as sn
from benchmarks import models
from sparsenet import reference

torch.set_num_threads(1)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
node = helper.make_node


@st.composite
def onnx_convs(draw: st.DrawFn) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A Conv or ConvTranspose of 1 or 2 spatial axes, with explicit or automatic padding, any group, bias or none."""
    spatial, rng = draw(st.integers(1, 2)), np.random.default_rng(draw(seeds))
    transposed, groups = draw(st.booleans()), draw(st.sampled_from([1, 1, 2, 3]))
    cin, cout = groups * draw(st.integers(1, 4)), groups * draw(st.integers(1, 4))
    kernel = [draw(st.integers(1, 4)) for _ in range(spatial)]
    attrs: dict[str, Any] = {"group": groups, "strides": [draw(st.integers(1, 3)) for _ in range(spatial)]}
    auto = draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto == "NOTSET":  # onnxruntime takes no dilation together with auto_pad
        attrs["dilations"] = [draw(st.integers(1, 2)) for _ in range(spatial)]
        attrs["pads"] = [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
    elif transposed:
        auto = "VALID"  # the rule of SAME changed between opsets and engines
    attrs |= {"auto_pad": auto} if auto != "NOTSET" else {}
    if draw(st.booleans()):
        attrs["kernel_shape"] = kernel
    w = normal(rng, *((cin, cout // groups) if transposed else (cout, cin // groups)), *kernel)
    w[rng.random(w.shape) < draw(st.sampled_from([0, 0.8]))] = 0
    constants = {"w": w, **({"b": normal(rng, cout)} if draw(st.booleans()) else {})}
    size = [draw(st.integers(8, 12)) for _ in range(spatial)]
    op = "ConvTranspose" if transposed else "Conv"
    model = model_of([node(op, ["x", *constants], ["y"], **attrs)], {"x": ["N", cin, *size]}, ["y"], constants)
    return model, {"x": normal(rng, 2, cin, *size)}


@QUICK
@given(onnx_convs())
def test_convolutions(case: tuple[onnx.ModelProto, dict[str, np.ndarray]]) -> None:
    model, feeds = case
    agree(model, feeds)


X = {"x": normal(np.random.default_rng(0), 2, 4, 6, 6)}
IMAGE = {"x": ["N", 4, 6, 6]}
W = normal(np.random.default_rng(1), 4, 3)
M = normal(np.random.default_rng(2), 3, 6)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


# (opset, nodes, constants, ops of the graph)
SPELLINGS: dict[str, tuple[int, list[onnx.NodeProto], dict[str, np.ndarray], list[str]]] = {
    "clip-6": (8, [node("Clip", ["x"], ["y"], min=-0.5, max=0.25)], {}, ["Activation"]),
    "clip-11, one end": (
        11, [node("Clip", ["x", "", "high"], ["y"])], {"high": np.array(0.5, np.float32)}, ["Activation"]
    ),
    "pad-2": (9, [node("Pad", ["x"], ["y"], pads=[0, 0, 1, 2, 0, 0, 0, 3], value=1.5)], {}, ["Pad"]),
    "pad-18, axes": (
        18, [node("Pad", ["x", "p", "", "a"], ["y"], mode="reflect")], {"p": ints(1, 2), "a": ints(-1)}, ["Pad"]
    ),
    "slice-1": (9, [node("Slice", ["x"], ["y"], starts=[1, -4], ends=[9, -1], axes=[1, 3])], {}, ["Slice"] * 2),
    "softmax-1 takes all axes together": (
        11, [node("Softmax", ["x"], ["y"], axis=1)], {}, ["Reshape", "Softmax", "Reshape"]
    ),
    "softmax-13": (13, [node("Softmax", ["x"], ["y"], axis=1)], {}, ["Softmax"]),
    "squeeze-1": (
        11,
        [node("Unsqueeze", ["x"], ["u"], axes=[2]), node("Squeeze", ["u"], ["y"], axes=[2])],
        {},
        ["Reshape", "Reshape"],
    ),
    "mean-1": (11, [node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)], {}, ["Mean"]),
    "mean-18": (18, [node("ReduceMean", ["x", "a"], ["y"])], {"a": ints(-1, -2)}, ["Mean"]),
    "split-2": (
        11, [node("Split", ["x"], ["a", "b"], axis=1), node("Sub", ["b", "a"], ["y"])], {}, ["Slice", "Slice", "Sub"]
    ),
    "upsample-9": (
        9, [node("Upsample", ["x", "s"], ["y"], mode="nearest")], {"s": np.array([1, 1, 2, 3], np.float32)}, ["Resize"]
    ),
    "resize-10": (
        10, [node("Resize", ["x", "s"], ["y"], mode="nearest")], {"s": np.array([1, 1, 2, 3], np.float32)}, ["Resize"]
    ),
    "resize-18 by size": (
        18,
        [
            node(
                "Resize", ["x", "", "", "s"], ["y"], axes=[2, 3], mode="linear",
                coordinate_transformation_mode="align_corners",
            )
        ],
        {"s": ints(11, 5)},
        ["Resize"],
    ),
    "global max": (13, [node("GlobalMaxPool", ["x"], ["y"])], {}, ["AdaptiveMaxPool"]),
    "pooling deep in the padding": (
        13,
        [node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[2] * 4, count_include_pad=1, strides=[2, 1])],
        {},
        ["Pad", "AvgPool"],
    ),
    "max deep in the padding": (
        13, [node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], pads=[2] * 4)], {}, ["Pad", "MaxPool"]
    ),
    "same pooling": (
        13, [node("MaxPool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_LOWER")], {}, ["MaxPool"]
    ),
    "prelu": (13, [node("PRelu", ["x", "s"], ["y"])], {"s": W[:, :1, None]}, ["PRelu"]),
    "hard sigmoid of other slopes": (13, [node("HardSigmoid", ["x"], ["y"], alpha=0.3)], {}, ["Mul", "Add"]),
    "gather one row": (13, [node("Gather", ["x", "i"], ["y"], axis=2)], {"i": np.array(-2)}, ["Slice", "Reshape"]),
    "gather some channels": (
        13, [node("Gather", ["x", "i"], ["y"], axis=1)], {"i": ints(2, 3, 0)}, ["Slice", "Slice", "Concat"]
    ),
    "max with a number": (13, [node("Max", ["zero", "x"], ["y"])], {"zero": np.array(0, np.float32)}, ["Activation"]),
    "sum of three": (13, [node("Sum", ["c", "x", "x"], ["y"])], {"c": W[:, :1, None]}, ["Add", "Add"]),
    "reduce max": (13, [node("ReduceMax", ["x"], ["y"], axes=[3], keepdims=0)], {}, ["MaxPool", "Reshape"]),
    "reduce sum": (13, [node("ReduceSum", ["x", "a"], ["y"])], {"a": ints(1)}, ["Mean", "Mul"]),
    "zeros beside": (
        13, [node("Concat", ["x", "z"], ["y"], axis=1)], {"z": np.zeros((1, 2, 6, 6), np.float32)}, ["Pad", "Identity"]
    ),
    "matrix from the left": (13, [node("MatMul", ["m", "x"], ["y"])], {"m": M}, ["Transpose", "Linear", "Transpose"]),
    "matrix from the right": (13, [node("MatMul", ["x", "m"], ["y"])], {"m": M.T.copy()}, ["Linear"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings(name: str) -> None:
    opset, nodes, constants, ops = SPELLINGS[name]
    feeds = {"x": X["x"][:1]} if "zeros" in name else X  # onnxruntime wants the constant's batch
    graph = agree(model_of(nodes, IMAGE, ["y"], constants, opset), feeds)
    assert [n.op for n in graph.nodes] == ops


@pytest.mark.parametrize("attrs", [{}, {"transB": 1}, {"alpha": 0.5, "beta": 2.0}])
@pytest.mark.parametrize("bias", [None, (3,), (1, 3), (1,), ()])
def test_gemm(attrs: dict[str, Any], bias: tuple[int, ...] | None) -> None:
    rng = np.random.default_rng(3)
    constants = {"w": W.T.copy() if "transB" in attrs else W}
    if bias is not None:
        constants["c"] = normal(rng, *bias).reshape(bias)
    model = model_of([node("Gemm", ["x", *constants], ["y"], **attrs)], {"x": ["N", 4]}, ["y"], constants)
    agree(model, {"x": normal(rng, 3, 4)})


class Shaped(torch.nn.Module):
    """Arithmetic on shapes as PyTorch code has it; the exporter turns it into Shape, Gather, Unsqueeze and Concat."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.linear = torch.nn.Linear(8 * 9, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.gelu(self.conv(x))
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        x = torch.nn.functional.interpolate(x, size=(h // 2, w // 2), mode="bilinear")
        x = torch.nn.functional.pad(x, (1, 1, 0, 0)) if w < 5 else x[:, :, : h // 2, : w // 2]
        return self.linear(x.flatten(1))


def exported(module: torch.nn.Module, x: torch.Tensor, opset: int, dynamic: bool) -> onnx.ModelProto:
    """By torch's TorchScript exporter, which needs no further package."""
    file = io.BytesIO()
    axes = {"x": {0: "batch"}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the exporter is old, and notes of its tracer
        torch.onnx.export(
            module.eval(), (x,), file, dynamo=False, opset_version=opset, input_names=["x"], dynamic_axes=axes
        )
    return onnx.load_from_string(file.getvalue())


@pytest.mark.parametrize("opset", [11, 13, 17, 20])
@pytest.mark.parametrize("dynamic", [True, False])
def test_torch_exports_with_arithmetic_on_shapes(opset: int, dynamic: bool) -> None:
    torch.manual_seed(0)
    model = exported(Shaped(), torch.randn(2, 3, 6, 6), opset, dynamic)
    graph = agree(model, {"x": normal(np.random.default_rng(0), 2, 3, 6, 6)}, statistical=True)
    assert "gelu" in [n.attrs.get("act") for n in graph.nodes]
    assert graph.fixed_batch == (0 if dynamic else 2)


@pytest.mark.parametrize("name", ["conv1d", "resnet18", "mobilenet_v3_small", "shufflenet_v2", "densenet121"])
def test_torch_exports_of_known_networks(name: str) -> None:
    """Against torch's own answer, through the graph that from_torch makes."""
    module = models.seeded_init(models.create_small(name), seed=0)
    shape = models.input_shape(name, small=True)
    graph = sn.from_onnx(exported(module, torch.zeros(2, *shape), 17, True))
    x = normal(np.random.default_rng(0), 2, *shape)
    reference.assert_close(run_ours(graph, {"x": x}), sn.from_torch(module, torch.zeros(2, *shape)), [x])


def test_a_static_batch_can_be_let_go() -> None:
    model = exported(Shaped(), torch.randn(1, 3, 6, 6), 17, False)
    graph = sn.from_onnx(model)
    x = normal(np.random.default_rng(0), 3, 3, 6, 6)
    with pytest.raises(sn.errors.ShapeError):
        run_ours(graph, {"x": x})
    graph.fixed_batch = 0
    one_by_one = np.concatenate([run_ours(graph, {"x": x[i : i + 1]})[0] for i in range(3)])
    np.testing.assert_allclose(run_ours(graph, {"x": x})[0], one_by_one, rtol=1e-4, atol=1e-6)


def test_open_sizes_are_given_by_shapes() -> None:
    w = normal(np.random.default_rng(0), 4, 3, 3, 3)
    model = model_of([node("Conv", ["x", "w"], ["y"])], {"x": ["N", 3, "h", "w"]}, ["y"], {"w": w})
    with pytest.raises(sn.errors.ShapeError, match=r"axis 2 is symbolic.*shapes="):
        sn.from_onnx(model)
    for shapes in ({"x": (None, 3, 8, 9)}, [(1, 3, 8, 9)]):
        assert sn.from_onnx(model, shapes).inputs == [("x", (None, 3, 8, 9))]
    for wrong in ({"x": (None, 4, 8, 9)}, {"x": (None, 3, 8)}, {"z": (None, 3, 8, 9)}, []):
        with pytest.raises(sn.errors.ShapeError):
            sn.from_onnx(model, wrong)


def test_names_sharing_and_aliases() -> None:
    """Outputs that are inputs, constants, or each other; one weight read twice; initializers among the inputs."""
    w = normal(np.random.default_rng(0), 4, 4)
    nodes = [
        node("Identity", ["w"], ["w2"]),
        node("MatMul", ["x", "w"], ["a"]),
        node("MatMul", ["a", "w2"], ["b"]),
        node("Dropout", ["b"], ["c", "mask"]),
    ]
    model = model_of(nodes, {"x": ["N", 4], "w": [4, 4]}, ["c", "b"], {"w": w})
    graph = sn.from_onnx(model)
    assert [name for name, _ in graph.inputs] == ["x"]
    assert [name for name, _ in graph.outputs] == ["c", "b"]
    x = normal(np.random.default_rng(1), 2, 4)
    model.graph.output[0].name = "mask"
    with pytest.raises(sn.errors.UnsupportedOpError, match="output 'mask' reads an output of Dropout"):
        sn.from_onnx(model)
    for y in run_ours(graph, {"x": x}):
        np.testing.assert_allclose(y, x @ w @ w, rtol=1e-4, atol=1e-5)


def test_weights_of_other_types_become_float32() -> None:
    w = normal(np.random.default_rng(0), 4, 4)
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    with pytest.warns(UserWarning, match="1 weights were converted to float32: y.weight"):
        graph = sn.from_onnx(model_of(nodes, {"x": ["N", 4]}, ["y"], {"w": w.astype(np.float16)}))
    np.testing.assert_array_equal(graph.constant(graph.nodes[0].inputs[1]), w.astype(np.float16).astype(np.float32).T)
