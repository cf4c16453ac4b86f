"""Operators that take parts of an activation: Slice, Split, Gather at constant positions."""

from __future__ import annotations

from sparsenet.frontends.onnx_ops.call import Call
from sparsenet.frontends.onnx_ops.table import Unsupported, converts

_MOST_PARTS = 1024  # inputs of the IR's Concat


def slice_ranges(call: Call, rank: int) -> list[tuple[int, int, int, int]]:
    """(axis, start, end, step) as the node says them, the numbers not yet clamped to the axis."""
    starts, ends = call.ints(1, "starts"), call.ints(2, "ends")
    if starts is None or ends is None:
        raise Unsupported("has no starts or no ends")
    axes = call.ints(3, "axes")
    axes = list(range(len(starts))) if axes is None else axes
    steps = call.ints(4) or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise Unsupported(f"starts {starts}, ends {ends}, axes {axes} and steps {steps} differ in length")
    if any(not -rank <= axis < rank for axis in axes):
        raise Unsupported(f"axes {axes} of an input of {rank} axes")
    return [(a % rank, s, e, step) for a, s, e, step in zip(axes, starts, ends, steps, strict=True)]


@converts("Slice", attributes="starts:ints ends:ints axes:ints")
def slice_(call: Call) -> str:
    sizes, value = call.sizes(), call.value()
    todo = []
    for axis, start, end, step in slice_ranges(call, len(sizes) + 1):
        if axis == 0:
            everything = start == 0 and step == 1 and end >= 2**31 - 1
            if not everything and not (start == 0 and step == 1 and end == call.lowering.batch):
                raise Unsupported("takes the batch apart: samples must stay apart")
            continue
        if step < 1:
            raise Unsupported(f"step {step}; 1 and more are possible")
        start, end, _ = slice(start, end).indices(sizes[axis - 1])
        if (start, end, step) != (0, sizes[axis - 1], 1):
            todo.append({"axis": axis, "start": start, "end": end, "step": step})
    for i, attrs in enumerate(todo, start=1):
        value = call.emit("Slice", [value], attrs, part="" if i == len(todo) else str(i))
    return value


@converts("Split", attributes="axis:int split:ints num_outputs:int")
def split(call: Call) -> list[str]:
    sizes = call.sizes()
    axis = call.axis(call.get("axis", 0), len(sizes) + 1)
    size, count = sizes[axis - 1], len(call.node.output)
    lengths = call.ints(1, "split")
    if lengths is None:
        each = -(-size // count)
        lengths = [each] * (count - 1) + [size - each * (count - 1)]
    if len(lengths) != count or sum(lengths) != size or min(lengths) < 1:
        raise Unsupported(f"splits {size} into {lengths} for {count} outputs")
    parts, start = [], 0
    for i, length in enumerate(lengths):
        attrs = {"axis": axis, "start": start, "end": start + length}
        parts.append(call.emit("Slice", [call.value()], attrs, output=i))
        start += length
    return parts


@converts("Gather", attributes="axis:int")
def gather(call: Call) -> str:
    """Constant positions along one axis: runs of them are slices, which are joined."""
    sizes, indices = call.sizes(), call.array(1)
    axis = call.axis(call.get("axis", 0), len(sizes) + 1)
    if indices.dtype.kind not in "iu" or indices.ndim > 1 or indices.size == 0:
        raise Unsupported("takes one position or a list of them")
    size = sizes[axis - 1]
    positions = [int(i) for i in indices.reshape(-1)]
    if any(not -size <= i < size for i in positions):
        raise Unsupported(f"positions {positions} of {size}")
    positions = [i % size for i in positions]
    runs: list[list[int]] = []
    for i in positions:
        if runs and i == runs[-1][1]:
            runs[-1][1] = i + 1
        else:
            runs.append([i, i + 1])
    if len(runs) > _MOST_PARTS:
        raise Unsupported(f"takes {len(runs)} separate runs; at most {_MOST_PARTS} are possible")
    whole = len(runs) == 1 and indices.ndim == 1
    parts = [
        call.emit("Slice", [call.value()], {"axis": axis, "start": a, "end": b}, part="" if whole else f"run{i}")
        for i, (a, b) in enumerate(runs)
    ]
    if indices.ndim == 0:
        return call.emit("Reshape", parts, {"shape": [0, *(n for i, n in enumerate(sizes, 1) if i != axis)]})
    return parts[0] if whole else call.emit("Concat", parts, {"axis": axis})
