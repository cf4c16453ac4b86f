"""A sparsenet graph as an ONNX model, dense weights and all, so that onnxruntime runs exactly the same network.

Takes graphs as imported: fused residuals are not expected, fused activations are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import sparsenet

OPSET = 18


class _Writer:
    def __init__(self, graph: sparsenet.Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def emit(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, name: str, values: Any, dtype: Any = np.int64) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(values, dtype), name)
        return name

    def ints(self, node: Any, what: str, values: Any) -> str:
        return self.constant(f"{node.output}.{what}", values)

    def floats(self, node: Any, what: str, values: Any) -> str:
        return self.constant(f"{node.output}.{what}", values, np.float32)


def to_onnx(graph: sparsenet.Graph) -> onnx.ModelProto:
    """The model; its batch axis is symbolic. Raises NotImplementedError naming every op it has no form for."""
    unknown = sorted({node.op for node in graph.nodes} - set(_OPS))
    if unknown:
        raise NotImplementedError(f"no ONNX form for {', '.join(unknown)}")
    writer = _Writer(graph)
    for node in graph.nodes:
        for name in node.inputs:
            array = None if name is None else graph.constant(name)
            if name is not None and array is not None:
                writer.constant(name, array, np.float32)
        inputs = ["" if name is None else name for name in node.inputs]
        act = node.attrs.get("act", "none") if node.op != "Activation" else "none"
        result = node.output if act == "none" else f"{node.output}.linear"
        _OPS[node.op](writer, node, inputs, result)
        if act != "none":
            _activation(writer, node, [result], node.output)
    body = helper.make_graph(
        writer.nodes,
        "sparsenet",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape[1:]]) for name, shape in graph.inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape[1:]]) for name, shape in graph.outputs],
        list(writer.constants.values()),
    )
    # IR version 9 goes with opset 18 to 20; a newer one would ask for the newest onnxruntime without need.
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _conv(writer: _Writer, node: Any, inputs: list[str], output: str) -> None:
    if len(inputs) > 3:
        raise NotImplementedError(f"{node.name}: a fused residual; pass the graph as imported")
    a = node.attrs
    keep = {"strides": a["stride"], "pads": a["padding"], "dilations": a["dilation"], "group": a["groups"]}
    writer.emit("Conv", inputs, output, **keep)


def _linear(writer: _Writer, node: Any, inputs: list[str], output: str) -> None:
    if len(inputs) > 3:
        raise NotImplementedError(f"{node.name}: a fused residual; pass the graph as imported")
    if len(writer.graph.shape(node.inputs[0])) == 2:
        writer.emit("Gemm", inputs, output, transB=1)
        return
    weight = writer.floats(node, "weight", writer.graph.constant(node.inputs[1]).T)
    product = writer.emit("MatMul", [inputs[0], weight], f"{output}.product" if len(inputs) > 2 else output)
    if len(inputs) > 2:
        writer.emit("Add", [product, inputs[2]], output)


_SIMPLE_ACTS = {
    "none": "Identity",
    "relu": "Relu",
    "hard_swish": "HardSwish",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "exp": "Exp",
    "sqrt": "Sqrt",
    "abs": "Abs",
    "neg": "Neg",
}


def _activation(writer: _Writer, node: Any, inputs: list[str], output: str) -> None:
    act, a, b = node.attrs["act"], node.attrs["act_a"], node.attrs["act_b"]
    if act in _SIMPLE_ACTS:
        writer.emit(_SIMPLE_ACTS[act], inputs, output)
    elif act == "clip":
        low, high = writer.floats(node, "low", a), writer.floats(node, "high", b)
        writer.emit("Clip", [*inputs, low, high], output)
    elif act == "leaky_relu":
        writer.emit("LeakyRelu", inputs, output, alpha=a)
    elif act == "hard_sigmoid":
        writer.emit("HardSigmoid", inputs, output, alpha=1 / 6, beta=0.5)
    elif act == "silu":
        gate = writer.emit("Sigmoid", inputs, f"{node.output}.gate")
        writer.emit("Mul", [inputs[0], gate], output)
    else:
        raise NotImplementedError(f"{node.name}: no ONNX form for the activation {act}")


def _max_pool(writer: _Writer, node: Any, inputs: list[str], output: str) -> None:
    a = node.attrs
    keep = {"kernel_shape": a["kernel"], "strides": a["stride"], "pads": a["padding"], "dilations": a["dilation"]}
    writer.emit("MaxPool", inputs, output, ceil_mode=a["ceil_mode"], **keep)


def _avg_pool(writer: _Writer, node: Any, inputs: list[str], output: str) -> None:
    a = node.attrs
    if a["divisor_override"]:
        raise NotImplementedError(f"{node.name}: divisor_override")
    keep = {"kernel_shape": a["kernel"], "strides": a["stride"], "pads": a["padding"], "ceil_mode": a["ceil_mode"]}
    writer.emit("AveragePool", inputs, output, count_include_pad=a["count_include_pad"], **keep)


def _adaptive(writer: _Writer, node: Any, inputs: list[str], output: str) -> None:
    """Global pooling, or windows that divide the input evenly (as a plain average pool)."""
    size, wanted = writer.graph.shape(node.inputs[0])[2:], node.attrs["output"]
    if all(w == 1 for w in wanted):
        writer.emit("GlobalAveragePool", inputs, output)
        return
    if any(s % w for s, w in zip(size, wanted, strict=True)):
        raise NotImplementedError(f"{node.name}: adaptive pooling of {size} to {wanted}")
    kernel = [s // w for s, w in zip(size, wanted, strict=True)]
    writer.emit("AveragePool", inputs, output, kernel_shape=kernel, strides=kernel)


def _slice(writer: _Writer, node: Any, inputs: list[str], output: str) -> None:
    a = node.attrs
    ends = [writer.ints(node, key, [a[key]]) for key in ("start", "end", "axis", "step")]
    writer.emit("Slice", [*inputs, *ends], output)


def _pad(writer: _Writer, node: Any, inputs: list[str], output: str) -> None:
    a, half = node.attrs, len(node.attrs["pads"]) // 2
    pads = writer.ints(node, "pads", [0, *a["pads"][:half], 0, *a["pads"][half:]])
    mode = {"replicate": "edge"}.get(a["mode"], a["mode"])
    writer.emit("Pad", [*inputs, pads, writer.floats(node, "value", a["value"])], output, mode=mode)


def _shuffle(writer: _Writer, node: Any, inputs: list[str], output: str) -> None:
    channels, *rest = writer.graph.shape(node.inputs[0])[1:]
    groups = node.attrs["groups"]
    apart = writer.ints(node, "apart", [0, groups, channels // groups, *rest])
    together = writer.ints(node, "together", [0, channels, *rest])
    x = writer.emit("Reshape", [*inputs, apart], f"{output}.apart")
    x = writer.emit("Transpose", [x], f"{output}.swapped", perm=[0, 2, 1, *range(3, 3 + len(rest))])
    writer.emit("Reshape", [x, together], output)


def _plain(op: str, *keys: str) -> Callable[[_Writer, Any, list[str], str], None]:
    def emit(writer: _Writer, node: Any, inputs: list[str], output: str) -> None:
        writer.emit(op, inputs, output, **{key: node.attrs[key] for key in keys})

    return emit


_OPS: dict[str, Callable[[_Writer, Any, list[str], str], None]] = {
    "Conv": _conv,
    "Linear": _linear,
    "BatchNorm": lambda w, n, i, o: w.emit("BatchNormalization", i, o, epsilon=n.attrs["eps"]) and None,
    "Activation": _activation,
    "Softmax": _plain("Softmax", "axis"),
    "Add": _plain("Add"),
    "Sub": _plain("Sub"),
    "Mul": _plain("Mul"),
    "Div": _plain("Div"),
    "MaxPool": _max_pool,
    "AvgPool": _avg_pool,
    "AdaptiveAvgPool": _adaptive,
    "Mean": lambda w, n, i, o: (
        w.emit("ReduceMean", [*i, w.ints(n, "axes", n.attrs["axes"])], o, keepdims=n.attrs["keepdim"]) and None
    ),
    "Concat": _plain("Concat", "axis"),
    "Slice": _slice,
    "Pad": _pad,
    "Reshape": lambda w, n, i, o: w.emit("Reshape", [*i, w.ints(n, "shape", n.attrs["shape"])], o) and None,
    "Transpose": _plain("Transpose", "perm"),
    "ChannelShuffle": _shuffle,
    "Identity": _plain("Identity"),
}
