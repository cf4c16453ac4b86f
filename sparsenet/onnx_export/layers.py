"""Convolution, linear and batch norm, with the residual that the passes fuse into the first two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsenet import _core
from sparsenet.onnx_export.writer import Writer, emits


def _with_residual(writer: Writer, inputs: Sequence[str], output: str) -> tuple[list[str], str]:
    """The inputs that the layer's own node reads and the name that it writes, which the residual is added to."""
    own = [name for i, name in enumerate(inputs) if i < 3]
    while own and not own[-1]:
        own.pop()
    return own, writer.name(f"{output}.before_sum") if len(inputs) > 3 else output


def _add_residual(writer: Writer, inputs: Sequence[str], own: str, output: str) -> None:
    if len(inputs) > 3:
        writer.emit("Add", [own, inputs[3]], output)


@emits("Conv")
def conv(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    a = node.attrs
    reads, own = _with_residual(writer, inputs, output)
    kept = {"strides": a["stride"], "pads": a["padding"], "dilations": a["dilation"], "group": a["groups"]}
    writer.emit("Conv", reads, own, **kept)
    _add_residual(writer, inputs, own, output)


@emits("ConvTranspose")
def conv_transpose(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    a = node.attrs
    kept = {"strides": a["stride"], "dilations": a["dilation"], "group": a["groups"]}
    extra, pads = list(a["output_padding"]), list(a["padding"])
    if all(more < stride for more, stride in zip(extra, a["stride"], strict=True)):
        writer.emit("ConvTranspose", inputs, output, output_padding=extra, pads=pads, **kept)
        return
    # As large an extra margin as dilation allows is more than engines take. It uncovers what the padding at the end
    # cuts off, then zeros, to which the bias comes.
    half = len(extra)
    for i, more in enumerate(extra):
        uncovered = min(more, pads[half + i])
        pads[half + i] -= uncovered
        extra[i] = more - uncovered
    zeros = writer.ints(f"{output}.margin", [0, 0, *[0] * half, 0, 0, *extra])
    bare = writer.emit("ConvTranspose", inputs[:2], writer.name(f"{output}.bare"), pads=pads, **kept)
    wide = writer.emit("Pad", [bare, zeros], writer.name(f"{output}.wide") if len(inputs) > 2 else output)
    if len(inputs) > 2:
        array = writer.graph.constant(inputs[2])
        assert array is not None
        writer.emit("Add", [wide, writer.floats(f"{output}.bias", array.reshape(-1, *[1] * half))], output)


@emits("Linear")
def linear(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    """Gemm on matrices; on more axes MatMul, whose weight is the other way round."""
    reads, own = _with_residual(writer, inputs, output)
    x, weight = node.inputs[0], node.inputs[1]
    assert x is not None
    assert weight is not None
    if len(writer.graph.shape(x)) == 2:
        writer.emit("Gemm", reads, own, transB=1)
    else:
        array = writer.graph.constant(weight)
        assert array is not None
        turned = writer.floats(f"{output}.weight", np.ascontiguousarray(array.T))
        product = writer.name(f"{output}.product") if len(reads) > 2 else own
        writer.emit("MatMul", [reads[0], turned], product)
        if len(reads) > 2:
            writer.emit("Add", [product, reads[2]], own)
    _add_residual(writer, inputs, own, output)


@emits("BatchNorm")
def batch_norm(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    writer.emit("BatchNormalization", inputs, output, epsilon=node.attrs["eps"])
