"""Layers with weights: convolution, linear and matrix products, batch norm."""

from __future__ import annotations

import torch

from sparsenet.frontends.aten.call import Call
from sparsenet.frontends.aten.table import Unsupported, converts, ints


@converts(
    "conv1d.default", "conv1d.padding", "conv2d.default", "conv2d.padding", "convolution.default",
    "conv_transpose1d.default", "conv_transpose2d.input",
)  # fmt: skip
def convolution(call: Call) -> str:
    weight = call.tensor("weight")
    assert weight is not None
    rank = weight.dim() - 2
    if rank not in (1, 2):
        raise Unsupported(f"convolution over {rank} spatial axes; 1 and 2 are possible")
    if len(call.input_shape("input")) != rank + 2:
        raise Unsupported("its input has no batch axis: unsqueeze one")
    dilation = ints(call["dilation"], rank)
    attrs = {"stride": ints(call["stride"], rank), "dilation": dilation, "groups": call["groups"]}
    padding = call["padding"]
    if isinstance(padding, str):
        # torch puts the odd pixel of "same" at the end.
        total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, weight.shape[2:], strict=True)]
        attrs["padding"] = [t // 2 for t in total] + [t - t // 2 for t in total]
    else:
        attrs["padding"] = ints(padding, rank) * 2
    op = "Conv"
    if "transpose" in call.op or call.args.get("transposed"):
        op = "ConvTranspose"
        attrs["output_padding"] = ints(call["output_padding"], rank)
    return call.emit(op, [call.value("input"), call.constant("weight", "weight"), call.constant("bias", "bias")], attrs)


@converts("linear.default")
def linear(call: Call) -> str:
    return call.emit(
        "Linear", [call.value("input"), call.constant("weight", "weight"), call.constant("bias", "bias")]
    )


@converts("matmul.default", "mm.default")
def matmul(call: Call) -> str:
    left, right = ("self", "other") if "other" in call.args else ("self", "mat2")
    weight = call.tensor(right)
    assert weight is not None
    x = call.value(left)
    if weight.dim() == 1:
        return _reshaped(call, call.emit("Linear", [x, call.constant(weight[None], "weight")], part="product"))
    if weight.dim() != 2:
        raise Unsupported(f"a product with a constant of {weight.dim()} axes; a matrix or a vector is possible")
    return call.emit("Linear", [x, call.constant(weight.t(), "weight")])


def _reshaped(call: Call, value: str) -> str:
    return call.emit("Reshape", [value], {"shape": [0, *call.shape[1:]]})


@converts("addmm.default")
def addmm(call: Call) -> str:
    weight, bias = call.tensor("mat2"), call.tensor("self")
    assert weight is not None
    assert bias is not None
    scaled = (bias * call["beta"]).reshape(-1)
    if scaled.numel() not in (1, weight.shape[1]) or (bias.dim() > 1 and bias.shape[0] != 1):
        raise Unsupported(f"a bias of shape {list(bias.shape)}; one number for each output is possible")
    return call.emit(
        "Linear",
        [
            call.value("mat1"),
            call.constant(weight.t() * call["alpha"], "weight"),
            call.constant(scaled.expand(weight.shape[1]), "bias"),
        ],
    )


@converts(
    "_native_batch_norm_legit_no_training.default", "_native_batch_norm_legit.default",
    "_native_batch_norm_legit.no_stats", "_native_batch_norm_legit_functional.default", "batch_norm.default",
    "native_batch_norm.default",
)  # fmt: skip
def batch_norm(call: Call) -> str | list[str | None]:
    mean = call.tensor("running_mean") if "running_mean" in call.args else None
    var = call.tensor("running_var") if "running_var" in call.args else None
    if mean is None or var is None or call.args.get("training"):
        raise Unsupported("normalises by the batch's own statistics; sparsenet runs eval mode: call module.eval()")
    weight, bias = call.tensor("weight"), call.tensor("bias")
    y = call.emit(
        "BatchNorm",
        [
            call.value("input"),
            call.constant(torch.ones_like(mean) if weight is None else "weight", "weight"),
            call.constant(torch.zeros_like(mean) if bias is None else "bias", "bias"),
            call.constant("running_mean", "running_mean"),
            call.constant("running_var", "running_var"),
        ],
        {"eps": call["eps"]},
    )
    return y if call.op == "aten.batch_norm.default" else [y, None, None]
