r"""How far from the truth an fp32 engine may be: forward error analysis, op by op.

With u = 2^-24 the unit roundoff of fp32, one contraction with K nonzero products is held to

    |y - ref| <= c * sqrt(K) * u * (sum |w x| + |b| + |res|)  =: local error

The worst case has K in place of sqrt(K) (Higham, Accuracy and Stability of Numerical Algorithms, ch. 3); roundings
behave like independent random variables, so sqrt(K) holds with overwhelming probability for c of a few (Higham and
Mary, A new approach to probabilistic rounding error analysis, 2019). It is independent of the order of summation, so
every kernel must meet it. K counts nonzero weights only: a zero contributes no rounding.

An error E of the inputs travels on through an op in one of two ways:

- worst case: sum |w| E. Sound always. It grows by about sqrt(K) more per layer than real errors do, so it means
  something for one op or a few, not for a deep network.
- statistical: sqrt(sum w^2 E^2), the deviation of a sum of independent errors; additions (residuals among them) and
  products alike. An estimate, and not a bound, but a generous one, because the local errors it starts from are
  themselves one or two orders of magnitude above what roundings do. Averages take errors as fully correlated.

Monotone activations map the interval [z-E, z+E] exactly (so a ReLU that is surely off passes nothing on). The others
multiply by their Lipschitz constant; statistically, by the slope around z, as monotone ones do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sparsenet.reference import pool
from sparsenet.reference.elementwise import ACTIVATIONS, per_channel
from sparsenet.reference.interpret import arguments, evaluate, run
from sparsenet.reference.layout import linear_source
from sparsenet.reference.types import Array, Attrs, GraphLike, Inputs, optional, required

UNIT = 2.0**-24
TINY = 2.0**-126  # fp32's smallest normal number: kernels may flush what is smaller to zero

_MONOTONE = {"none", "relu", "clip", "leaky_relu", "sigmoid", "tanh", "hard_sigmoid", "exp", "sqrt", "neg"}
_LIPSCHITZ = {"silu": 1.0999, "hard_swish": 1.5, "gelu": 1.1290, "gelu_tanh": 1.1290, "abs": 1.0}
_PLAIN = {"act": "none", "act_a": 0.0, "act_b": 0.0}


@dataclass(frozen=True)
class Problem:
    """One node: its exact inputs, the errors they carry (None: none), and how to measure."""

    op: str
    inputs: Inputs
    errors: Sequence[Array | None]
    attrs: Attrs
    unit: float  # c * u
    statistical: bool

    def both(self, a: Array, b: Array) -> Array:
        """The error of a sum whose terms carry the errors a and b."""
        return np.hypot(a, b) if self.statistical else a + b

    def x(self) -> Array:
        return required(self.inputs, 0)

    def error(self, index: int) -> Array:
        """Error of an input; zeros where it is exact or absent."""
        error = self.errors[index] if index < len(self.errors) else None
        return np.zeros_like(required(self.inputs, index)) if error is None else error

    def apply(self, inputs: Inputs, **attrs: object) -> Array:
        """The same op on other inputs, attributes replaced."""
        return evaluate(self.op, inputs, {**self.attrs, **attrs})


def _act_local(act: str, z: Array, y: Array) -> Array | float:
    """The rounding error of an activation itself, in units of c*u, given its input z and output y."""
    if act in ("none", "relu", "abs", "neg"):
        return 0.0
    if act in ("gelu", "gelu_tanh", "hard_swish"):
        return np.abs(z)  # x * (1 + f) with f near -1 cancels: the error is relative to x, not to y
    if act == "hard_sigmoid":
        return 1.0
    return np.abs(y)


def _act(problem: Problem, z: Array, error: Array) -> Array:
    """The error after the node's activation, for a value z that carries ``error``."""
    act, a, b = problem.attrs["act"], problem.attrs["act_a"], problem.attrs["act_b"]
    function = ACTIVATIONS[act]
    with np.errstate(over="ignore", invalid="ignore"):
        y = function(z, a, b)
        if not problem.statistical and (act in _LIPSCHITZ or (act == "leaky_relu" and a < 0)):
            moved = _LIPSCHITZ.get(act, max(1.0, abs(a))) * error
        else:
            low = np.maximum(z - error, 0) if act == "sqrt" else z - error
            moved = np.maximum(np.abs(function(z + error, a, b) - y), np.abs(y - function(low, a, b)))
        after: Array = moved + problem.unit * _act_local(act, z, y)
        return after


