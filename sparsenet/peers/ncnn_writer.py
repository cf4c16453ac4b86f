"""A graph as ncnn's .param (a line a layer) and .bin (the weights in the same order).

The format, as ncnn's reader has it: the magic number, the counts of layers and blobs, then for each layer
`type name inputs outputs names... key=value...`; an array under key k is `-(23300+k)=count,values`. A weight in .bin
begins with a 4-byte tag (0: raw fp32), biases and other data do not. Axes leave the batch out, a blob has one reader
(Split copies it), and a vector stands for [C], [C,1] and [C,1,1] alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sparsenet.arrays import FloatArray
from sparsenet.graph import Graph

_MAGIC = 7767517
_FUSED = {"relu": 1, "leaky_relu": 2, "clip": 3, "sigmoid": 4, "hard_swish": 6}  # activation_type
_UNARY = {"abs": 0, "neg": 1, "sqrt": 5, "exp": 7}  # UnaryOp's op_type
_BINARY = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3}  # BinaryOp's

Keys = Mapping[int, Any]


def write(graph: Graph, param: Path, weights: Path) -> tuple[list[str], list[str]]:
    """Writes both files; returns the blobs' names of the inputs and the outputs.

    Raises NotImplementedError that names every op (or the node) that has no form here.
    """
    unknown = sorted({node.op for node in graph.nodes} - set(_OPS))
    if unknown:
        raise NotImplementedError(f"no ncnn form for {', '.join(unknown)}")
    with open(weights, "wb") as file:
        writer = _Writer(graph, file)
        for name, shape in graph.inputs:
            writer.layer("Input", [], writer.blob(name), _extent(shape[1:]))
            writer.split(name)
        for node in graph.nodes:
            _OPS[node.op](writer, node)
    outputs = [writer.read(name) for name, _ in graph.outputs]
    lines = [str(_MAGIC), f"{len(writer.lines)} {writer.blobs}", *writer.lines]
    param.write_text("\n".join(lines) + "\n", encoding="ascii")
    return [writer.blob(name) for name, _ in graph.inputs], outputs


def _extent(shape: Sequence[int | None]) -> dict[int, int]:
    """The keys w, h, c of a shape without its batch."""
    if len(shape) > 3:
        raise NotImplementedError(f"ncnn has no {len(shape)}-D samples here")
    return dict(zip(((0,), (1, 0), (2, 1, 0))[len(shape) - 1], (int(size or 0) for size in shape), strict=True))


class _Writer:
    def __init__(self, graph: Graph, file: BinaryIO) -> None:
        self.graph = graph
        self.file = file
        self.lines: list[str] = []
        self.blobs = 0
        self.readers = Counter(name for node in graph.nodes for name in node.inputs if name is not None)
        self.readers.update(name for name, _ in graph.outputs)
        self.numbers: dict[str, int] = {}
        self.copies: dict[str, list[str]] = {}

    def blob(self, name: str) -> str:
        """The blob a value is written to. ncnn's names hold no spaces, so they are numbers."""
        return f"b{self.numbers.setdefault(name, len(self.numbers))}"

    def read(self, name: str) -> str:
        """The blob that the next reader of a value takes."""
        return self.copies[name].pop() if name in self.copies else self.blob(name)

    def layer(self, kind: str, inputs: list[str], outputs: str, keys: Keys) -> None:
        told = []
        for key, value in keys.items():
            if isinstance(value, (list, tuple)):
                told.append(f"-{23300 + key}={','.join([str(len(value)), *map(_text, value)])}")
            else:
                told.append(f"{key}={_text(value)}")
        count = len(outputs.split())
        head = [kind, f"l{len(self.lines)}", str(len(inputs)), str(count), *inputs, outputs]
        self.lines.append(" ".join([*head, *told]))
        self.blobs += count

    def split(self, name: str) -> None:
        """Copies a value that several layers read."""
        if self.readers[name] > 1:
            self.copies[name] = [f"{self.blob(name)}_{i}" for i in range(self.readers[name])]
            self.layer("Split", [self.blob(name)], " ".join(self.copies[name]), {})

    def emit(self, node: Any, kind: str, inputs: list[str], keys: Keys) -> None:
        """A layer that computes the node's output, and its activation behind it."""
        act = "none" if node.op == "Activation" else node.attrs.get("act", "none")
        last = self.blob(node.output)
        result = last if act == "none" else f"{last}_linear"
        self.layer(kind, inputs, result, keys)
        if act != "none":
            kind, keys = _activation(node)
            self.layer(kind, [result], last, keys)
        self.split(node.output)

    def emit_weighted(self, node: Any, kind: str, keys: Keys) -> None:
        """A convolution or linear layer, which takes an activation in; writes its weights."""
        if len(node.inputs) > 3:
            raise NotImplementedError(f"{node.name}: a fused residual; leave out the pass fuse_residual")
        weight = self.constant(node.inputs[1])
        bias = self.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
        size, biased = (2, 1) if kind == "InnerProduct" else (6, 5)
        keys = {**keys, size: weight.size, biased: bias is not None}
        reads = [self.read(node.inputs[0])]
        act = node.attrs["act"]
        if act in _FUSED:
            values = list(_activation(node)[1].values())
            keys |= {9: _FUSED[act], 10: values} if values else {9: _FUSED[act]}
            self.layer(kind, reads, self.blob(node.output), keys)
            self.split(node.output)
        else:
            self.emit(node, kind, reads, keys)
        self.file.write(b"\0\0\0\0")
        self.raw(weight)
        if bias is not None:
            self.raw(bias)

    def constant(self, name: str) -> FloatArray:
        array = self.graph.constant(name)
        if array is None:
            raise NotImplementedError(f"{name}: weights that are computed have no ncnn form")
        return array

    def raw(self, array: FloatArray) -> None:
        self.file.write(np.ascontiguousarray(array, np.float32).tobytes())


