"""Pooling, means and resampling."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, prod

import numpy as np
from numpy.typing import NDArray

from sparsenet import _core
from sparsenet.onnx_export.writer import Inexpressible, Writer, emits
from sparsenet.reference.layout import nearest_source


def spatial(writer: Writer, node: _core.Node) -> list[int]:
    """The sizes of the spatial axes of a node's input."""
    x = node.inputs[0]
    assert x is not None
    return [int(n or 0) for n in writer.graph.shape(x)[2:]]


@emits("MaxPool")
def max_pool(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    a = node.attrs
    kept = {"kernel_shape": a["kernel"], "strides": a["stride"], "pads": a["padding"], "dilations": a["dilation"]}
    writer.emit("MaxPool", inputs, output, ceil_mode=_ceil_mode(writer, node), **kept)


def _ceil_mode(writer: Writer, node: _core.Node) -> int:
    """1 only where it adds a window: rounding up, ONNX's shape inference counts windows that begin past the input."""
    a, half = node.attrs, len(node.attrs["kernel"])
    dilation = a.get("dilation") or [1] * half
    for axis, (n, out) in enumerate(zip(spatial(writer, node), writer.graph.shape(node.output)[2:], strict=True)):
        padded = n + a["padding"][axis] + a["padding"][half + axis]
        floor = (padded - dilation[axis] * (a["kernel"][axis] - 1) - 1) // a["stride"][axis] + 1
        if int(out or 0) > floor:
            return 1
    return 0


@emits("AvgPool")
def avg_pool(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    a = node.attrs
    kept = {"kernel_shape": a["kernel"], "strides": a["stride"]}
    if not a["divisor_override"]:
        kept |= {"pads": a["padding"], "ceil_mode": _ceil_mode(writer, node)}
        kept |= {"count_include_pad": a["count_include_pad"]}
        writer.emit("AveragePool", inputs, output, **kept)
        return
    # Whole windows over an input that is padded beforehand: all divisors are then the kernel's size, to be replaced.
    half = len(a["kernel"])
    end = [
        max(0, (out - 1) * stride + kernel - n - begin)
        for n, out, kernel, stride, begin in zip(
            spatial(writer, node),
            [int(n or 0) for n in writer.graph.shape(node.output)[2:]],
            a["kernel"], a["stride"], a["padding"][:half], strict=True,
        )
    ]  # fmt: skip
    pads = writer.ints(f"{output}.pads", [0, 0, *a["padding"][:half], 0, 0, *end])
    padded = writer.emit("Pad", [*inputs, pads], writer.name(f"{output}.padded"))
    mean = writer.emit("AveragePool", [padded], writer.name(f"{output}.mean"), **kept)
    writer.emit("Mul", [mean, writer.floats(f"{output}.factor", prod(a["kernel"]) / a["divisor_override"])], output)


@emits("AdaptiveAvgPool", "AdaptiveMaxPool")
def adaptive(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    """A global or plain pool where the windows allow it, else window by window, an axis at a time."""
    kind = "Average" if node.op == "AdaptiveAvgPool" else "Max"
    size, wanted = spatial(writer, node), node.attrs["output"]
    if all(w == 1 for w in wanted):
        writer.emit(f"Global{kind}Pool", inputs, output)
        return
    if all(n % w == 0 for n, w in zip(size, wanted, strict=True)):
        kernel = [n // w for n, w in zip(size, wanted, strict=True)]
        writer.emit(f"{kind}Pool", inputs, output, kernel_shape=kernel, strides=kernel)
        return
    x = inputs[0]
    reduce = {"Average": "ReduceMean", "Max": "ReduceMax"}[kind]
    for axis, (n, w) in enumerate(zip(size, wanted, strict=True), start=2):
        axes = writer.ints(f"{output}.axis", [axis])
        parts = []
        for i in range(w):
            begin, end = i * n // w, -(-(i + 1) * n // w)
            ends = [writer.ints(f"{output}.window", [value]) for value in (begin, end)]
            window = writer.emit("Slice", [x, *ends, axes], writer.name(f"{output}.window"))
            parts.append(writer.emit(reduce, [window, axes], writer.name(f"{output}.part"), keepdims=1))
        x = writer.emit("Concat", parts, output if axis == len(size) + 1 else writer.name(f"{output}.rows"), axis=axis)


@emits("Mean")
def mean(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    axes = writer.ints(f"{output}.axes", node.attrs["axes"])
    writer.emit("ReduceMean", [*inputs, axes], output, keepdims=node.attrs["keepdim"])


@emits("Resize")
def resize(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    """By sizes where the step is input over output, else by scales, which give the sizes rounded down.

    Nearest samples that a runtime could miss are gathered: ONNX divides a position by the scale, here it is multiplied
    by the step, and 8 / (16 / 14) is 6.9999995 in fp32."""
    a, size = node.attrs, spatial(writer, node)
    pairs = list(zip(size, a["output"], a["scale"], strict=True))
    if a["mode"] == "nearest":
        if not all(_certain(out, n, step) for n, out, step in pairs):
            return _gather(writer, inputs[0], [nearest_source(out, n, step) for n, out, step in pairs], output)
        mode = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    else:
        corners = "align_corners" if a["align_corners"] else "half_pixel"
        mode = {"mode": "linear", "coordinate_transformation_mode": corners}
    if a["align_corners"] or all(abs(n / out - step) <= 1e-6 * step for n, out, step in pairs):
        axes = list(range(2, 2 + len(size)))
        writer.emit("Resize", [*inputs, "", "", writer.ints(f"{output}.sizes", a["output"])], output, axes=axes, **mode)
        return
    if any(floor(n / step) != out for n, out, step in pairs):
        raise Inexpressible(f"resampling of {size} to {a['output']} in steps of {a['scale']}")
    scales = writer.floats(f"{output}.scales", [1, 1, *(1 / step for step in a["scale"])])
    writer.emit("Resize", [*inputs, "", scales], output, **mode)


def _certain(out: int, n: int, step: float) -> bool:
    """Whether nearest resampling takes the same samples of an axis by the text of ONNX's Resize, in fp32: with the
    scale of the sizes, and with the inverse of the step."""
    position, ours = np.arange(out, dtype=np.float32), nearest_source(out, n, step)
    scales = np.float32(out) / np.float32(n), np.float32(1 / step)
    return all(np.array_equal(np.minimum(np.floor(position / scale), n - 1), ours) for scale in scales)


def _gather(writer: Writer, x: str, sources: Sequence[NDArray[np.intp]], output: str) -> None:
    """Samples of the spatial axes, one axis after the other."""
    for axis, source in enumerate(sources, start=2):
        to = output if axis == len(sources) + 1 else writer.name(f"{output}.axis{axis}")
        x = writer.emit("Gather", [x, writer.ints(f"{output}.samples{axis}", source.tolist())], to, axis=axis)
