"""Pooling over windows, over adaptive windows and over whole axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod

import numpy as np

from sparsenet.reference.linear import windows
from sparsenet.reference.types import Array, Attrs, Inputs, required


def out_size(n: int, kernel: int, stride: int, dilation: int, begin: int, end: int, ceil_mode: bool) -> int:
    """Windows along an axis of ``n`` elements. With ``ceil_mode`` the last may hang over the end, but none may start
    in the padding after the data (torch's rule)."""
    span = n + begin + end - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return span // stride + 1
    out = -(-span // stride) + 1
    return out - 1 if (out - 1) * stride >= n + begin else out


def _axes(x: Array, attrs: Attrs) -> list[tuple[int, int, int, int, int, int, int]]:
    """For each spatial axis: size, kernel, stride, dilation, begin, end, number of windows."""
    spatial = x.ndim - 2
    dilation = attrs.get("dilation", [1] * spatial)
    padding = attrs["padding"]
    result = []
    for axis in range(spatial):
        n, k, s, d = x.shape[2 + axis], attrs["kernel"][axis], attrs["stride"][axis], dilation[axis]
        begin, end = padding[axis], padding[spatial + axis]
        result.append((n, k, s, d, begin, end, out_size(n, k, s, d, begin, end, bool(attrs["ceil_mode"]))))
    return result


def _reduce_windows(x: Array, attrs: Attrs, fill: float, combine: Callable[[Array, Array], Array]) -> Array:
    """Every window of ``x`` reduced to one element, a tap at a time; outside of ``x`` stands ``fill``, also where
    ceil_mode hangs over the end."""
    axes = _axes(x, attrs)
    pads = [(begin, max(0, (out - 1) * s + d * (k - 1) + 1 - n - begin)) for n, k, s, d, begin, _, out in axes]
    padded = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    view = windows(padded, [a[1] for a in axes], [a[2] for a in axes], [a[3] for a in axes])
    view = view[(slice(None), slice(None), *[slice(a[6]) for a in axes])]
    return reduce(combine, [view[(..., *tap)] for tap in np.ndindex(*attrs["kernel"])])


def max_pool(inputs: Inputs, attrs: Attrs) -> Array:
    """``y[n,c,o] = max_k x[n,c,o*stride + k*dilation - pad]``, the padding being -inf."""
    return _reduce_windows(required(inputs, 0), attrs, -np.inf, np.maximum)


def _counts(x: Array, attrs: Attrs) -> Array:
    """The divisor of every output of an average pool: the window's elements inside the data, or inside data and
    padding. What ceil_mode hangs over beyond the padding never counts."""
    counts = np.ones([1] * (x.ndim - 2), dtype=x.dtype)
    for axis, (n, k, s, _, begin, end, out) in enumerate(_axes(x, attrs)):
        low = np.arange(out) * s - begin
        high = np.minimum(low + k, n + end)
        if not attrs["count_include_pad"]:
            low, high = np.maximum(low, 0), np.minimum(high, n)
        shape = [1] * (x.ndim - 2)
        shape[axis] = out
        counts = counts * np.maximum(high - low, 1).reshape(shape).astype(x.dtype)
    return counts


def avg_pool(inputs: Inputs, attrs: Attrs) -> Array:
    """``y[n,c,o] = sum_k x[n,c,o*stride + k - pad] / divisor``.

    The divisor is ``divisor_override`` where that is not 0, else the window's size: with the padding
    (count_include_pad) or without.
    """
    x = required(inputs, 0)
    return _reduce_windows(x, attrs, 0, np.add) / (attrs["divisor_override"] or _counts(x, attrs))


def adaptive_windows(length: int, out: int) -> list[tuple[int, int]]:
    """Window i of ``out`` over ``length``: ``[floor(i*length/out), ceil((i+1)*length/out))``."""
    return [(i * length // out, -(-(i + 1) * length // out)) for i in range(out)]


def _adaptive(x: Array, output: Sequence[int], statistic: Callable[..., Array]) -> Array:
    for axis, out in enumerate(output, start=2):  # means and maxima over boxes separate into axes
        parts = [statistic(np.moveaxis(x, axis, 0)[a:b], axis=0) for a, b in adaptive_windows(x.shape[axis], out)]
        x = np.stack(parts, axis=axis)
    return x


def adaptive_avg_pool(inputs: Inputs, attrs: Attrs) -> Array:
    """The mean over each of ``output`` windows that cover the spatial axes."""
    return _adaptive(required(inputs, 0), attrs["output"], np.mean)


def adaptive_max_pool(inputs: Inputs, attrs: Attrs) -> Array:
    """The maximum over each of ``output`` windows that cover the spatial axes."""
    return _adaptive(required(inputs, 0), attrs["output"], np.max)


def mean(inputs: Inputs, attrs: Attrs) -> Array:
    """The mean over ``axes``, which stay as 1 with ``keepdim``."""
    x = required(inputs, 0)
    result: Array = x.mean(axis=tuple(attrs["axes"]), keepdims=bool(attrs["keepdim"]))
    return result


def window_size(x: Array, op: str, attrs: Attrs) -> int:
    """The largest number of elements that one output of an averaging op sums."""
    if op == "Mean":
        return prod(x.shape[axis] for axis in attrs["axes"])
    if op == "AvgPool":
        return prod(attrs["kernel"])
    return prod(-(-n // out) + 1 for n, out in zip(x.shape[2:], attrs["output"], strict=True))
