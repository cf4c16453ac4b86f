"""Reductions over axes other than the batch."""

from __future__ import annotations

from sparsenet.frontends.onnx_ops.call import Call
from sparsenet.frontends.onnx_ops.table import Unsupported, converts
from sparsenet.frontends.onnx_ops.windows import elements

_REDUCE = "axes:ints keepdims:int noop_with_empty_axes:int"


def axes_of(call: Call) -> list[int]:
    """The axes in order; empty for a reduction that does nothing."""
    rank = len(call.shape())
    given = call.ints(1, "axes")
    if not given:
        if call.get("noop_with_empty_axes", 0):
            return []
        given = list(range(rank))
    return sorted({call.axis(axis, rank) for axis in given})


@converts("ReduceMean", attributes=_REDUCE)
def mean(call: Call) -> str:
    axes = axes_of(call)
    if not axes:
        return call.value()
    return call.emit("Mean", [call.value()], {"axes": axes, "keepdim": call.get("keepdims", 1)})


@converts("ReduceSum", attributes=_REDUCE)
def total(call: Call) -> str:
    axes = axes_of(call)
    if not axes:
        return call.value()
    attrs = {"axes": axes, "keepdim": call.get("keepdims", 1)}
    average = call.emit("Mean", [call.value()], attrs, part="mean")
    return call.emit("Mul", [average, call.scalar(float(elements(call, axes)), "count")])


@converts("ReduceMax", attributes=_REDUCE)
def maximum(call: Call) -> str:
    """A max pool whose window is as large as the axes."""
    axes, sizes = axes_of(call), call.sizes()
    if not axes:
        return call.value()
    if len(sizes) not in (2, 3) or 1 in axes:
        raise Unsupported("a maximum over other axes than spatial ones")
    spatial = len(sizes) - 1
    kernel = [sizes[axis - 1] if axis in axes else 1 for axis in range(2, 2 + spatial)]
    ones = [1] * spatial
    attrs = {"kernel": kernel, "stride": ones, "padding": [0] * 2 * spatial, "dilation": ones}
    if call.get("keepdims", 1):
        return call.emit("MaxPool", [call.value()], attrs)
    pooled = call.emit("MaxPool", [call.value()], attrs, part="pool")
    return call.emit("Reshape", [pooled], {"shape": [0, *(n for i, n in enumerate(sizes, 1) if i not in axes)]})
