"""Pooling, and the padding rules that it shares with convolution."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from sparsenet.frontends.onnx_ops.call import Call
from sparsenet.frontends.onnx_ops.table import Unsupported, converts

_POOL = "auto_pad:str ceil_mode:int dilations:ints kernel_shape:ints pads:ints strides:ints"


def spatial_list(call: Call, attribute: str, spatial: int) -> list[int]:
    """One number for each spatial axis; ones if the attribute is absent."""
    values: list[int] = call.get(attribute, [1] * spatial)
    if len(values) != spatial or min(values) < 1:
        raise Unsupported(f"{attribute} {values} must be {spatial} numbers >= 1")
    return values


def same_padding(call: Call, kernel: list[int], stride: list[int], dilation: list[int]) -> list[int]:
    """Begin of each spatial axis, then end of each: as given, or what auto_pad asks for."""
    auto = call.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID"):
        return call.get("pads", [0] * 2 * len(kernel)) if auto == "NOTSET" else [0] * 2 * len(kernel)
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise Unsupported(f"auto_pad {auto}")
    begin, end = [], []
    for n, k, s, d in zip(call.sizes()[1:], kernel, stride, dilation, strict=True):
        total = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
        begin.append(total // 2 if auto == "SAME_UPPER" else total - total // 2)
        end.append(total - begin[-1])
    return begin + end


def _window(call: Call) -> tuple[dict[str, Any], list[int]]:
    spatial = len(call.shape()) - 2
    kernel = call["kernel_shape"]
    if spatial not in (1, 2) or len(kernel) != spatial or min(kernel) < 1:
        raise Unsupported(f"kernel_shape {kernel} on an input of {spatial + 2} axes; 3 or 4 are possible")
    stride, dilation = spatial_list(call, "strides", spatial), spatial_list(call, "dilations", spatial)
    padding = same_padding(call, kernel, stride, dilation)
    if len(padding) != 2 * spatial or min(padding) < 0:
        raise Unsupported(f"pads {padding} must be {2 * spatial} numbers >= 0")
    attrs = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": call.get("ceil_mode", 0)}
    return attrs, dilation


def _padded_apart(call: Call, attrs: dict[str, Any], fill: float) -> str:
    """The input padded by a node of its own where the IR's pools take no such padding: more than half the kernel."""
    half = len(attrs["kernel"])
    if all(pad <= k // 2 for pad, k in zip(attrs["padding"], attrs["kernel"] * 2, strict=True)):
        return call.value()
    if attrs["ceil_mode"]:
        raise Unsupported("ceil_mode with padding of more than half the kernel")
    pads = [0, *attrs["padding"][:half], 0, *attrs["padding"][half:]]
    attrs["padding"] = [0] * 2 * half
    return call.emit("Pad", [call.value()], {"pads": pads, "mode": "constant", "value": fill}, part="padded")


@converts("MaxPool", attributes=f"{_POOL} storage_order:int")
def max_pool(call: Call) -> str:
    attrs, dilation = _window(call)
    x = _padded_apart(call, attrs, float(np.finfo(np.float32).min))
    return call.emit("MaxPool", [x], {**attrs, "dilation": dilation})


@converts("AveragePool", attributes=f"{_POOL} count_include_pad:int")
def average_pool(call: Call) -> str:
    attrs, dilation = _window(call)
    if max(dilation) > 1:
        raise Unsupported("dilated averages")
    counts = call.get("count_include_pad", 0)
    deep = any(pad > k // 2 for pad, k in zip(attrs["padding"], attrs["kernel"] * 2, strict=True))
    if deep and not counts:
        raise Unsupported("padding of more than half the kernel that does not count")
    x = _padded_apart(call, attrs, 0.0)
    return call.emit("AvgPool", [x], {**attrs, "count_include_pad": counts})


@converts("GlobalAveragePool", "GlobalMaxPool")
def global_pool(call: Call) -> str:
    op = "AdaptiveAvgPool" if call.op == "GlobalAveragePool" else "AdaptiveMaxPool"
    return call.emit(op, [call.value()], {"output": [1] * (len(call.shape()) - 2)})


def elements(call: Call, axes: list[int]) -> int:
    """How many elements a reduction over these axes takes together."""
    return prod(call.sizes()[axis - 1] for axis in axes)
