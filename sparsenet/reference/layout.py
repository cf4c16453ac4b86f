"""Ops that move, repeat or interpolate elements: concat, slice, pad, reshape, transpose, shuffle, resize."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsenet.reference.types import Array, Attrs, Inputs, required


def concat(inputs: Inputs, attrs: Attrs) -> Array:
    """The inputs one after another along ``axis``."""
    return np.concatenate([required(inputs, i) for i in range(len(inputs))], axis=attrs["axis"])


def slice_(inputs: Inputs, attrs: Attrs) -> Array:
    """``x[..., start:end:step, ...]`` at ``axis``."""
    index = [slice(None)] * required(inputs, 0).ndim
    index[attrs["axis"]] = slice(attrs["start"], attrs["end"], attrs["step"])
    return required(inputs, 0)[tuple(index)]


def pad(inputs: Inputs, attrs: Attrs) -> Array:
    """``pads`` = begin of every axis but 0, then end of every axis but 0; negative pads crop.

    Outside the data stands ``value`` (constant), the mirrored data without its edge (reflect) or the edge (replicate).
    """
    x, pads = required(inputs, 0), attrs["pads"]
    half = x.ndim - 1
    for axis, (begin, end) in enumerate(zip(pads[:half], pads[half:], strict=True), start=1):
        n = x.shape[axis]
        source = np.arange(-begin, n + end)
        outside = (source < 0) | (source >= n)
        if attrs["mode"] == "reflect" and n > 1:
            source = np.abs(source) % (2 * n - 2)
            source = np.minimum(source, 2 * n - 2 - source)
        x = x.take(np.clip(source, 0, n - 1), axis=axis)
        if attrs["mode"] == "constant":
            x = np.where(outside.reshape(-1, *[1] * (x.ndim - 1 - axis)), x.dtype.type(attrs["value"]), x)
    return x


def reshape(inputs: Inputs, attrs: Attrs) -> Array:
    """Row-major; entry 0 keeps the batch axis, one entry may be -1."""
    x = required(inputs, 0)
    return x.reshape(len(x), *attrs["shape"][1:])


def transpose(inputs: Inputs, attrs: Attrs) -> Array:
    """``y`` has axis ``perm[i]`` of ``x`` as its axis ``i``."""
    return required(inputs, 0).transpose(attrs["perm"])


def channel_shuffle(inputs: Inputs, attrs: Attrs) -> Array:
    """Channel ``i*(C/groups) + j`` moves to ``j*groups + i``."""
    x, groups = required(inputs, 0), attrs["groups"]
    batch, channels, *rest = x.shape
    return x.reshape(batch, groups, channels // groups, *rest).swapaxes(1, 2).reshape(x.shape)


def nearest_source(out: int, n: int, scale: float) -> NDArray[np.intp]:
    """The input sample each output sample copies: ``min(floor(i*scale), n-1)``. The product is rounded to fp32, because
    torch does so and a floor makes that visible."""
    position = np.floor(np.arange(out, dtype=np.float32) * np.float32(scale))
    source: NDArray[np.intp] = np.minimum(position.astype(np.intp), n - 1)
    return source


def linear_source(out: int, n: int, scale: float, align_corners: bool) -> NDArray[np.float64]:
    """Where each output sample lies between input samples, in [0, n-1]: pixel centres, or corner on corner."""
    i = np.arange(out, dtype=np.float64)
    if align_corners:
        return i * ((n - 1) / (out - 1) if out > 1 else 0.0)
    return np.clip((i + 0.5) * scale - 0.5, 0, n - 1)


def resize(inputs: Inputs, attrs: Attrs) -> Array:
    """Spatial axes resampled to ``output``, nearest or (bi)linear.

    ``scale`` is the input step per output sample of each spatial axis. Linear interpolation is separable:
    ``y = (1-t) x[floor(p)] + t x[floor(p)+1]`` with ``p`` the source position and ``t`` its fraction.
    """
    x = required(inputs, 0)
    for axis, (out, scale) in enumerate(zip(attrs["output"], attrs["scale"], strict=True), start=2):
        n = x.shape[axis]
        if attrs["mode"] == "nearest":
            x = x.take(nearest_source(out, n, scale), axis=axis)
            continue
        at = linear_source(out, n, scale, bool(attrs["align_corners"]))
        low = np.minimum(at.astype(np.intp), n - 1)
        t = (at - low).astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1 - axis))
        x = (1 - t) * x.take(low, axis=axis) + t * x.take(np.minimum(low + 1, n - 1), axis=axis)
    return x


def identity(inputs: Inputs, attrs: Attrs) -> Array:
    """``y = x``."""
    return required(inputs, 0)
