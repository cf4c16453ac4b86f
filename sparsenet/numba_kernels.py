"""Sparse kernels in Python, compiled by Numba, on the packed streams that the C++ kernels read.

Here is the place to try a kernel idea: change a loop, run ``sparsenet.compile(graph, backend="numba")``, compare.

The stream (:func:`sparsenet._core.pack`) holds the nonzeros of ``w[groups, M, K]`` in blocks of br x bc, cut into
k-blocks of kc columns: segment ``s = (g*k_blocks + kb)*row_blocks + rb`` holds the entries ``start[s] <= e <
start[s+1]``, and ``value[(e*bc + j)*br + i] = w[g, rb*br + i, kb*kc + column[e] + j]``.

A convolution is ``w[M, K]`` times the implicit im2col matrix ``[K, pixels]``. For each tile of pixels and each k-block
the rows of that matrix are copied into a panel that stays in the L1 cache, and every row of w runs over the panel. A
fully connected layer does the same with its batch as the pixels, or row by row (SpMV) where the batch is small.

Kernels take a range of independent tasks and release the GIL, so that threads can share them out. ``contract`` lets
LLVM form FMAs, which round once less; ``reassoc`` lets it vectorise a sum, in an order that the error bound of a
contraction does not depend on. Neither assumes away infinities or NaNs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(*fastmath: str) -> Callable[[Function], Function]:
    """Compile in nopython mode on first use, keep the machine code on disk, release the GIL."""
    compiler = numba.njit(nogil=True, cache=True, fastmath=set(fastmath), error_model="numpy")
    return cast(Callable[[Function], Function], compiler)


class Stream(NamedTuple):
    """Packed weights; see the module's head."""

    br: int
    bc: int
    kc: int
    k_blocks: int
    row_blocks: int
    start: NDArray[np.uint32]
    column: NDArray[np.uint16]
    value: Floats


class Window(NamedTuple):
    """The geometry of a convolution, per group; a 1-D one has height 1."""

    groups: int
    M: int
    K: int
    C: int
    H: int
    W: int
    OH: int
    OW: int
    KH: int
    KW: int
    SH: int
    SW: int
    DH: int
    DW: int
    top: int
    left: int


@kernel("contract")
def multiply(sums: Floats, panel: Floats, weights: Stream, segment: int, row: int) -> None:
    """``sums[row + i, :] += w[i, k] * panel[k, :]`` over one segment, br rows of the weights."""
    first, last = int(weights.start[segment]), int(weights.start[segment + 1])
    column, value, br, bc = weights.column, weights.value, weights.br, weights.bc
    width = panel.shape[1]
    if br * bc == 1:
        # Four entries a pass: the sums are loaded and stored once for four products.
        y = sums[row]
        e = first
        while e + 4 <= last:
            w0, w1, w2, w3 = value[e], value[e + 1], value[e + 2], value[e + 3]
            x0, x1, x2, x3 = panel[column[e]], panel[column[e + 1]], panel[column[e + 2]], panel[column[e + 3]]
            for t in range(width):
                y[t] += w0 * x0[t] + w1 * x1[t] + w2 * x2[t] + w3 * x3[t]
            e += 4
        while e < last:
            w0, x0 = value[e], panel[column[e]]
            for t in range(width):
                y[t] += w0 * x0[t]
            e += 1
        return
    for e in range(first, last):
        for j in range(bc):
            x = panel[column[e] + j]
            for i in range(br):
                w = value[(e * bc + j) * br + i]
                y = sums[row + i]
                for t in range(width):
                    y[t] += w * x[t]


@kernel()
def pack_panel(panel: Floats, plane: Floats, q: Window, pixel: int, count: int, k0: int, k1: int) -> None:
    """``panel[k - k0, t] = x[c, oh*SH + kh*DH - top, ow*SW + kw*DW - left]`` for output pixel ``pixel + t`` and
    ``k = (c*KH + kh)*KW + kw``; zero outside of x, and in the rows from k1 on that a block may reach into."""
    for k in range(k0, k1):
        c, tap = divmod(k, q.KH * q.KW)
        kh, kw = divmod(tap, q.KW)
        dh, dw = kh * q.DH - q.top, kw * q.DW - q.left
        row = panel[k - k0]
        t = 0
        while t < count:  # one run of pixels for each output row that the tile touches
            oh, ow = divmod(pixel + t, q.OW)
            run = min(q.OW - ow, count - t)
            ih = oh * q.SH + dh
            if ih < 0 or ih >= q.H:
                row[t : t + run] = 0
            else:
                source = plane[c, ih]
                for i in range(run):
                    iw = (ow + i) * q.SW + dw
                    row[t + i] = source[iw] if 0 <= iw < q.W else np.float32(0)
            t += run
    panel[k1 - k0 :] = 0


