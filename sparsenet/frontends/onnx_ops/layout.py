"""Operators that move elements or do nothing: reshapes, transposes, slices, joins, padding, and no-ops."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from sparsenet.frontends.onnx_ops.call import Call
from sparsenet.frontends.onnx_ops.pointwise import operand
from sparsenet.frontends.onnx_ops.table import Unsupported, converts
from sparsenet.frontends.onnx_ops.tensors import FLOATS, Constant, type_name
from sparsenet.frontends.onnx_ops.values import BATCH, Repeated


@converts("Identity")
def identity(call: Call) -> Any:
    return call.peek(0)


@converts("Dropout", attributes="ratio:float seed:int is_test:int")
def dropout(call: Call) -> Any:
    training = call.optional_array(2)
    if training is not None and bool(training.any()):
        raise Unsupported("dropout in training mode; export the model in eval mode")
    return call.peek(0)


@converts("Cast", attributes="to:int saturate:int round_mode:str")
def cast(call: Call) -> Any:
    if call["to"] not in FLOATS:
        raise Unsupported(f"converts to {type_name(call['to'])}; activations are floating point")
    return call.peek(0)


@converts("CastLike", attributes="saturate:int round_mode:str")
def cast_like(call: Call) -> Any:
    model = call.peek(1)
    if not isinstance(model, str) and call.array(1).dtype.kind != "f":
        raise Unsupported(f"converts to {call.array(1).dtype}; activations are floating point")
    return call.peek(0)


@converts("Shape", attributes="start:int end:int")
def shape(call: Call) -> Constant:
    dims: list[Any] = [call.lowering.batch, *call.sizes()]
    dims = dims[call.get("start", 0) : call.get("end")]
    return np.array(dims, object if BATCH in dims else np.int64)


@converts("Reshape", attributes="allowzero:int shape:ints")
def reshape(call: Call) -> str:
    wanted = call.numbers(1, "shape")
    if wanted is None:
        raise Unsupported("has no target shape")
    before: list[Any] = [call.lowering.batch, *call.sizes()]
    if not call.get("allowzero", 0):
        if any(n == 0 and i >= len(before) for i, n in enumerate(wanted)):
            raise Unsupported(f"shape {wanted} copies an axis that the input does not have")
        wanted = [before[i] if n == 0 else n for i, n in enumerate(wanted)]
    return reshaped(call, wanted)


def reshaped(call: Call, wanted: list[Any], part: str = "") -> str:
    """To a shape with its batch axis; Unsupported unless samples stay apart."""
    sizes, batch = call.sizes(), call.lowering.batch
    inner, count = wanted[1:], prod(sizes)
    if not wanted or any(not isinstance(n, int) for n in inner):
        raise Unsupported(f"the batch size turns up on another axis than 0: {wanted}")
    known = prod(n for n in inner if n != -1)
    if wanted[0] == -1:
        # The batch is whatever is left: right if the other axes hold one sample.
        if known != count:
            raise Unsupported(f"reshapes {[batch, *sizes]} to {wanted}: axis 0 would not be the batch")
    elif wanted[0] is not batch and wanted[0] != batch:
        raise Unsupported(f"axis 0 of its result, {wanted}, is not the batch ({batch}): samples must stay apart")
    if -1 in inner:
        if inner.count(-1) > 1 or known == 0 or count % known:
            raise Unsupported(f"cannot reshape {[batch, *sizes]} to {wanted}")
        inner = [count // known if n == -1 else n for n in inner]
    if list(inner) == sizes:
        return call.value()
    return call.emit("Reshape", [call.value()], {"shape": [0, *inner]}, part=part)


@converts("Flatten", attributes="axis:int")
def flatten(call: Call) -> str:
    """To two axes, the first of which must be the batch."""
    sizes = call.sizes()
    axis = call.get("axis", 1) % (len(sizes) + 1)
    if axis == 0 or prod(sizes[: axis - 1]) != 1:
        raise Unsupported("joins the batch with other axes: samples must stay apart")
    return call.reshape(call.value(), [prod(sizes)])


@converts("Squeeze", attributes="axes:ints")
def squeeze(call: Call) -> str:
    sizes, rank = call.sizes(), len(call.shape())
    given = call.ints(1, "axes")
    axes = [i for i, n in enumerate(sizes, 1) if n == 1] if given is None else [call.axis(a, rank) for a in given]
    if given is None and call.lowering.batch == 1:
        raise Unsupported("drops the batch axis: say which axes to squeeze")
    if any(sizes[axis - 1] != 1 for axis in axes):
        raise Unsupported(f"squeezes axes {axes} of {sizes} (without the batch), which are not all 1")
    return call.reshape(call.value(), [n for i, n in enumerate(sizes, 1) if i not in axes])


@converts("Unsqueeze", attributes="axes:ints")
def unsqueeze(call: Call) -> str:
    given, sizes = call.ints(1, "axes") or [], call.sizes()
    rank = len(sizes) + 1 + len(given)
    axes = [call.axis(axis, rank) for axis in given]
    if len(set(axes)) != len(axes):
        raise Unsupported(f"axes {given} name one twice")
    rest = iter(sizes)
    return call.reshape(call.value(), [1 if i in axes else next(rest) for i in range(1, rank)])


@converts("Transpose", attributes="perm:ints")
def transpose(call: Call) -> str:
    rank = len(call.shape())
    perm = call.get("perm", list(range(rank))[::-1])
    if not perm or perm[0] != 0:
        raise Unsupported("moves the batch to another axis")
    return call.emit("Transpose", [call.value()], {"perm": perm})


@converts("DepthToSpace", attributes="blocksize:int mode:str")
def depth_to_space(call: Call) -> str:
    c, h, w = _image(call)
    b = call["blocksize"]
    if b < 1 or c % (b * b):
        raise Unsupported(f"blocksize {b} with {c} channels")
    column_row = call.get("mode", "DCR") == "CRD"
    apart = [c // b**2, b, b, h, w] if column_row else [b, b, c // b**2, h, w]
    x = call.emit("Reshape", [call.value()], {"shape": [0, *apart]}, part="apart")
    x = call.emit("Transpose", [x], {"perm": [0, 1, 4, 2, 5, 3] if column_row else [0, 3, 4, 1, 5, 2]}, part="swapped")
    return call.emit("Reshape", [x], {"shape": [0, c // b**2, h * b, w * b]})


@converts("SpaceToDepth", attributes="blocksize:int mode:str")
def space_to_depth(call: Call) -> str:
    c, h, w = _image(call)
    b = call["blocksize"]
    if b < 1 or h % b or w % b:
        raise Unsupported(f"blocksize {b} with an image of {h} x {w}")
    x = call.emit("Reshape", [call.value()], {"shape": [0, c, h // b, b, w // b, b]}, part="apart")
    column_row = call.get("mode", "DCR") == "CRD"
    x = call.emit("Transpose", [x], {"perm": [0, 1, 3, 5, 2, 4] if column_row else [0, 3, 5, 1, 2, 4]}, part="swapped")
    return call.emit("Reshape", [x], {"shape": [0, c * b * b, h // b, w // b]})


def _image(call: Call) -> list[int]:
    sizes = call.sizes()
    if len(sizes) != 3:
        raise Unsupported(f"takes [N, C, H, W]; its input has {len(sizes) + 1} axes")
    return sizes


@converts("Concat", attributes="axis:int")
def concat(call: Call) -> str:
    rank = next(len(call.shape(i)) for i, known in enumerate(call.inputs) if isinstance(known, str))
    axis = call.axis(call["axis"], rank)
    values: list[str] = []
    leading = 0, 0.0
    for i, known in enumerate(call.inputs):
        if isinstance(known, str):
            values.append(_beside(call, known, axis, leading, (0, 0.0), i))
            leading = 0, 0.0
            continue
        # Zeros for missing channels, as in the option-A shortcuts of ResNets: padding of the neighbour.
        sample = known.sample if isinstance(known, Repeated) else call.one_sample(call.array(i))
        number = float(sample.flat[0]) if sample.size else 0.0
        if sample.ndim != rank or not bool((sample == number).all()) or (leading[0] and leading[1] != number):
            raise Unsupported("joins an activation and a constant that is not one number throughout")
        if values:
            values[-1] = _beside(call, values[-1], axis, (0, 0.0), (sample.shape[axis], number), i)
        else:
            leading = leading[0] + sample.shape[axis], number
    return values[0] if len(values) == 1 else call.emit("Concat", values, {"axis": axis})


def _beside(
    call: Call, value: str, axis: int, begin: tuple[int, float], end: tuple[int, float], part: int
) -> str:
    if not begin[0] and not end[0]:
        return value
    inner = len(call.lowering.graph.shape(value)) - 1
    pads = [0] * (2 * inner)
    pads[axis - 1], pads[axis - 1 + inner] = begin[0], end[0]
    attrs = {"pads": pads, "mode": "constant", "value": begin[1] if begin[0] else end[1]}
    return call.emit("Pad", [value], attrs, part=f"pad{part}")


@converts("Pad", attributes="mode:str pads:ints value:float")
def pad(call: Call) -> str:
    rank = len(call.shape())
    pads = call.ints(1, "pads") or []
    axes = call.ints(3)
    value = call.get("value", call.number(2, 0.0))
    if axes is not None:
        if len(pads) != 2 * len(axes):
            raise Unsupported(f"pads {pads} for axes {axes}")
        sparse, pads = pads, [0] * 2 * rank
        for i, axis in enumerate(axes):
            pads[axis % rank], pads[rank + axis % rank] = sparse[i], sparse[len(axes) + i]
    if len(pads) != 2 * rank:
        raise Unsupported(f"pads {pads} for an input of {rank} axes")
    if pads[0] or pads[rank]:
        raise Unsupported("pads the batch")
    mode = {"edge": "replicate"}.get(call.get("mode", "constant"), call.get("mode", "constant"))
    if mode not in ("constant", "reflect", "replicate"):
        raise Unsupported(f"mode {mode}; constant, reflect and edge are possible")
    return call.emit("Pad", [call.value()], {"pads": [*pads[1:rank], *pads[rank + 1 :]], "mode": mode, "value": value})


@converts("Expand")
def expand(call: Call) -> str:
    """By a product with ones, which broadcasts."""
    wanted = call.numbers(1) or []
    sizes, batch = call.sizes(), call.lowering.batch
    if len(wanted) > len(sizes) + 1:
        raise Unsupported(f"expands to more axes, {wanted}")
    wanted = [1] * (len(sizes) + 1 - len(wanted)) + wanted
    if any(not isinstance(n, int) for n in wanted[1:]) or (wanted[0] is not batch and wanted[0] not in (1, batch)):
        raise Unsupported(f"expands along the batch: {wanted}")
    if all(n in (1, size) for n, size in zip(wanted[1:], sizes, strict=True)):
        return call.value()
    call.lowering.room.take([1, *wanted[1:]])
    return call.emit("Mul", [call.value(), call.constant_from(np.ones([1, *wanted[1:]], np.float32), "ones")])


@converts("Tile")
def tile(call: Call) -> str:
    times, rank = call.ints(1) or [], len(call.shape())
    if len(times) != rank or times[0] != 1 or min(times) < 1 or max(times) > 1024:
        raise Unsupported(f"repeats {times} times; 1 along the batch and 1 to 1024 along others are possible")
    value = call.value()
    axes = [axis for axis, n in enumerate(times) if n != 1]
    for axis in axes:
        part = "" if axis == axes[-1] else str(axis)
        value = call.emit("Concat", [value] * times[axis], {"axis": axis}, part=part)
    return value


@converts("Where")
def where(call: Call) -> str:
    """A constant condition that chooses all of one operand, as exports of expanded shapes have it."""
    condition = call.array(0)
    if not (condition.all() or not condition.any()) or condition.size != 1:
        raise Unsupported("chooses element by element")
    return operand(call, 1 if condition.all() else 2, len(call.shape(1 if condition.all() else 2)))
