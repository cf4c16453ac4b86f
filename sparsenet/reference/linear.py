"""Convolution, transposed convolution and fully connected layers: the ops that contract with a weight."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sparsenet.reference.elementwise import activation
from sparsenet.reference.types import Array, Attrs, Inputs, optional, required


def pad_zeros(x: Array, padding: Sequence[int]) -> Array:
    """Zeros around the spatial axes; ``padding`` = begin of each, then end of each."""
    spatial = x.ndim - 2
    return np.pad(x, [(0, 0), (0, 0), *zip(padding[:spatial], padding[spatial:], strict=True)])


def windows(x: Array, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Array:
    """A view ``[N, C, *out, *kernel]`` of ``x[N, C, *in]``: ``v[n,c,o,k] = x[n,c,o*stride + k*dilation]``."""
    spatial = len(kernel)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    view = sliding_window_view(x, reach, axis=tuple(range(2, 2 + spatial)))
    step = [slice(None, None, s) for s in stride]
    taps = [slice(None, None, d) for d in dilation]
    return view[(slice(None), slice(None), *step, *taps)]


def epilogue(y: Array, inputs: Inputs, attrs: Attrs, bias_shape: Sequence[int]) -> Array:
    """``act(y + bias + residual)``: what every contraction ends with."""
    bias, residual = optional(inputs, 2), optional(inputs, 3)
    if bias is not None:
        y = y + bias.reshape(bias_shape)
    if residual is not None:
        y = y + residual
    return activation([y], attrs)


def conv(inputs: Inputs, attrs: Attrs) -> Array:
    """``y[n,m,o] = act(sum_{c,k} w[m,c,k] x[n, g*C/G + c, o*stride + k*dilation - pad] + b[m] + res[n,m,o])``.

    ``x[N,C,*in]``, ``w[M,C/G,*kernel]`` with ``g = m // (M/G)`` the group of output channel ``m``; cross-correlation,
    as everywhere in deep learning. Computed as im2col, one sample at a time so that memory stays bounded.
    """
    x, w = required(inputs, 0), required(inputs, 1)
    groups, out_channels, kernel = attrs["groups"], w.shape[0], w.shape[2:]
    view = windows(pad_zeros(x, attrs["padding"]), kernel, attrs["stride"], attrs["dilation"])
    out_size = view.shape[2 : 2 + len(kernel)]
    rows = w.reshape(groups, out_channels // groups, -1)
    y = np.empty((len(x), out_channels, *out_size), dtype=x.dtype)
    for sample, result in zip(view, y, strict=True):
        spatial = len(kernel)
        columns = sample.transpose(0, *range(1 + spatial, 1 + 2 * spatial), *range(1, 1 + spatial))
        columns = columns.reshape(groups, rows.shape[2], prod(out_size))
        result[...] = (rows @ columns).reshape(result.shape)
    return epilogue(y, inputs, attrs, (-1, *[1] * len(kernel)))


def conv_transpose(inputs: Inputs, attrs: Attrs) -> Array:
    """``y[n,m,i*stride + k*dilation - pad] += x[n,c,i] w[c,m,k]``: the adjoint of :func:`conv`, then bias and act.

    ``x[N,C,*in]``, ``w[C,M/G,*kernel]``; size ``(in-1)*stride - pads + dilation*(k-1) + 1 + output_padding``.
    """
    x, w = required(inputs, 0), required(inputs, 1)
    groups, kernel, in_size = attrs["groups"], w.shape[2:], x.shape[2:]
    stride, dilation, padding = attrs["stride"], attrs["dilation"], attrs["padding"]
    spatial, batch = len(kernel), len(x)
    full = [
        (n - 1) * s + d * (k - 1) + 1 + extra
        for n, s, d, k, extra in zip(in_size, stride, dilation, kernel, attrs["output_padding"], strict=True)
    ]
    grouped = x.reshape(batch, groups, x.shape[1] // groups, prod(in_size))
    taps = w.reshape(groups, w.shape[0] // groups, w.shape[1], *kernel)
    y = np.zeros((batch, groups * w.shape[1], *full), dtype=x.dtype)
    for tap in np.ndindex(*kernel):
        part = taps[(..., *tap)].swapaxes(1, 2) @ grouped
        at = tuple(
            slice(k * d, k * d + (n - 1) * s + 1, s) for k, d, n, s in zip(tap, dilation, in_size, stride, strict=True)
        )
        y[(slice(None), slice(None), *at)] += part.reshape(batch, -1, *in_size)
    begin, end = padding[:spatial], padding[spatial:]
    crop = tuple(slice(b, n - e) for b, e, n in zip(begin, end, full, strict=True))
    return epilogue(y[(slice(None), slice(None), *crop)], inputs, attrs, (-1, *[1] * spatial))


def linear(inputs: Inputs, attrs: Attrs) -> Array:
    """``y[...,m] = act(sum_k x[...,k] w[m,k] + b[m] + res[...,m])``, ``x[N,...,K]``, ``w[M,K]``."""
    return epilogue(required(inputs, 0) @ required(inputs, 1).T, inputs, attrs, (-1,))
