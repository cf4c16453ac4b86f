"""Each op of the IR as a call of torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

Tensor = Any


def step(node: Any) -> Callable[..., Tensor]:
    """A function of the node's inputs (None where one is absent) that returns its output, in torch."""
    torch = import_module("torch")
    f = import_module("torch.nn.functional")
    if node.op not in _OPS:
        raise NotImplementedError(f"no torch form for {node.op}")
    run = _OPS[node.op](torch, f, node.attrs)
    act = "none" if node.op == "Activation" else node.attrs.get("act", "none")
    if act == "none":
        return run
    after = _activation(torch, f, node.attrs, inplace=True)
    return lambda *inputs: after(run(*inputs))


def _activation(torch: Any, f: Any, a: Any, inplace: bool = False) -> Callable[[Tensor], Tensor]:
    low, high = a["act_a"], a["act_b"]
    table: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": torch.relu_ if inplace else torch.relu,
        "clip": lambda x: f.hardtanh(x, low, high, inplace=inplace),
        "leaky_relu": lambda x: f.leaky_relu(x, low),
        "silu": f.silu,
        "hard_swish": lambda x: f.hardswish(x, inplace=inplace),
        "hard_sigmoid": lambda x: f.hardsigmoid(x, inplace=inplace),
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "gelu": f.gelu,
        "gelu_tanh": lambda x: f.gelu(x, approximate="tanh"),
        "exp": torch.exp,
        "sqrt": torch.sqrt,
        "abs": torch.abs,
        "neg": torch.neg,
        "none": lambda x: x,
    }
    return table[a["act"]]


def _conv(torch: Any, f: Any, a: Any) -> Callable[..., Tensor]:
    run = f.conv1d if len(a["stride"]) == 1 else f.conv2d
    begin, end = _halves(a["padding"])
    even = begin == end
    keep = {"stride": a["stride"], "padding": begin if even else 0, "dilation": a["dilation"], "groups": a["groups"]}
    around = _around(begin, end)

    def call(x: Tensor, w: Tensor, bias: Tensor = None, residual: Tensor = None) -> Tensor:
        y = run(x if even else f.pad(x, around), w, bias, **keep)
        return y if residual is None else y + residual

    return call


def _conv_transpose(torch: Any, f: Any, a: Any) -> Callable[..., Tensor]:
    begin, end = _halves(a["padding"])
    if begin != end:
        raise NotImplementedError("uneven padding of a transposed convolution")
    run = f.conv_transpose1d if len(a["stride"]) == 1 else f.conv_transpose2d
    return lambda x, w, bias=None: run(
        x, w, bias, a["stride"], begin, a["output_padding"], a["groups"], a["dilation"]
    )


def _linear(torch: Any, f: Any, a: Any) -> Callable[..., Tensor]:
    def call(x: Tensor, w: Tensor, bias: Tensor = None, residual: Tensor = None) -> Tensor:
        y = f.linear(x, w, bias)
        return y if residual is None else y + residual

    return call


def _max_pool(torch: Any, f: Any, a: Any) -> Callable[..., Tensor]:
    run = f.max_pool1d if len(a["kernel"]) == 1 else f.max_pool2d
    begin, end = _halves(a["padding"])
    even = begin == end and all(2 * p <= k for p, k in zip(begin, a["kernel"], strict=True))
    keep = {"padding": begin if even else 0, "dilation": a["dilation"], "ceil_mode": bool(a["ceil_mode"])}
    around = _around(begin, end)

    def call(x: Tensor) -> Tensor:
        return run(x if even else f.pad(x, around, value=-torch.inf), a["kernel"], a["stride"], **keep)

    return call


def _avg_pool(torch: Any, f: Any, a: Any) -> Callable[..., Tensor]:
    begin, end = _halves(a["padding"])
    if begin != end:
        raise NotImplementedError("uneven padding of an average pool")
    include = bool(a["count_include_pad"])
    if len(a["kernel"]) == 1:
        return lambda x: f.avg_pool1d(x, a["kernel"], a["stride"], begin, bool(a["ceil_mode"]), include)
    divisor = a["divisor_override"] or None
    return lambda x: f.avg_pool2d(x, a["kernel"], a["stride"], begin, bool(a["ceil_mode"]), include, divisor)


def _adaptive(kind: str) -> Callable[[Any, Any, Any], Callable[..., Tensor]]:
    def make(torch: Any, f: Any, a: Any) -> Callable[..., Tensor]:
        run = getattr(f, f"adaptive_{kind}_pool{len(a['output'])}d")
        return lambda x: run(x, a["output"])

    return make


def _slice(torch: Any, f: Any, a: Any) -> Callable[..., Tensor]:
    where = [slice(None)] * a["axis"] + [slice(a["start"], a["end"], a["step"])]
    return lambda x: x[tuple(where)]


def _pad(torch: Any, f: Any, a: Any) -> Callable[..., Tensor]:
    begin, end = _halves(a["pads"])
    around = _around(begin, end)
    if a["mode"] == "constant":
        return lambda x: f.pad(x, around, value=a["value"])
    return lambda x: f.pad(x, around[: 2 * (x.dim() - 2)], mode=a["mode"])


def _resize(torch: Any, f: Any, a: Any) -> Callable[..., Tensor]:
    if a["mode"] == "nearest":
        return lambda x: f.interpolate(x, size=a["output"], mode="nearest")
    mode = "linear" if len(a["output"]) == 1 else "bilinear"
    return lambda x: f.interpolate(x, size=a["output"], mode=mode, align_corners=bool(a["align_corners"]))


def _halves(pads: list[int]) -> tuple[list[int], list[int]]:
    return pads[: len(pads) // 2], pads[len(pads) // 2 :]


def _around(begin: list[int], end: list[int]) -> list[int]:
    """torch's order: begin and end of the last axis, then of the one before."""
    return [p for pair in zip(reversed(begin), reversed(end), strict=True) for p in pair]


_OPS: dict[str, Callable[[Any, Any, Any], Callable[..., Tensor]]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Linear": _linear,
    "BatchNorm": lambda t, f, a: lambda x, gamma, beta, mean, var: f.batch_norm(
        x, mean, var, gamma, beta, eps=a["eps"]
    ),
    "Activation": _activation,
    "PRelu": lambda t, f, a: f.prelu,
    "Softmax": lambda t, f, a: lambda x: (f.log_softmax if a["log"] else f.softmax)(x, a["axis"]),
    "Add": lambda t, f, a: t.add,
    "Sub": lambda t, f, a: t.sub,
    "Mul": lambda t, f, a: t.mul,
    "Div": lambda t, f, a: t.div,
    "MaxPool": _max_pool,
    "AvgPool": _avg_pool,
    "AdaptiveAvgPool": _adaptive("avg"),
    "AdaptiveMaxPool": _adaptive("max"),
    "Mean": lambda t, f, a: lambda x: x.mean(a["axes"], bool(a["keepdim"])),
    "Concat": lambda t, f, a: lambda *xs: t.cat(xs, a["axis"]),
    "Slice": _slice,
    "Pad": _pad,
    "Reshape": lambda t, f, a: lambda x: x.reshape([len(x), *a["shape"][1:]]),
    "Transpose": lambda t, f, a: lambda x: x.permute(a["perm"]),
    "ChannelShuffle": lambda t, f, a: lambda x: f.channel_shuffle(x, a["groups"]),
    "Resize": _resize,
    "Identity": lambda t, f, a: lambda x: x,
}
