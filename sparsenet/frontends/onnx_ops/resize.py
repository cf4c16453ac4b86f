"""Resize and Upsample: nearest and linear, as far as the IR's two rules can say it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsenet.frontends.onnx_ops.call import Call
from sparsenet.frontends.onnx_ops.table import Unsupported, converts

_RESIZE = (
    "antialias:int axes:ints coordinate_transformation_mode:str cubic_coeff_a:float exclude_outside:int "
    "extrapolation_value:float keep_aspect_ratio_policy:str mode:str nearest_mode:str"
)
_ROUNDINGS: dict[str, Callable[[Any], Any]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
}


@converts("Resize", attributes=_RESIZE)
def resize(call: Call) -> str:
    first = call.opset < 11  # Resize-10 has no regions and is asymmetric
    factors, sizes = call.optional_array(1 if first else 2), None if first else call.numbers(3)
    sizes = sizes or None  # older exports pass an empty list for what is absent
    factors = None if factors is None or factors.size == 0 else factors
    axes = call.get("axes")
    rank = len(call.shape())
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    if call.get("antialias", 0) or call.get("exclude_outside", 0):
        raise Unsupported("antialias and exclude_outside")
    given = [each for each in (factors, sizes) if each is not None]
    if len(given) != 1 or len(given[0]) != len(axes):
        raise Unsupported("needs one scale or one size for each axis")
    if sizes is not None and call.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unsupported("keep_aspect_ratio_policy")
    scales = _scales(call, axes, factors, sizes)
    mode = "asymmetric" if first else call.get("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if first else call.get("nearest_mode", "round_prefer_floor")
    return _emit(call, scales, sizes is not None, mode, rounding)


@converts("Upsample", attributes="mode:str scales:floats")
def upsample(call: Call) -> str:
    factors = call.attributes["scales"] if "scales" in call.attributes else call.array(1).reshape(-1).tolist()
    if len(factors) != len(call.shape()):
        raise Unsupported("needs one scale for each axis")
    scales = _scales(call, list(range(len(factors))), np.asarray(factors, np.float32), None)
    return _emit(call, scales, False, "asymmetric", "floor")


def _scales(call: Call, axes: list[int], factors: Any, sizes: Any) -> list[tuple[int, float]]:
    """(output size, output over input) of each spatial axis; the batch and the channels must stay as they are."""
    before = [1, *call.sizes()]  # the batch counts as 1: it is checked, but never resized
    scales: dict[int, tuple[int, float]] = {}
    for i, axis in enumerate(axes):
        n = before[axis]
        if sizes is not None:
            out = sizes[i] if axis else 1 if sizes[i] == call.lowering.batch else 0
            if not isinstance(out, int):
                raise Unsupported("resizes to the batch size")
            scales[axis] = (out, out / n)
        else:
            factor = float(np.float32(factors[i]))
            if not 0 < factor < 2**30:
                raise Unsupported(f"scale {factor}")
            scales[axis] = (math.floor(n * factor) if axis else 1, factor)
    if any(scales.get(axis, (0, 1.0))[1] != 1 for axis in (0, 1)):
        raise Unsupported("resizes the batch or the channels")
    if any(out < 1 for out, _ in scales.values()):
        raise Unsupported(f"sizes {[out for out, _ in scales.values()]}")
    return [scales.get(axis, (before[axis], 1.0)) for axis in range(2, len(before))]


def _emit(call: Call, scales: list[tuple[int, float]], by_size: bool, mode: str, rounding: str) -> str:
    kind, sizes = call.get("mode", "nearest"), call.sizes()[1:]
    attrs: dict[str, Any] = {"output": [out for out, _ in scales], "mode": "nearest"}
    if kind == "nearest":
        attrs["scale"] = [
            _nearest_step(n, out, scale, mode, rounding) for n, (out, scale) in zip(sizes, scales, strict=True)
        ]
    elif kind in ("linear", "bilinear"):
        attrs |= {"mode": "bilinear", "align_corners": int(mode == "align_corners")}
        attrs["scale"] = [1 / scale for _, scale in scales]
        untouched = all(scale == 1 for _, scale in scales)
        exact = all(n * s == out for n, (out, s) in zip(sizes, scales, strict=True))
        # Engines differ in what align_corners means where scale times size is no whole number.
        known = mode == "half_pixel" or (mode in ("align_corners", "half_pixel_symmetric") and (exact or by_size))
        known |= mode == "pytorch_half_pixel" and all(out > 1 for out, _ in scales)
        if not known and not untouched:
            raise Unsupported(f"linear resampling with {mode}; half_pixel and align_corners are possible")
    else:
        raise Unsupported(f"mode {kind}; nearest and linear are possible")
    return call.emit("Resize", [call.value()], attrs)


def _nearest_step(n: int, out: int, scale: float, mode: str, rounding: str) -> float:
    """The step s for which floor(i * s), which is the IR's rule, picks the same samples as the node's own rule."""
    i = np.arange(out, dtype=np.float64)
    if mode == "asymmetric":
        at = i / scale
    elif mode in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel"):
        at = (i + 0.5) / scale - 0.5
        if mode == "pytorch_half_pixel" and out == 1:
            at = i
        if mode == "half_pixel_symmetric":
            at += n / 2 * (1 - out / (n * scale))
    elif mode == "align_corners":
        at = i * ((n - 1) / (out - 1) if out > 1 else 0.0)
    else:
        raise Unsupported(f"coordinate_transformation_mode {mode}")
    if rounding not in _ROUNDINGS:
        raise Unsupported(f"nearest_mode {rounding}")
    wanted = np.clip(_ROUNDINGS[rounding](at), 0, n - 1)
    # The exact step first; a little more where its product with i falls short of a whole number by rounding.
    for step in (1 / scale, n / out, float(np.nextafter(np.float32(1 / scale), np.float32(np.inf)))):
        if np.array_equal(_picked(n, out, step), wanted):
            return step
    raise Unsupported(f"nearest resampling of {n} to {out} with {mode} and {rounding} is not floor(i * step)")


def _picked(n: int, out: int, step: float) -> NDArray[np.float32]:
    position = np.floor(np.arange(out, dtype=np.float32) * np.float32(step))
    picked: NDArray[np.float32] = np.minimum(position, np.float32(n - 1))
    return picked