def _text(value: Any) -> str:
    return f"{value:.9e}" if isinstance(value, float) else str(int(value))


def _activation(node: Any) -> tuple[str, Keys]:
    act, a, b = node.attrs["act"], float(node.attrs["act_a"]), float(node.attrs["act_b"])
    table: dict[str, tuple[str, Keys]] = {
        "relu": ("ReLU", {}),
        "leaky_relu": ("ReLU", {0: a}),
        "clip": ("Clip", {0: a, 1: b}),
        "silu": ("Swish", {}),
        "sigmoid": ("Sigmoid", {}),
        "tanh": ("TanH", {}),
        "hard_swish": ("HardSwish", {0: 1 / 6, 1: 0.5}),
        "hard_sigmoid": ("HardSigmoid", {0: 1 / 6, 1: 0.5}),
        "gelu": ("GELU", {0: 0}),
        "gelu_tanh": ("GELU", {0: 1}),
        **{name: ("UnaryOp", {0: number}) for name, number in _UNARY.items()},
    }
    if act not in table:
        raise NotImplementedError(f"{node.name}: no ncnn form for the activation {act}")
    return table[act]


def _pads(attrs: Mapping[str, Any], first: int) -> dict[int, int]:
    """`first` is the key of the left; top, right and bottom follow from 10 above it."""
    top, left, bottom, right = attrs["padding"]
    return {first: left, first + 10: top, first + 11: right, first + 12: bottom}


def _conv(writer: _Writer, node: Any) -> None:
    a = node.attrs
    if len(a["stride"]) != 2:
        raise NotImplementedError(f"{node.name}: 1-D convolutions")
    filters, _, height, width = writer.constant(node.inputs[1]).shape
    if height == width == 1 and a["groups"] == 1 and set(writer.graph.shape(node.inputs[0])[2:]) == {1}:
        _linear(writer, node)  # global pooling left a vector, which its convolutions take only for now
        return
    keys: dict[int, Any] = {0: filters, 1: width, 11: height, 2: a["dilation"][1], 12: a["dilation"][0]}
    keys |= {3: a["stride"][1], 13: a["stride"][0], **_pads(a, 4)}
    if a["groups"] > 1:
        keys[7] = a["groups"]
    writer.emit_weighted(node, "ConvolutionDepthWise" if a["groups"] > 1 else "Convolution", keys)


def _linear(writer: _Writer, node: Any) -> None:
    writer.emit_weighted(node, "InnerProduct", {0: len(writer.constant(node.inputs[1]))})


def _batch_norm(writer: _Writer, node: Any) -> None:
    gamma, beta, mean, var = (writer.constant(name) for name in node.inputs[1:])
    writer.emit(node, "BatchNorm", [writer.read(node.inputs[0])], {0: gamma.size, 1: float(node.attrs["eps"])})
    for array in (gamma, mean, var, beta):
        writer.raw(array)


def _one(writer: _Writer, node: Any, kind: str, keys: Keys) -> None:
    writer.emit(node, kind, [writer.read(node.inputs[0])], keys)


def _binary(writer: _Writer, node: Any) -> None:
    reads = []
    for name in node.inputs:
        array = writer.graph.constant(name)
        if array is None:
            reads.append(writer.read(name))
            continue
        rank = len(writer.graph.shape(node.output)) - 1
        shape = (1,) * (rank - array.ndim) + array.shape[max(0, array.ndim - rank) :]
        reads.append(f"{writer.blob(node.output)}_constant")
        writer.layer("MemoryData", [], reads[-1], _extent(shape))
        writer.raw(array)
    writer.emit(node, "BinaryOp", reads, {0: _BINARY[node.op]})


