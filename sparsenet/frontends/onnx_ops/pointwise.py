"""Element-wise operators: activations, arithmetic with broadcasting, softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sparsenet.frontends.onnx_ops.call import Call
from sparsenet.frontends.onnx_ops.table import Converter, Unsupported, converts
from sparsenet.frontends.onnx_ops.values import Repeated

_FLOAT_MAX = float(np.finfo(np.float32).max)
_PLAIN = {
    "Relu": "relu",
    "HardSwish": "hard_swish",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Exp": "exp",
    "Sqrt": "sqrt",
    "Abs": "abs",
    "Neg": "neg",
}


def _plain(act: str) -> Converter:
    return lambda call: call.emit("Activation", [call.value()], {"act": act})


for _onnx, _act in _PLAIN.items():
    converts(_onnx)(_plain(_act))


@converts("LeakyRelu", attributes="alpha:float")
def leaky_relu(call: Call) -> str:
    return call.emit("Activation", [call.value()], {"act": "leaky_relu", "act_a": call.get("alpha", 0.01)})


@converts("Gelu", attributes="approximate:str")
def gelu(call: Call) -> str:
    kinds = {"none": "gelu", "tanh": "gelu_tanh"}
    kind = call.get("approximate", "none")
    if kind not in kinds:
        raise Unsupported(f"approximate '{kind}'")
    return call.emit("Activation", [call.value()], {"act": kinds[kind]})


@converts("Swish", attributes="alpha:float")
def swish(call: Call) -> str:
    alpha = call.get("alpha", 1.0)
    if alpha == 1:
        return call.emit("Activation", [call.value()], {"act": "silu"})
    scaled = call.emit("Mul", [call.value(), call.scalar(alpha, "alpha")], part="scaled")
    gate = call.emit("Activation", [scaled], {"act": "sigmoid"}, part="gate")
    return call.emit("Mul", [call.value(), gate])


@converts("HardSigmoid", attributes="alpha:float beta:float")
def hard_sigmoid(call: Call) -> str:
    """max(0, min(1, alpha x + beta))"""
    alpha, beta = call.get("alpha", 0.2), call.get("beta", 0.5)
    if np.float32(alpha) == np.float32(1 / 6) and beta == 0.5:
        return call.emit("Activation", [call.value()], {"act": "hard_sigmoid"})
    scaled = call.emit("Mul", [call.value(), call.scalar(alpha, "alpha")], part="scaled")
    clip = {"act": "clip", "act_a": 0.0, "act_b": 1.0}
    return call.emit("Add", [scaled, call.scalar(beta, "beta")], clip)


@converts("Clip", attributes="min:float max:float")
def clip(call: Call) -> str:
    low = call.get("min", call.number(1, -math.inf))
    high = call.get("max", call.number(2, math.inf))
    return _clip(call, low, high)


def _clip(call: Call, low: float, high: float) -> str:
    if low == 0.0 and high >= _FLOAT_MAX:
        return call.emit("Activation", [call.value()], {"act": "relu"})
    # ONNX gives the upper bound where the two cross.
    low = min(low, high)
    bounds = {"act_a": max(low, -_FLOAT_MAX), "act_b": min(high, _FLOAT_MAX)}
    return call.emit("Activation", [call.value()], {"act": "clip", **bounds})


@converts("Min", "Max")
def extremum(call: Call) -> str:
    """Of an activation and numbers: a clip."""
    numbers = [call.number(i, 0.0) for i in range(len(call.inputs)) if not isinstance(call.peek(i), str)]
    values: list[Any] = [known for known in call.inputs if isinstance(known, str)]
    if len(values) != 1:
        raise Unsupported("of several activations; one and numbers are possible")
    if not numbers:
        return str(values[0])
    call.inputs = values
    return _clip(call, max(numbers), math.inf) if call.op == "Max" else _clip(call, -math.inf, min(numbers))


@converts("PRelu")
def prelu(call: Call) -> str:
    """A slope for each channel, or one: [C, 1, 1] for an input [N, C, H, W]."""
    slope, sizes = call.array(1), call.sizes()
    while slope.ndim > len(sizes) and slope.shape[0] == 1:
        slope = slope[0]
    per_channel = slope.ndim == len(sizes) and slope.size == slope.shape[0]
    if slope.size != 1 and not per_channel:
        raise Unsupported(f"a slope of shape {list(slope.shape)}; one number, or one for each channel, is possible")
    return call.emit("PRelu", [call.value(), call.constant_from(slope.reshape(-1), "slope")])


@converts("Softmax", "LogSoftmax", attributes="axis:int")
def softmax(call: Call) -> str:
    rank, log = len(call.shape()), int(call.op == "LogSoftmax")
    if call.opset >= 13:
        return call.emit("Softmax", [call.value()], {"axis": call.axis(call.get("axis", -1), rank), "log": log})
    # Before opset 13 all axes from `axis` on were taken together.
    axis, sizes = call.axis(call.get("axis", 1), rank), call.sizes()
    if axis == rank - 1:
        return call.emit("Softmax", [call.value()], {"axis": axis, "log": log})
    flat = call.reshape(call.value(), [*sizes[: axis - 1], math.prod(sizes[axis - 1 :])], part="flat")
    y = call.emit("Softmax", [flat], {"axis": axis, "log": log}, part="softmax")
    return call.reshape(y, sizes)


BROADCASTING = frozenset(("Add", "Sub", "Mul", "Div"))


def operand(call: Call, index: int, rank: int) -> str:
    """An operand of broadcasting arithmetic as an IR value; ``rank`` is that of the result."""
    known = call.peek(index)
    if isinstance(known, str):
        own = len(call.shape(index))
        if own != rank:
            raise Unsupported(f"broadcasts an activation of {own} axes to {rank}: reshape it first")
        return known
    array = known.sample if isinstance(known, Repeated) else call.array(index)
    if array.ndim == 0:
        array = array.reshape(1)
    if array.ndim == rank and array.shape[0] != 1:
        array = call.one_sample(array)
    return call.constant_from(array, "left" if index == 0 else "right")


@converts(*BROADCASTING)
def arithmetic(call: Call) -> str:
    rank = max(len(call.shape(i)) for i in (0, 1) if isinstance(call.peek(i), str))
    return call.emit(call.op, [operand(call, 0, rank), operand(call, 1, rank)])


@converts("Sum")
def sum_(call: Call) -> str:
    """Of any number of operands, from left to right."""
    rank = max(len(call.shape(i)) for i, known in enumerate(call.inputs) if isinstance(known, str))
    values = [operand(call, i, rank) for i in range(len(call.inputs))]
    # An activation first: the sum of two constants is none of the IR's.
    values.sort(key=lambda name: call.lowering.graph.constant(name) is not None)
    total = values[0]
    for i, value in enumerate(values[1:], start=2):
        total = call.emit("Add", [total, value], part="" if i == len(values) else str(i))
    return total


@converts("Reciprocal")
def reciprocal(call: Call) -> str:
    return call.emit("Div", [call.scalar(1.0, "one"), call.value()])


@converts("Pow")
def power(call: Call) -> str:
    exponent = call.number(1, 1.0)
    if exponent == 2:
        return call.emit("Mul", [call.value(), call.value()])
    if exponent == 0.5:
        return call.emit("Activation", [call.value()], {"act": "sqrt"})
    if exponent == -1:
        return reciprocal(call)
    raise Unsupported(f"exponent {exponent}; 2, 0.5 and -1 are possible")
