"""Ops that move elements."""

from __future__ import annotations

from collections.abc import Sequence

from sparsenet import _core
from sparsenet.onnx_export.writer import Writer, emits


@emits("Concat")
def concat(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    writer.emit("Concat", inputs, output, axis=node.attrs["axis"])


@emits("Slice")
def slice_(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    ends = [writer.ints(f"{output}.{key}", [node.attrs[key]]) for key in ("start", "end", "axis", "step")]
    writer.emit("Slice", [*inputs, *ends], output)


@emits("Pad")
def pad(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    a = node.attrs
    half = len(a["pads"]) // 2
    pads = writer.ints(f"{output}.pads", [0, *a["pads"][:half], 0, *a["pads"][half:]])
    mode = {"replicate": "edge"}.get(a["mode"], a["mode"])
    writer.emit("Pad", [*inputs, pads, writer.floats(f"{output}.value", a["value"])], output, mode=mode)


@emits("Reshape")
def reshape(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    # A leading 0 copies the batch in ONNX, too.
    writer.emit("Reshape", [*inputs, writer.ints(f"{output}.shape", node.attrs["shape"])], output)


@emits("Transpose")
def transpose(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    writer.emit("Transpose", inputs, output, perm=node.attrs["perm"])


@emits("ChannelShuffle")
def channel_shuffle(writer: Writer, node: _core.Node, inputs: Sequence[str], output: str) -> None:
    channels, *rest = (int(n or 0) for n in writer.graph.shape(node.output)[1:])
    groups = node.attrs["groups"]
    apart = writer.ints(f"{output}.apart_shape", [0, groups, channels // groups, *rest])
    x = writer.emit("Reshape", [*inputs, apart], writer.name(f"{output}.apart"))
    x = writer.emit("Transpose", [x], writer.name(f"{output}.swapped"), perm=[0, 2, 1, *range(3, 3 + len(rest))])
    writer.emit("Reshape", [x, writer.ints(f"{output}.shape", [0, channels, *rest])], output)