def _pool(writer: _Writer, node: Any) -> None:
    a = node.attrs
    if len(a["kernel"]) != 2 or a.get("divisor_override") or set(a.get("dilation", [1])) != {1}:
        raise NotImplementedError(f"{node.name}: 1-D, dilated pooling or divisor_override")
    average = node.op == "AvgPool"
    keys = {0: average, 1: a["kernel"][1], 11: a["kernel"][0], 2: a["stride"][1], 12: a["stride"][0], **_pads(a, 3)}
    # Mode 0 rounds the output's size up, mode 1 down.
    keys |= {5: 0 if a["ceil_mode"] else 1, 6: bool(a.get("count_include_pad", 0))}
    _one(writer, node, "Pooling", keys)


def _adaptive(writer: _Writer, node: Any) -> None:
    size = node.attrs["output"]
    if len(size) != 2:
        raise NotImplementedError(f"{node.name}: 1-D pooling")
    kind = {0: node.op == "AdaptiveAvgPool"}
    _one(writer, node, "Pooling", kind | ({4: 1} if set(size) == {1} else {7: 1, 8: size[1], 18: size[0]}))


def _mean(writer: _Writer, node: Any) -> None:
    a = node.attrs
    if len(writer.graph.shape(node.inputs[0])) == 4 and sorted(a["axes"]) == [2, 3]:
        _one(writer, node, "Pooling", {0: 1, 4: 1})
        return
    axes = [axis - 1 for axis in a["axes"]]
    _one(writer, node, "Reduction", {0: 3, 1: 0, 3: axes, 4: bool(a["keepdim"]), 5: 1})


def _reshape(writer: _Writer, node: Any) -> None:
    shape = writer.graph.shape(node.output)[1:]
    if len(shape) == 1:
        _one(writer, node, "Flatten", {})
    else:
        _one(writer, node, "Reshape", _extent(shape))


def _slice(writer: _Writer, node: Any) -> None:
    a = node.attrs
    shape = writer.graph.shape(node.inputs[0])
    if a["step"] == 1:
        _one(writer, node, "Crop", {9: [a["start"]], 10: [a["end"]], 11: [a["axis"] - 1]})
    elif len(shape) == 4 and a["axis"] > 1 and a["start"] == 0 and a["end"] == shape[a["axis"]]:
        # Every n-th row or column: pooling by windows of one.
        stride = {2: 1, 12: 1} | {12 if a["axis"] == 2 else 2: a["step"]}
        _one(writer, node, "Pooling", {0: 0, 1: 1, 11: 1, 5: 1, **stride})
    else:
        raise NotImplementedError(f"{node.name}: slicing with this step")


def _pad(writer: _Writer, node: Any) -> None:
    a = node.attrs
    if len(a["pads"]) != 6 or a["mode"] == "reflect" or min(a["pads"]) < 0:
        raise NotImplementedError(f"{node.name}: this padding")
    front, top, left, behind, bottom, right = a["pads"]
    mode = {"constant": 0, "replicate": 1}[a["mode"]]
    keys = {0: top, 1: bottom, 2: left, 3: right, 4: mode, 5: float(a["value"]), 7: front, 8: behind}
    _one(writer, node, "Padding", keys)


def _concat(writer: _Writer, node: Any) -> None:
    writer.emit(node, "Concat", [writer.read(name) for name in node.inputs], {0: node.attrs["axis"] - 1})


def _softmax(writer: _Writer, node: Any) -> None:
    if node.attrs["log"]:
        raise NotImplementedError(f"{node.name}: log-softmax")
    _one(writer, node, "Softmax", {0: node.attrs["axis"] - 1, 1: 1})


def _prelu(writer: _Writer, node: Any) -> None:
    slope = writer.constant(node.inputs[1])
    _one(writer, node, "PReLU", {0: slope.size})
    writer.raw(slope)


_OPS: dict[str, Callable[[_Writer, Any], None]] = {
    "Conv": _conv,
    "Linear": _linear,
    "BatchNorm": _batch_norm,
    "Activation": lambda writer, node: _one(writer, node, *_activation(node)),
    "PRelu": _prelu,
    "Softmax": _softmax,
    **dict.fromkeys(_BINARY, _binary),
    "MaxPool": _pool,
    "AvgPool": _pool,
    "AdaptiveAvgPool": _adaptive,
    "AdaptiveMaxPool": _adaptive,
    "Mean": _mean,
    "Concat": _concat,
    "Slice": _slice,
    "Pad": _pad,
    "Reshape": _reshape,
    "ChannelShuffle": lambda writer, node: _one(writer, node, "ShuffleChannel", {0: node.attrs["groups"]}),
    "Identity": lambda writer, node: _one(writer, node, "Noop", {}),
}