@kernel("contract")
def conv(
    begin: int,
    end: int,
    q: Window,
    weights: Stream,
    tile: int,
    bias: Floats,
    low: float,
    high: float,
    x: Floats,
    residual: Floats,
    y: Floats,
) -> None:
    """Tasks [begin, end) of a convolution: one tile of one group of one image each.

    ``x[N, groups*C, H, W]``, ``residual`` and ``y[N*groups, M, pixels]`` (an empty residual: none),
    ``y = clamp(w * im2col(x) + bias + residual, low, high)``.
    """
    pixels = q.OH * q.OW
    tiles = (pixels + tile - 1) // tile
    panel = np.zeros((weights.kc + weights.bc, tile), np.float32)
    sums = np.zeros((weights.row_blocks * weights.br, tile), np.float32)
    for task in range(begin, end):
        image, at = divmod(task, tiles)
        pixel = at * tile
        count = min(tile, pixels - pixel)
        n, g = divmod(image, q.groups)
        sums[:] = 0
        for kb in range(weights.k_blocks):
            k0 = kb * weights.kc
            pack_panel(panel, x[n, g * q.C : (g + 1) * q.C], q, pixel, count, k0, min(k0 + weights.kc, q.K))
            segment = (g * weights.k_blocks + kb) * weights.row_blocks
            for rb in range(weights.row_blocks):
                multiply(sums, panel, weights, segment + rb, rb * weights.br)
        for m in range(q.M):
            b = bias[g * q.M + m]
            for t in range(count):
                v = sums[m, t] + b
                if residual.size:
                    v += residual[image, m, pixel + t]
                y[image, m, pixel + t] = min(max(v, low), high)


@kernel("contract")
def linear(
    begin: int,
    end: int,
    weights: Stream,
    tile: int,
    bias: Floats,
    low: float,
    high: float,
    x: Floats,
    residual: Floats,
    y: Floats,
) -> None:
    """Tasks [begin, end) of a fully connected layer: one tile of rows of ``x[rows, K]`` each; ``y[rows, M]``."""
    panel = np.zeros((weights.kc + weights.bc, tile), np.float32)
    sums = np.zeros((weights.row_blocks * weights.br, tile), np.float32)
    for task in range(begin, end):
        first = task * tile
        count = min(tile, len(x) - first)
        sums[:] = 0
        for kb in range(weights.k_blocks):
            k0 = kb * weights.kc
            k1 = min(k0 + weights.kc, x.shape[1])
            for t in range(count):
                panel[: k1 - k0, t] = x[first + t, k0:k1]
            panel[k1 - k0 :] = 0
            for rb in range(weights.row_blocks):
                multiply(sums, panel, weights, kb * weights.row_blocks + rb, rb * weights.br)
        for t in range(count):
            for m in range(y.shape[1]):
                v = sums[m, t] + bias[m]
                if residual.size:
                    v += residual[first + t, m]
                y[first + t, m] = min(max(v, low), high)


@kernel("contract", "reassoc")
def dot(index: NDArray[np.uint16], value: Floats, x: Floats) -> np.float32:
    """``sum_e value[e] * x[index[e]]``."""
    s = np.float32(0)
    for e in range(len(value)):
        s += value[e] * x[index[e]]
    return s


@kernel("contract")
def spmv(
    begin: int,
    end: int,
    weights: Stream,
    bias: Floats,
    low: float,
    high: float,
    x: Floats,
    residual: Floats,
    y: Floats,
) -> None:
    """Rows [begin, end) of the weights (blocks of 1x1) times each row of ``x[rows, K]``: every weight is read once."""
    for m in range(begin, end):
        for n in range(len(x)):
            v = bias[m]
            for kb in range(weights.k_blocks):
                segment = kb * weights.row_blocks + m
                first, last = weights.start[segment], weights.start[segment + 1]
                v += dot(weights.column[first:last], weights.value[first:last], x[n, kb * weights.kc :])
            if residual.size:
                v += residual[n, m]
            y[n, m] = min(max(v, low), high)
