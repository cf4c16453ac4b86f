"""Activations, alone and fused, arithmetic and softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsenet import _core
from sparsenet.onnx_export.writer import Inexpressible, Writer, emits

_SIMPLE = {
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


@emits("Activation")
def activation_node(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    activation(writer, node.attrs, inputs[0], output)


def activation(writer: Writer, attrs: dict[str, Any], x: str, output: str) -> None:
    """The activation that ``attrs`` names, also a fused one."""
    act, a, b = attrs["act"], attrs["act_a"], attrs["act_b"]
    if act in _SIMPLE:
        writer.emit(_SIMPLE[act], [x], output)
    elif act == "clip":
        writer.emit("Clip", [x, writer.floats(f"{output}.low", a), writer.floats(f"{output}.high", b)], output)
    elif act == "leaky_relu":
        writer.emit("LeakyRelu", [x], output, alpha=a)
    elif act == "hard_sigmoid":
        writer.emit("HardSigmoid", [x], output, alpha=1 / 6, beta=0.5)
    elif act == "silu":
        writer.emit("Mul", [x, writer.emit("Sigmoid", [x], writer.name(f"{output}.gate"))], output)
    elif act in ("gelu", "gelu_tanh"):
        writer.emit("Gelu", [x], output, approximate="tanh" if act == "gelu_tanh" else "none")
    else:
        raise Inexpressible(f"activation {act}")


@emits("PRelu")
def prelu(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    x, slope = node.inputs
    assert x is not None
    assert slope is not None
    array = writer.graph.constant(slope)
    assert array is not None
    # ONNX aligns the slope with the last axes.
    after = [1] * (len(writer.graph.shape(x)) - 2)
    writer.emit("PRelu", [inputs[0], writer.floats(f"{output}.slope", array.reshape(-1, *after))], output)


@emits("Softmax")
def softmax(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    writer.emit("LogSoftmax" if node.attrs["log"] else "Softmax", inputs, output, axis=node.attrs["axis"])


@emits("Add", "Sub", "Mul", "Div")
def arithmetic(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    writer.emit(node.op, inputs, output)


@emits("Identity")
def identity(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    writer.emit("Identity", inputs, output)
