"""Operators on constants, evaluated at import: weights that the exporter left unfolded, and arithmetic on shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from sparsenet.frontends.onnx_ops.call import Call
from sparsenet.frontends.onnx_ops.slices import slice_ranges
from sparsenet.frontends.onnx_ops.table import Converter, Row, Unsupported
from sparsenet.frontends.onnx_ops.tensors import CASTS, MAX_RANK, Constant, type_name
from sparsenet.frontends.onnx_ops.values import BATCH, Repeated

FOLDS: dict[str, Row] = {}


class Room:
    """How many elements may still be made: a few nodes of a hostile file could ask for any number of them."""

    def __init__(self, elements: int) -> None:
        self.left = 2**24 + 8 * elements

    def take(self, shape: Sequence[int]) -> None:
        """Raises Unsupported if an array of this shape would be too much."""
        if len(shape) > MAX_RANK or any(n < 0 for n in shape):
            raise Unsupported(f"makes a constant of shape {list(shape)}")
        self.left -= prod(shape)
        if self.left < 0:
            raise Unsupported("the model's constants grow out of proportion to its size")


def folds(*ops: str, attributes: str = "") -> Callable[[Converter], Converter]:
    """Registers an evaluator: it takes a call whose inputs are arrays, and returns an array."""
    known = dict(pair.split(":") for pair in attributes.split())

    def register(function: Converter) -> Converter:
        FOLDS.update(dict.fromkeys(ops, Row(function, known)))
        return function

    return register


def _divide(a: Constant, b: Constant) -> Any:
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        if not b.all():
            raise Unsupported("divides by zero")
        return np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))  # integers round towards zero
    return a // b if object in (a.dtype, b.dtype) else a / b


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _divide,
    "Pow": np.power,
    "Min": np.minimum,
    "Max": np.maximum,
    "Equal": np.equal,
    "Less": np.less,
    "Greater": np.greater,
    "And": np.logical_and,
    "Or": np.logical_or,
}
_UNARY: dict[str, Callable[[Any], Any]] = {
    "Sqrt": np.sqrt,
    "Exp": np.exp,
    "Neg": np.negative,
    "Abs": np.abs,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Reciprocal": np.reciprocal,
    "Not": np.logical_not,
    "Identity": lambda a: a,
}


def _binary(function: Callable[[Any, Any], Any]) -> Converter:
    def evaluate(call: Call) -> Constant:
        result = call.array(0)
        for i in range(1, len(call.inputs)):
            other = call.array(i)
            try:
                call.lowering.room.take(np.broadcast_shapes(result.shape, other.shape))
                result = np.asarray(function(result, other))
            except (ValueError, TypeError) as error:  # shapes or types that do not go together
                raise Unsupported(f"cannot be evaluated: {error}") from None
        return result

    return evaluate


def _unary(function: Callable[[Any], Any]) -> Converter:
    def evaluate(call: Call) -> Constant:
        call.lowering.room.take(call.array(0).shape)
        try:
            return np.asarray(function(call.array(0)))
        except TypeError as error:
            raise Unsupported(f"cannot be evaluated: {error}") from None

    return evaluate


for _op, _two in _BINARY.items():
    folds(_op, attributes="fmod:int")(_binary(_two))
for _op, _one in _UNARY.items():
    folds(_op)(_unary(_one))


@folds("Constant", attributes="value:tensor value_float:float value_floats:floats value_int:int value_ints:ints")
def constant(call: Call) -> Constant:
    if len(call.attributes) != 1:
        raise Unsupported("must have one value")
    [(name, value)] = call.attributes.items()
    types = {"value": None, "value_float": np.float32, "value_floats": np.float32}
    return np.asarray(value, types.get(name, np.int64))


@folds("Cast", attributes="to:int saturate:int round_mode:str")
def cast(call: Call) -> Constant:
    array, to = call.array(0), call["to"]
    if to not in CASTS:
        raise Unsupported(f"converts to {type_name(to)}")
    if array.dtype == object and BATCH in array.tolist():
        if CASTS[to] not in (np.int64, np.int32):
            raise Unsupported("computes with the batch size")
        return array
    return array.astype(CASTS[to])


@folds("Shape", attributes="start:int end:int")
def shape(call: Call) -> Constant:
    return np.array(call.array(0).shape[call.get("start", 0) : call.get("end")], np.int64)


@folds("Gather", attributes="axis:int")
def gather(call: Call) -> Constant:
    array, indices, axis = call.array(0), call.array(1), call.get("axis", 0)
    if indices.dtype.kind not in "iu" or not -array.ndim <= axis < array.ndim:
        raise Unsupported("takes integer positions along an axis of its input")
    call.lowering.room.take([*array.shape[:axis], *indices.shape, *array.shape[axis % array.ndim + 1 :]])
    try:
        return np.asarray(np.take(array, indices, axis))
    except IndexError as error:
        raise Unsupported(str(error)) from None


@folds("Slice", attributes="starts:ints ends:ints axes:ints")
def slice_(call: Call) -> Constant:
    array = call.array(0)
    index = [slice(None)] * array.ndim
    for axis, start, end, step in slice_ranges(call, array.ndim):
        if step == 0:
            raise Unsupported("step 0")
        # Going backwards, an end below -size means: down to and with element 0.
        index[axis] = slice(start, None if step < 0 and end < -array.shape[axis] else end, step)
    return array[tuple(index)]


@folds("Concat", attributes="axis:int")
def concat(call: Call) -> Constant:
    arrays = [call.array(i) for i in range(len(call.inputs))]
    call.lowering.room.take([sum(array.size for array in arrays)])
    try:
        return np.concatenate(arrays, call["axis"])
    except (ValueError, IndexError) as error:
        raise Unsupported(str(error)) from None


@folds("Reshape", attributes="allowzero:int shape:ints")
def reshape(call: Call) -> Constant:
    array, wanted = call.array(0), call.ints(1, "shape") or []
    if not call.get("allowzero", 0):
        wanted = [array.shape[i] if n == 0 and i < array.ndim else n for i, n in enumerate(wanted)]
    return _reshaped(array, wanted)


def _reshaped(array: Constant, wanted: Sequence[int]) -> Constant:
    if len(wanted) > MAX_RANK:
        raise Unsupported(f"a shape of {len(wanted)} axes")
    try:
        return array.reshape(wanted)
    except ValueError as error:
        raise Unsupported(str(error)) from None


@folds("Flatten", attributes="axis:int")
def flatten(call: Call) -> Constant:
    array, axis = call.array(0), call.get("axis", 1)
    return _reshaped(array, [prod(array.shape[:axis]), -1 if array.size else 0])


@folds("Unsqueeze", attributes="axes:ints")
def unsqueeze(call: Call) -> Constant:
    array, axes = call.array(0), call.ints(1, "axes") or []
    if array.ndim + len(axes) > MAX_RANK:
        raise Unsupported(f"a constant of {array.ndim + len(axes)} axes")
    try:
        return np.expand_dims(array, tuple(axes))
    except ValueError as error:
        raise Unsupported(str(error)) from None


@folds("Squeeze", attributes="axes:ints")
def squeeze(call: Call) -> Constant:
    axes = call.ints(1, "axes")
    try:
        return call.array(0).squeeze(None if axes is None else tuple(axes))
    except ValueError as error:
        raise Unsupported(str(error)) from None


@folds("Transpose", attributes="perm:ints")
def transpose(call: Call) -> Constant:
    try:
        return call.array(0).transpose(call.get("perm"))
    except ValueError as error:
        raise Unsupported(str(error)) from None


@folds("ConstantOfShape", attributes="value:tensor")
def constant_of_shape(call: Call) -> Any:
    sizes = call.numbers(0) or []
    value = call.get("value", np.zeros(1, np.float32))
    if value.size != 1:
        raise Unsupported("takes one value")
    sample = [1, *sizes[1:]] if sizes and sizes[0] is BATCH else sizes
    if any(not isinstance(n, int) for n in sample):
        raise Unsupported(f"the batch size turns up on another axis than 0: {sizes}")
    call.lowering.room.take(sample)
    full = np.full(sample, value.reshape(-1)[0], value.dtype)
    return Repeated(full) if sample is not sizes else full


@folds("Expand")
def expand(call: Call) -> Any:
    array, sizes = call.array(0), call.numbers(1) or []
    sample = [1, *sizes[1:]] if sizes and sizes[0] is BATCH else sizes
    if any(not isinstance(n, int) for n in sample):
        raise Unsupported(f"the batch size turns up on another axis than 0: {sizes}")
    try:
        wanted = np.broadcast_shapes(array.shape, tuple(sample))
        call.lowering.room.take(wanted)
        full = np.broadcast_to(array, wanted)
    except ValueError as error:
        raise Unsupported(str(error)) from None
    if sample is not sizes and (full.ndim != len(sizes) or full.shape[0] != 1):
        raise Unsupported("expands along the batch")
    return Repeated(full) if sample is not sizes else full


@folds("Range")
def range_(call: Call) -> Constant:
    start, limit, step = (call.number(i, 0.0) for i in range(3))
    if step == 0 or not np.isfinite([start, limit, step]).all():
        raise Unsupported(f"from {start} to {limit} in steps of {step}")
    count = max(0, int(np.ceil((limit - start) / step)))
    call.lowering.room.take([count])
    return (start + step * np.arange(count)).astype(call.array(0).dtype)


@folds("Where")
def where(call: Call) -> Constant:
    condition, yes, no = (call.array(i) for i in range(3))
    try:
        call.lowering.room.take(np.broadcast_shapes(condition.shape, yes.shape, no.shape))
        return np.where(condition, yes, no)
    except ValueError as error:
        raise Unsupported(str(error)) from None


def _reduction(function: Callable[..., Any]) -> Converter:
    def evaluate(call: Call) -> Constant:
        array, axes = call.array(0), call.ints(1, "axes")
        if axes is None and call.get("noop_with_empty_axes", 0):
            return array
        try:
            return np.asarray(
                function(array, axis=tuple(axes) if axes else None, keepdims=bool(call.get("keepdims", 1)))
            )
        except (ValueError, TypeError) as error:
            raise Unsupported(str(error)) from None

    return evaluate


_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceProd": np.prod,
    "ReduceSum": np.sum,
    "ReduceMean": np.mean,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
}
for _op, _reduce in _REDUCTIONS.items():
    folds(_op, attributes="axes:ints keepdims:int noop_with_empty_axes:int")(_reduction(_reduce))
