"""Windows over spatial axes: pooling, means, and resampling."""

from __future__ import annotations

import math
from typing import Any

from sparsenet.frontends.aten.call import Call
from sparsenet.frontends.aten.table import Converter, Unsupported, converts, ints


def _rank(call: Call, spatial: int) -> int:
    axes = len(call.input_shape("self" if "self" in call.args else "input"))
    if axes != spatial + 2:
        raise Unsupported(f"its input has {axes} axes, not {spatial + 2}: a batch axis is needed")
    return spatial


def _window(call: Call, spatial: int) -> dict[str, Any]:
    rank = _rank(call, spatial)
    kernel = ints(call["kernel_size"], rank)
    return {
        "kernel": kernel,
        "stride": ints(call["stride"], rank) if call["stride"] else kernel,
        "padding": ints(call["padding"], rank) * 2,
        "ceil_mode": int(call["ceil_mode"]),
    }


def _max_pool(spatial: int) -> Converter:
    def convert(call: Call) -> str | list[str | None]:
        attrs = {**_window(call, spatial), "dilation": ints(call["dilation"], spatial)}
        y = call.emit("MaxPool", [call.value("self")], attrs)
        return [y, None] if "with_indices" in call.op else y

    return convert


def _avg_pool(spatial: int) -> Converter:
    def convert(call: Call) -> str:
        attrs = {**_window(call, spatial), "count_include_pad": int(call["count_include_pad"])}
        attrs["divisor_override"] = call.args.get("divisor_override") or 0
        return call.emit("AvgPool", [call.value("self")], attrs)

    return convert


def _adaptive(op: str, spatial: int) -> Converter:
    def convert(call: Call) -> str | list[str | None]:
        _rank(call, spatial)
        y = call.emit(op, [call.value("self")], {"output": ints(call["output_size"], spatial)})
        return [y, None] if op == "AdaptiveMaxPool" else y

    return convert


for _d in (1, 2):
    converts(f"max_pool{_d}d.default", f"max_pool{_d}d_with_indices.default")(_max_pool(_d))
    converts(f"avg_pool{_d}d.default")(_avg_pool(_d))
    converts(f"adaptive_avg_pool{_d}d.default", f"_adaptive_avg_pool{_d}d.default")(_adaptive("AdaptiveAvgPool", _d))
    converts(f"adaptive_max_pool{_d}d.default")(_adaptive("AdaptiveMaxPool", _d))


def _axes(call: Call) -> list[int]:
    """The axes of a reduction, without the batch."""
    rank = len(call.input_shape("self"))
    dims = call["dim"]
    axes = sorted(d % rank for d in ([dims] if isinstance(dims, int) else dims or range(rank)))
    if 0 in axes:
        raise Unsupported("reduces over the batch: samples must stay apart")
    return axes


@converts("mean.dim")
def mean(call: Call) -> str:
    return call.emit("Mean", [call.value("self")], {"axes": _axes(call), "keepdim": int(call["keepdim"])})


@converts("sum.dim_IntList")
def total(call: Call) -> str:
    axes, shape = _axes(call), call.input_shape("self")
    average = call.emit("Mean", [call.value("self")], {"axes": axes, "keepdim": int(call["keepdim"])}, part="mean")
    return call.emit("Mul", [average, call.number(float(math.prod(shape[a] or 1 for a in axes)), "count")])


@converts("amax.default")
def amax(call: Call) -> str:
    axes, shape = _axes(call), call.input_shape("self")
    if len(shape) not in (3, 4) or axes != list(range(2, len(shape))):
        raise Unsupported("a maximum over other axes than all spatial ones")
    if call["keepdim"]:
        return call.emit("AdaptiveMaxPool", [call.value("self")], {"output": [1] * len(axes)})
    y = call.emit("AdaptiveMaxPool", [call.value("self")], {"output": [1] * len(axes)}, part="pool")
    return call.emit("Reshape", [y], {"shape": [0, *call.shape[1:]]})


@converts("mean.default", "sum.default", "max.default", "min.default")
def over_everything(call: Call) -> str:
    raise Unsupported("reduces over the batch: samples must stay apart")


def _resize(mode: str) -> Converter:
    def convert(call: Call) -> str:
        x = "input" if "input" in call.args else "self"
        shape = call.input_shape(x)
        output = [size for size in call.shape[2:] if size is not None]
        factors = _factors(call, len(output))
        # torch walks the source in steps of 1/scale_factor where one was given, even if the sizes say otherwise.
        scale = [
            1.0 / f if f else i / o for f, i, o in zip(factors, [n or 1 for n in shape[2:]], output, strict=True)
        ]
        corners = int(bool(call.args.get("align_corners")))
        attrs = {"output": output, "scale": scale, "mode": mode, "align_corners": corners}
        return call.emit("Resize", [call.value(x)], attrs)

    return convert


def _factors(call: Call, rank: int) -> list[float | None]:
    if call.args.get("scale_factors"):
        return list(call["scale_factors"])
    names = ["scales"] if rank == 1 else ["scales_h", "scales_w"]
    return [call.args.get(name) for name in names]


for _overload in ("default", "vec"):
    converts(f"upsample_nearest1d.{_overload}", f"upsample_nearest2d.{_overload}")(_resize("nearest"))
    converts(f"upsample_linear1d.{_overload}", f"upsample_bilinear2d.{_overload}")(_resize("bilinear"))