def _contraction(problem: Problem) -> Array:
    """Conv, ConvTranspose, Linear: the local error of the module's head, and sum |w| E or sqrt(sum w^2 E^2)."""
    x, w = problem.x(), required(problem.inputs, 1)
    bias, residual = optional(problem.inputs, 2), optional(problem.inputs, 3)
    z = problem.apply(problem.inputs, **_PLAIN)
    magnitude = problem.apply(
        [np.abs(x), np.abs(w), None if bias is None else np.abs(bias), None if residual is None else np.abs(residual)],
        **_PLAIN,
    )
    if problem.op == "ConvTranspose":
        groups = problem.attrs["groups"]
        terms = (w.reshape(groups, -1, *w.shape[1:]) != 0).sum(axis=(1, *range(3, w.ndim + 1))).reshape(-1)
    else:
        terms = (w != 0).sum(axis=tuple(range(1, w.ndim)))
    shape = (-1,) if problem.op == "Linear" else (-1, *[1] * (x.ndim - 2))
    error = problem.unit * np.sqrt(terms + 2).reshape(shape) * magnitude  # + 2: bias and residual are terms too
    if problem.errors[0] is not None:
        power = 2 if problem.statistical else 1
        moved = problem.apply([problem.error(0) ** power, np.abs(w) ** power], **_PLAIN)
        error = problem.both(error, moved ** (1 / power))
    if residual is not None:
        error = problem.both(error, problem.error(3))
    return _act(problem, z, error)


def _arithmetic(problem: Problem) -> Array:
    """Add, Sub, Mul, Div of two values that carry errors; one rounding (division: by a reciprocal, two)."""
    a, b = required(problem.inputs, 0), required(problem.inputs, 1)
    z, ea, eb = problem.apply(problem.inputs, **_PLAIN), problem.error(0), problem.error(1)
    if problem.op in ("Add", "Sub"):
        moved = problem.both(ea, eb)
    elif problem.op == "Mul":
        moved = problem.both(np.abs(a) * eb, np.abs(b) * ea) + ea * eb
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.where(np.abs(b) > eb, (ea + np.abs(z) * eb) / (np.abs(b) - eb), np.inf)
    return _act(problem, z, moved + problem.unit * np.abs(z))


def _batch_norm(problem: Problem) -> Array:
    """As x * scale + shift, the form in which it is folded; scale and shift carry roundings of their own."""
    x = problem.x()
    gamma, beta, mean, var = (per_channel(required(problem.inputs, i), x) for i in range(1, 5))
    scale = np.abs(gamma) / np.sqrt(var + problem.attrs["eps"])
    error: Array = scale * problem.error(0) + problem.unit * ((np.abs(x) + np.abs(mean)) * scale + np.abs(beta))
    return _act(problem, problem.apply(problem.inputs, **_PLAIN), error)


def _prelu(problem: Problem) -> Array:
    slope = per_channel(required(problem.inputs, 1), problem.x())
    y = problem.apply(problem.inputs)
    return np.maximum(1, np.abs(slope)) * problem.error(0) + problem.unit * np.abs(y)


def _softmax(problem: Problem) -> Array:
    """The logarithm of y_i moves by at most E_i + log sum_j y_j exp(E_j), the second term being what the normaliser
    moves. x - max rounds relative to itself, and the sum of K like any other."""
    x, axis, log = problem.x(), problem.attrs["axis"], problem.attrs["log"]
    y = problem.apply(problem.inputs)
    p = np.exp(y) if log else y
    moved = problem.error(0) + np.log1p((p * np.expm1(problem.error(0))).sum(axis=axis, keepdims=True))
    shifted = np.abs(x - x.max(axis=axis, keepdims=True))
    relative = moved + problem.unit * (shifted + math.sqrt(x.shape[axis]))
    error: Array = relative + problem.unit * np.abs(y) if log else y * np.expm1(relative)
    return error


def _average(problem: Problem) -> Array:
    terms = pool.window_size(problem.x(), problem.op, problem.attrs)
    local = problem.unit * math.sqrt(terms) * problem.apply([np.abs(problem.x())])
    return problem.apply([problem.error(0)]) + local


