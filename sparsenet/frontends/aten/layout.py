"""Operators that move elements or do nothing: reshape, permute, slice, concatenate, pad, and no-ops."""

from __future__ import annotations

from typing import Any

import torch

from sparsenet.frontends.aten.call import Call, Repeated
from sparsenet.frontends.aten.table import Unsupported, converts, ints, key_of

_COPIES = (
    "contiguous.default", "detach.default", "detach_.default", "clone.default", "alias.default", "lift.default",
    "lift_fresh.default", "lift_fresh_copy.default", "_to_copy.default", "to.dtype", "to.dtype_layout", "to.device",
    "type_as.default", "positive.default",
)  # fmt: skip
_DROPOUTS = ("dropout.default", "feature_dropout.default", "alpha_dropout.default", "feature_alpha_dropout.default")
NO_OPS = frozenset(f"aten.{name}" for name in (*_COPIES, *_DROPOUTS))


@converts(*_COPIES)
def copy(call: Call) -> Any:
    value = call.node.meta["val"]
    if not value.is_floating_point():
        raise Unsupported(f"converts to {value.dtype}; activations are floating point")
    return call.peek(call.node.args[0])


@converts(*_DROPOUTS)
def dropout(call: Call) -> Any:
    if call["train"]:
        raise Unsupported("dropout in training mode; export the module in eval mode")
    return call.peek(call.node.args[0])


@converts(
    "view.default", "view_copy.default", "_unsafe_view.default", "reshape.default", "flatten.using_ints",
    "unflatten.int", "unsqueeze.default", "squeeze.default", "squeeze.dim", "squeeze.dims",
)  # fmt: skip
def reshape(call: Call) -> str:
    # Axis 0 is the batch before and after, and memory order is kept: samples stay apart whatever the target says.
    x = call.value("self")
    if call.input_shape("self") == call.shape:
        return x
    return call.emit("Reshape", [x], {"shape": [0, *call.shape[1:]]})


def _permuted(call: Call, perm: list[int]) -> str:
    if perm[0] != 0:
        raise Unsupported("moves the batch to another axis")
    return call.emit("Transpose", [call.value("self")], {"perm": perm})


@converts("permute.default")
def permute(call: Call) -> str:
    return _permuted(call, [d % len(call.shape) for d in call["dims"]])


@converts("transpose.int")
def transpose(call: Call) -> str:
    perm = list(range(len(call.node.meta["val"].shape)))
    a, b = call["dim0"], call["dim1"]
    perm[a], perm[b] = perm[b], perm[a]
    return _permuted(call, perm)


@converts("t.default")
def matrix_transpose(call: Call) -> str:
    return _permuted(call, [1, 0])


def _axis(call: Call, rank: int) -> int:
    axis = int(call["dim"] % rank)
    if axis == 0:
        raise Unsupported("takes the batch apart or together: samples must stay apart")
    return axis


def _slice(call: Call, axis: int, start: int, end: int, step: int = 1, part: str = "") -> str:
    attrs = {"axis": axis, "start": start, "end": end, "step": step}
    return call.emit("Slice", [call.value("self")], attrs, part=part)


@converts("slice.Tensor")
def slice_(call: Call) -> str:
    shape = call.input_shape("self")
    step, start = call["step"], call["start"] or 0
    axis = call["dim"] % len(shape)
    if axis == 0:
        if start == 0 and step == 1 and call.shape[0] is None:
            return call.value("self")
        raise Unsupported("takes the batch apart: samples must stay apart")
    size = shape[axis]
    assert size is not None
    end = size if call["end"] is None else call["end"]
    if not isinstance(start, int) or not isinstance(end, int):
        raise Unsupported("slices at a position that depends on the batch size")
    start, end, _ = slice(start, end).indices(size)
    return call.value("self") if (start, end, step) == (0, size, 1) else _slice(call, axis, start, end, step)


@converts("select.int")
def select(call: Call) -> str:
    shape = call.input_shape("self")
    axis = _axis(call, len(shape))
    index = call["index"] % shape[axis]
    kept = _slice(call, axis, index, index + 1, part="slice")
    return call.emit("Reshape", [kept], {"shape": [0, *call.shape[1:]]})


@converts(
    "split.Tensor", "split_with_sizes.default", "split_with_sizes_copy.default", "chunk.default",
    "tensor_split.sections", "tensor_split.indices",
)  # fmt: skip
def split(call: Call) -> list[str]:
    axis = _axis(call, len(call.input_shape("self")))
    parts, start = [], 0
    for i, part in enumerate(call.node.meta["val"]):
        parts.append(_slice(call, axis, start, start + part.shape[axis], part=str(i)))
        start += part.shape[axis]
    return parts


@converts("unbind.int")
def unbind(call: Call) -> list[str]:
    axis = _axis(call, len(call.input_shape("self")))
    parts = []
    for i, part in enumerate(call.node.meta["val"]):
        kept = _slice(call, axis, i, i + 1, part=f"{i}.slice")
        parts.append(call.emit("Reshape", [kept], {"shape": [0, *part.shape[1:]]}, part=str(i)))
    return parts


