"""Element-wise operators: activations, arithmetic with broadcasting, softmax."""

from __future__ import annotations

import math
from typing import Any

import torch

from sparsenet.frontends.aten.call import Call, Repeated
from sparsenet.frontends.aten.table import Converter, Unsupported, converts

_FLOAT_MAX = torch.finfo(torch.float32).max
_PLAIN = {
    "relu": "relu",
    "silu": "silu",
    "hardswish": "hard_swish",
    "hardsigmoid": "hard_sigmoid",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "exp": "exp",
    "sqrt": "sqrt",
    "abs": "abs",
    "neg": "neg",
}


def _plain(act: str) -> Converter:
    return lambda call: call.emit("Activation", [call.value("self")], {"act": act})


for _aten, _act in _PLAIN.items():
    converts(f"{_aten}.default")(_plain(_act))


@converts("leaky_relu.default")
def leaky_relu(call: Call) -> str:
    return call.emit("Activation", [call.value("self")], {"act": "leaky_relu", "act_a": call["negative_slope"]})


@converts("gelu.default")
def gelu(call: Call) -> str:
    act = {"none": "gelu", "tanh": "gelu_tanh"}[call["approximate"]]
    return call.emit("Activation", [call.value("self")], {"act": act})


@converts("relu6.default")
def relu6(call: Call) -> str:
    return _clip(call, 0.0, 6.0)


@converts("hardtanh.default")
def hardtanh(call: Call) -> str:
    return _clip(call, call["min_val"], call["max_val"])


@converts("clamp.default", "clamp_min.default", "clamp_max.default")
def clamp(call: Call) -> str:
    return _clip(call, call.args.get("min"), call.args.get("max"))


def _clip(call: Call, low: float | None, high: float | None) -> str:
    low = -math.inf if low is None else float(low)
    high = math.inf if high is None else float(high)
    if low == 0.0 and high == math.inf:
        return call.emit("Activation", [call.value("self")], {"act": "relu"})
    # torch gives the upper bound where the two cross.
    low = min(low, high)
    bounds = {"act_a": max(low, -_FLOAT_MAX), "act_b": min(high, _FLOAT_MAX)}
    return call.emit("Activation", [call.value("self")], {"act": "clip", **bounds})


@converts("prelu.default", "_prelu_kernel.default")
def prelu(call: Call) -> str:
    slope = call.tensor("weight")
    assert slope is not None
    slopes = call.constant("weight" if slope.dim() == 1 else slope.reshape(-1), "weight")
    return call.emit("PRelu", [call.value("self"), slopes])


@converts("softmax.int", "_softmax.default", "log_softmax.int", "_log_softmax.default")
def softmax(call: Call) -> str:
    axis = call["dim"] % len(call.shape)
    if axis == 0:
        raise Unsupported("softmax over the batch")
    return call.emit("Softmax", [call.value("self")], {"axis": axis, "log": int("log_softmax" in call.op)})


def _operand(call: Call, operand: Any, role: str) -> str:
    """An operand of broadcasting arithmetic as an IR value."""
    known = call.peek(operand)
    if isinstance(known, str):
        rank = len(call.input_shape(operand))
        if rank != len(call.shape):
            raise Unsupported(f"broadcasts an activation of {rank} axes to {len(call.shape)}: reshape it first")
        return known
    source = operand
    if isinstance(known, Repeated):
        known = source = known.sample
    elif isinstance(known, (int, float)):
        known = source = torch.tensor([float(known)])
    elif not isinstance(known, torch.Tensor):
        raise Unsupported("computes with the batch size as a number")
    if known.dim() == 0:
        known = source = known.reshape(1)
    if known.dim() == len(call.shape) and known.shape[0] != 1:
        known = source = call.one_sample(known)
    return call.constant_from(source, known, role)


def _binary(call: Call, op: str, left: Any, right: Any, part: str = "") -> str:
    return call.emit(op, [_operand(call, left, "left"), _operand(call, right, "right")], part=part)


def _scaled(call: Call, operand: Any, factor: Any) -> Any:
    """`alpha * operand` of add and sub, as an operand."""
    if factor == 1:
        return operand
    known = call.peek(operand)
    if isinstance(known, Repeated):
        return Repeated(known.sample * factor)
    if isinstance(known, str):
        raise Unsupported("alpha with two activations: multiply first")
    return known * factor


@converts("add.Tensor", "add.Scalar")
def add(call: Call) -> str:
    return _binary(call, "Add", call.args["self"], _scaled(call, call.args["other"], call["alpha"]))


@converts("sub.Tensor", "sub.Scalar")
def sub(call: Call) -> str:
    return _binary(call, "Sub", call.args["self"], _scaled(call, call.args["other"], call["alpha"]))


@converts("rsub.Tensor", "rsub.Scalar")
def rsub(call: Call) -> str:
    if call["alpha"] != 1:
        raise Unsupported("alpha other than 1: multiply first")
    return _binary(call, "Sub", call.args["other"], call.args["self"])


@converts("mul.Tensor", "mul.Scalar")
def mul(call: Call) -> str:
    return _binary(call, "Mul", call.args["self"], call.args["other"])


@converts("div.Tensor", "div.Scalar")
def div(call: Call) -> str:
    return _binary(call, "Div", call.args["self"], call.args["other"])


@converts("reciprocal.default")
def reciprocal(call: Call) -> str:
    return _binary(call, "Div", 1.0, call.args["self"])


@converts("rsqrt.default")
def rsqrt(call: Call) -> str:
    root = call.emit("Activation", [call.value("self")], {"act": "sqrt"}, part="sqrt")
    return call.emit("Div", [call.number(1.0, "one"), root])


@converts("square.default")
def square(call: Call) -> str:
    return _binary(call, "Mul", call.args["self"], call.args["self"])


@converts("pow.Tensor_Scalar")
def power(call: Call) -> str:
    exponent = call["exponent"]
    if exponent == 2:
        return square(call)
    if exponent == 0.5:
        return call.emit("Activation", [call.value("self")], {"act": "sqrt"})
    if exponent == -1:
        return reciprocal(call)
    raise Unsupported(f"exponent {exponent}; 2, 0.5 and -1 are possible")