def _selection(problem: Problem) -> Array:
    """Max pooling: the maximum moves by no more than the largest error in its window; nothing is rounded."""
    error = problem.apply([problem.error(0)])
    return np.maximum(error, 0)  # a window of padding only gives -inf


def _movement(problem: Problem) -> Array:
    """Ops that only move elements carry errors along unchanged."""
    errors = [problem.error(i) for i in range(len(problem.inputs))]
    return problem.apply(errors, value=0.0) if problem.op == "Pad" else problem.apply(errors)


def _resize(problem: Problem) -> Array:
    """Linear interpolation rounds its products, and its fp32 positions by u * position, which weighs differences of
    neighbours: at most twice their magnitude."""
    moved = problem.apply([problem.error(0)])
    if problem.attrs["mode"] == "nearest":
        return moved
    x, output, scales = problem.x(), problem.attrs["output"], problem.attrs["scale"]
    position = 0.0
    for axis, (out, scale) in enumerate(zip(output, scales, strict=True), start=2):
        position += linear_source(out, x.shape[axis], scale, bool(problem.attrs["align_corners"])).max()
    near = np.abs(x)
    for axis in range(2, x.ndim):  # a rounded position may touch the neighbour next to the two that it should
        edge = [(1, 1) if i == axis else (0, 0) for i in range(x.ndim)]
        view = np.lib.stride_tricks.sliding_window_view(np.pad(near, edge, mode="edge"), 3, axis=axis)
        near = view.max(axis=-1)
    return moved + problem.unit * (1 + position) * problem.apply([near])


_BOUNDS: dict[str, Callable[[Problem], Array]] = {
    "Conv": _contraction,
    "ConvTranspose": _contraction,
    "Linear": _contraction,
    "BatchNorm": _batch_norm,
    "Activation": lambda p: _act(p, p.x(), p.error(0)),
    "PRelu": _prelu,
    "Softmax": _softmax,
    "Add": _arithmetic,
    "Sub": _arithmetic,
    "Mul": _arithmetic,
    "Div": _arithmetic,
    "MaxPool": _selection,
    "AvgPool": _average,
    "AdaptiveAvgPool": _average,
    "AdaptiveMaxPool": _selection,
    "Mean": _average,
    "Concat": _movement,
    "Slice": _movement,
    "Pad": _movement,
    "Reshape": _movement,
    "Transpose": _movement,
    "ChannelShuffle": _movement,
    "Resize": _resize,
    "Identity": _movement,
}


def node_bound(
    op: str,
    inputs: Inputs,
    attrs: Attrs,
    errors: Sequence[Array | None] | None = None,
    c: float = 8,
    statistical: bool = False,
) -> Array:
    """The error that one op's fp32 output may have, elementwise, shape of the output.

    Args:
        op, inputs, attrs: the op, its exact inputs in fp64, its complete attributes.
        errors: what each input is off by already; None for inputs that are exact.
        c: the constant in front of every local error.
        statistical: how input errors travel through contractions; see the module's head.
    """
    carried = [None] * len(inputs) if errors is None else errors
    return _BOUNDS[op](Problem(op, inputs, carried, attrs, c * UNIT, statistical)) + TINY


def bound(
    graph: GraphLike,
    inputs: Mapping[str, ArrayLike] | Sequence[ArrayLike],
    c: float = 8,
    statistical: bool = True,
    values: bool = False,
) -> dict[str, Array]:
    """The error that a whole network's fp32 outputs may have, by value name.

    Args:
        graph, inputs, values: as for :func:`sparsenet.reference.run`.
        c: the constant in front of every local error.
        statistical: the estimate that stays meaningful in depth (default), or the worst case, which is sound but
            explodes: use it for a few layers.
    """
    known = run(graph, inputs, np.float64, values=True)
    errors: dict[str, Array] = {}
    for node in graph.nodes:
        args = arguments(graph, node, known, np.float64)
        carried = [None if name is None else errors.get(name) for name in node.inputs]
        errors[node.output] = node_bound(node.op, args, node.attrs, carried, c, statistical)
    names = known if values else [name for name, _ in graph.outputs]
    exact = np.zeros(1)
    return {name: errors.get(name, np.zeros_like(known.get(name, exact))) for name in names}