@converts("cat.default")
def concatenate(call: Call) -> str:
    axis = _axis(call, len(call.shape))
    nodes = call["tensors"]
    if not any(isinstance(call.peek(node), str) for node in nodes):
        raise Unsupported("joins constants only")
    values: list[str] = []
    leading = 0, 0.0
    for i, node in enumerate(nodes):
        known = call.peek(node)
        if isinstance(known, str):
            values.append(_padded(call, known, axis, leading, (0, 0.0), str(i)))
            leading = 0, 0.0
            continue
        # Zeros for missing channels, as in the option-A shortcuts of ResNets: padding of the neighbour.
        sample = known.sample if isinstance(known, Repeated) else call.one_sample(known)
        number = float(sample.flatten()[0]) if sample.numel() else 0.0
        if not bool((sample == number).all()) or (leading[0] and leading[1] != number):
            raise Unsupported("joins an activation and a constant that is not one number throughout")
        if values:
            values[-1] = _padded(call, values[-1], axis, (0, 0.0), (sample.shape[axis], number), str(i))
        else:
            leading = leading[0] + sample.shape[axis], number
    return values[0] if len(values) == 1 else call.emit("Concat", values, {"axis": axis})


def _padded(
    call: Call, value: str, axis: int, begin: tuple[int, float], end: tuple[int, float], part: str
) -> str:
    if not begin[0] and not end[0]:
        return value
    rank = len(call.shape)
    pads = [0] * (2 * (rank - 1))
    pads[axis - 1], pads[axis - 1 + rank - 1] = begin[0], end[0]
    attrs = {"pads": pads, "mode": "constant", "value": begin[1] if begin[0] else end[1]}
    return call.emit("Pad", [value], attrs, part=f"pad{part}")


@converts("stack.default")
def stack(call: Call) -> str:
    axis = _axis(call, len(call.shape))
    shape = [0, *call.shape[1:]]
    shape[axis] = 1
    parts = []
    for i, node in enumerate(call["tensors"]):
        parts.append(call.emit("Reshape", [call.value(node)], {"shape": shape}, part=str(i)))
    return call.emit("Concat", parts, {"axis": axis})


@converts("repeat.default", "tile.default")
def repeat(call: Call) -> str:
    times = list(call["repeats"] if "repeats" in call.args else call["dims"])
    value, rank = call.value("self"), len(call.input_shape("self"))
    times = [1] * (rank - len(times)) + times
    if len(times) != rank or times[0] != 1:
        raise Unsupported("repeats along the batch or a new axis")
    axes = [axis for axis, n in enumerate(times) if n != 1]
    for axis in axes:
        part = "" if axis == axes[-1] else str(axis)
        value = call.emit("Concat", [value] * times[axis], {"axis": axis}, part=part)
    return value


@converts("expand.default")
def expand(call: Call) -> str | Repeated:
    known = call.peek(call.args["self"])
    if isinstance(known, torch.Tensor):  # a constant, to the size of the batch
        return Repeated(known.expand(1, *(size for size in call.shape[1:] if size is not None)))
    x = call.value("self")
    if call.input_shape("self") == call.shape or all(_broadcasts(call, user) for user in call.node.users):
        return x
    ones = torch.ones([1, *(size for size in call.shape[1:] if size is not None)])
    return call.emit("Mul", [x, call.constant(ones, "ones")])


BROADCASTING = frozenset(f"aten.{name}.Tensor" for name in ("add", "sub", "mul", "div"))


def _broadcasts(call: Call, user: torch.fx.Node) -> bool:
    """Whether a reader of an expanded tensor broadcasts anyway, its other operand being of full size."""
    others = [n for n in user.all_input_nodes if n is not call.node]
    sizes = call.node.meta["val"].shape
    return key_of(user.target) in BROADCASTING and bool(others) and others[0].meta["val"].shape == sizes


@converts(
    "pad.default", "constant_pad_nd.default", "reflection_pad1d.default", "reflection_pad2d.default",
    "replication_pad1d.default", "replication_pad2d.default",
)  # fmt: skip
def pad(call: Call) -> str:
    mode = call.args.get("mode")
    if mode is None:
        mode = "reflect" if "reflection" in call.op else "replicate" if "replication" in call.op else "constant"
    if mode == "circular":
        raise Unsupported("circular padding; constant, reflect and replicate are possible")
    rank = len(call.shape)
    # torch lists pairs from the last axis to the first.
    pairs = ints(call["pad" if "pad" in call.args else "padding"], 0)
    begin, end = [0] * rank, [0] * rank
    for i in range(len(pairs) // 2):
        begin[rank - 1 - i], end[rank - 1 - i] = pairs[2 * i], pairs[2 * i + 1]
    if begin[0] or end[0]:
        raise Unsupported("pads the batch")
    attrs = {"pads": begin[1:] + end[1:], "mode": mode, "value": float(call.args.get("value") or 0.0)}
    return call.emit("Pad", [call.value("self")], attrs)


@converts("channel_shuffle.default", "native_channel_shuffle.default")
def channel_shuffle(call: Call) -> str:
    return call.emit("ChannelShuffle", [call.value("self")], {"groups": call["groups"]})


@converts(
    "zeros.default", "ones.default", "full.default", "zeros_like.default", "ones_like.default", "full_like.default",
    "new_zeros.default", "new_ones.default", "new_full.default",
)  # fmt: skip
def fill(call: Call) -> torch.Tensor | Repeated:
    number = 0.0 if "zeros" in call.op else 1.0 if "ones" in call.op else call["fill_value"]
    if not isinstance(number, (int, float)):
        raise Unsupported("fills with a number that depends on the batch size")
    sizes = call.node.meta["val"].shape
    if all(isinstance(size, int) for size in sizes):
        return torch.full(sizes, float(number))
    return Repeated(torch.full([1, *(size for size in call.shape[1:] if size is not None)], float(number)))
