"""Layers with weights: convolutions, Gemm, MatMul, batch norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsenet.frontends.onnx_ops.call import Call
from sparsenet.frontends.onnx_ops.table import Unsupported, converts
from sparsenet.frontends.onnx_ops.windows import same_padding, spatial_list

_CONV = "auto_pad:str dilations:ints group:int kernel_shape:ints pads:ints strides:ints"


def _weight(call: Call) -> tuple[Any, int, dict[str, Any]]:
    weight = call.array(1)
    spatial = weight.ndim - 2
    if spatial not in (1, 2) or len(call.shape()) != weight.ndim:
        raise Unsupported(
            f"a weight of {weight.ndim} axes on an input of {len(call.shape())}; 3 or 4 of both are possible"
        )
    kernel = call.get("kernel_shape", list(weight.shape[2:]))
    if kernel != list(weight.shape[2:]):
        raise Unsupported(f"kernel_shape {kernel} differs from the weight's {list(weight.shape[2:])}")
    attrs = {
        "stride": spatial_list(call, "strides", spatial),
        "dilation": spatial_list(call, "dilations", spatial),
        "groups": call.get("group", 1),
    }
    return weight, spatial, attrs


@converts("Conv", attributes=_CONV)
def conv(call: Call) -> str:
    weight, _, attrs = _weight(call)
    attrs["padding"] = same_padding(call, list(weight.shape[2:]), attrs["stride"], attrs["dilation"])
    return call.emit("Conv", [call.value(), call.constant(1, "weight"), call.constant(2, "bias")], attrs)


@converts("ConvTranspose", attributes=f"{_CONV} output_padding:ints output_shape:ints")
def conv_transpose(call: Call) -> str:
    weight, spatial, attrs = _weight(call)
    extra = call.get("output_padding", [0] * spatial)
    auto = call.get("auto_pad", "NOTSET")
    wanted = call.get("output_shape")
    if wanted is None and auto.startswith("SAME"):
        wanted = [n * s for n, s in zip(call.sizes()[1:], attrs["stride"], strict=True)]
    if wanted is None:
        padding = [0] * 2 * spatial if auto == "VALID" else call.get("pads", [0] * 2 * spatial)
    else:
        padding = _transposed_padding(call, weight.shape[2:], attrs, extra, wanted[-spatial:], auto)
    attrs |= {"padding": padding, "output_padding": extra}
    return call.emit("ConvTranspose", [call.value(), call.constant(1, "weight"), call.constant(2, "bias")], attrs)


def _transposed_padding(
    call: Call, kernel: Any, attrs: dict[str, Any], extra: list[int], wanted: list[int], auto: str
) -> list[int]:
    """The padding that leaves an output of the wanted size: ONNX, ConvTranspose, "output_shape"."""
    begin, end = [], []
    for n, k, s, d, x, out in zip(
        call.sizes()[1:], kernel, attrs["stride"], attrs["dilation"], extra, wanted, strict=True
    ):
        total = s * (n - 1) + x + (k - 1) * d + 1 - out
        if total < 0:
            raise Unsupported(f"output_shape {wanted} is larger than what the kernel reaches")
        half = total // 2
        begin.append(half if auto == "SAME_UPPER" else total - half)
        end.append(total - begin[-1])
    return begin + end


@converts("Gemm", attributes="alpha:float beta:float transA:int transB:int")
def gemm(call: Call) -> str:
    """y = alpha x W + beta c, with W turned round for Linear."""
    weight = call.array(1)
    if call.get("transA", 0):
        raise Unsupported("transA moves the batch to another axis")
    if weight.ndim != 2 or len(call.shape()) != 2:
        raise Unsupported("takes matrices")
    turned = weight if call.get("transB", 0) else weight.T
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    scaled = turned if alpha == 1 else turned * np.float32(alpha)
    name = call.constant_from(scaled, "weight")
    if isinstance(call.peek(2), str):
        if beta != 1 or call.shape(2) != [None, len(turned)]:
            raise Unsupported("adds an activation with beta or broadcasting: add it afterwards")
        return call.emit("Add", [call.emit("Linear", [call.value(), name], part="product"), call.value(2)])
    bias = call.optional_array(2)
    if bias is None:
        return call.emit("Linear", [call.value(), name])
    if bias.ndim == 2 and bias.shape[0] != 1:
        bias = call.one_sample(bias)
    if bias.ndim != 1 or bias.shape[0] != len(turned) or beta != 1:
        if bias.size not in (1, len(turned)):
            raise Unsupported(f"c of shape {list(bias.shape)}; one number for each output is possible")
        bias = np.broadcast_to(bias.reshape(-1) * np.float32(beta), len(turned))
    return call.emit("Linear", [call.value(), name, call.constant_from(bias, "bias")])


@converts("MatMul")
def matmul(call: Call) -> str:
    if isinstance(call.peek(0), np.ndarray):
        return _matmul_from_left(call)
    weight = call.array(1)
    rank = len(call.shape())
    while 2 < weight.ndim <= rank and weight.shape[0] == 1:
        weight = weight[0]
    if weight.ndim == 1:
        product = call.emit("Linear", [call.value(), call.constant_from(weight[None], "weight")], part="product")
        return call.emit("Reshape", [product], {"shape": [0, *call.sizes()[:-1]]})
    if weight.ndim != 2 or rank < 2:
        raise Unsupported(f"a product of {rank} axes with a constant of {list(weight.shape)}; a matrix is possible")
    return call.emit("Linear", [call.value(), call.constant_from(weight.T, "weight")])


def _matmul_from_left(call: Call) -> str:
    """W x on the last two axes of x, which change places before and after Linear."""
    weight, rank = call.array(0), len(call.shape(1))
    if weight.ndim != 2 or rank < 3:
        raise Unsupported(f"a product of a constant {list(weight.shape)} with an activation of {rank} axes")
    perm = [*range(rank - 2), rank - 1, rank - 2]
    turned = call.emit("Transpose", [call.value(1)], {"perm": perm}, part="turned")
    product = call.emit("Linear", [turned, call.constant(0, "weight")], part="product")
    return call.emit("Transpose", [product], {"perm": perm})


@converts("BatchNormalization", attributes="epsilon:float momentum:float spatial:int training_mode:int")
def batch_norm(call: Call) -> str:
    if call.get("training_mode", 0):
        raise Unsupported("normalises by the batch's own statistics; export the model in eval mode")
    if not call.get("spatial", 1):
        raise Unsupported("statistics per position (spatial=0)")
    parameters = [call.constant(i, role) for i, role in enumerate(("scale", "bias", "mean", "var"), start=1)]
    return call.emit("BatchNorm", [call.value(), *parameters], {"eps": call.get("epsilon", 1e-5)})
