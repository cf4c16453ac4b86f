"""Activations, normalisation, softmax and arithmetic: ops that work element by element (softmax: along one axis)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sparsenet.reference.types import Array, Attrs, Inputs, required

_erf = np.vectorize(math.erf, otypes=[np.float64])  # NumPy has no erf; the C library's is correct to an ulp


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))  # never overflows
    y: Array = np.where(x >= 0, 1, e) / (1 + e)
    return y


def _gelu(x: Array) -> Array:
    half: Array = (0.5 * (1 + _erf(x / math.sqrt(2)))).astype(x.dtype)
    return x * half


def _gelu_tanh(x: Array) -> Array:
    y: Array = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return y


#: name -> f(x, a, b); a and b mean what the op table says (clip: bounds, leaky_relu: slope).
ACTIVATIONS: dict[str, Callable[[Array, float, float], Array]] = {
    "none": lambda x, a, b: x,
    "relu": lambda x, a, b: np.maximum(x, 0),
    "clip": lambda x, a, b: np.clip(x, a, b),
    "leaky_relu": lambda x, a, b: np.where(x >= 0, x, a * x),
    "silu": lambda x, a, b: x * _sigmoid(x),
    "hard_swish": lambda x, a, b: x * np.clip(x + 3, 0, 6) / 6,
    "hard_sigmoid": lambda x, a, b: np.clip(x + 3, 0, 6) / 6,
    "sigmoid": lambda x, a, b: _sigmoid(x),
    "tanh": lambda x, a, b: np.tanh(x),
    "gelu": lambda x, a, b: _gelu(x),
    "gelu_tanh": lambda x, a, b: _gelu_tanh(x),
    "exp": lambda x, a, b: np.exp(x),
    "sqrt": lambda x, a, b: np.sqrt(x),
    "abs": lambda x, a, b: np.abs(x),
    "neg": lambda x, a, b: -x,
}


def activation(inputs: Inputs, attrs: Attrs) -> Array:
    """``y = act(x)``; see :data:`ACTIVATIONS` for the formulas. Also the epilogue of every op that has one."""
    with np.errstate(over="ignore", invalid="ignore"):  # exp -> inf and sqrt(-1) -> nan are the right answers
        return ACTIVATIONS[attrs["act"]](required(inputs, 0), attrs["act_a"], attrs["act_b"])


def per_channel(parameter: Array, x: Array) -> Array:
    """``parameter[C]`` shaped so that it broadcasts along axis 1 of ``x``."""
    return parameter.reshape(-1, *[1] * (x.ndim - 2))


def batch_norm(inputs: Inputs, attrs: Attrs) -> Array:
    """``y[n,c,...] = act((x - mean[c]) / sqrt(var[c] + eps) * gamma[c] + beta[c])``."""
    x = required(inputs, 0)
    gamma, beta, mean, var = (per_channel(required(inputs, i), x) for i in range(1, 5))
    return activation([(x - mean) / np.sqrt(var + attrs["eps"]) * gamma + beta], attrs)


def prelu(inputs: Inputs, attrs: Attrs) -> Array:
    """``y = x if x >= 0 else slope[c] * x``; one slope may serve all channels."""
    x = required(inputs, 0)
    return np.where(x >= 0, x, per_channel(required(inputs, 1), x) * x)


def softmax(inputs: Inputs, attrs: Attrs) -> Array:
    """``y = exp(x) / sum(exp(x))`` along ``axis``, or its logarithm; the maximum is taken out first."""
    x, axis = required(inputs, 0), attrs["axis"]
    shifted = x - x.max(axis=axis, keepdims=True)
    total = np.exp(shifted).sum(axis=axis, keepdims=True)
    y: Array = shifted - np.log(total) if attrs["log"] else np.exp(shifted) / total
    return y


def _arithmetic(function: Callable[[Array, Array], Array]) -> Callable[[Inputs, Attrs], Array]:
    def op(inputs: Inputs, attrs: Attrs) -> Array:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return activation([function(required(inputs, 0), required(inputs, 1))], attrs)

    op.__doc__ = f"``y = act({function.__name__}(a, b))`` under NumPy's broadcasting."
    return op


add = _arithmetic(np.add)
subtract = _arithmetic(np.subtract)
multiply = _arithmetic(np.multiply)
divide = _arithmetic(np.divide)
