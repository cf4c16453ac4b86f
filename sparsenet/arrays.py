"""Arrays in and out: NumPy, torch, DLPack and buffers, without a copy where the layout allows."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sparsenet.errors import InvalidArgumentError, ShapeError

FloatArray = npt.NDArray[np.float32]
_FLOAT32 = np.dtype(np.float32)
_DLPACK_CPU = 1  # kDLCPU of dlpack.h


class TensorInfo(NamedTuple):
    """Name and shape of an input or output; axis 0 is the batch, None where any size runs. Always float32."""

    name: str
    shape: tuple[int | None, ...]

    def with_batch(self, batch: int) -> tuple[int, ...]:
        """The shape for one batch size."""
        return (batch, *(d for d in self.shape[1:] if d is not None))

    def __str__(self) -> str:
        return f"{self.name}{shape_text(self.shape)}"


def shape_text(shape: Sequence[int | None]) -> str:
    """[N, 3, 32, 32]: the way shapes read in every message."""
    return "[" + ", ".join("N" if d is None else str(d) for d in shape) + "]"


def is_torch(x: object) -> bool:
    """Whether x is a torch tensor; never imports torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def to_numpy(x: Any, what: str) -> FloatArray:
    """View x as a float32 array without a copy; `what` names it in errors ("input 'x'").

    Takes NumPy arrays, torch CPU tensors and anything that speaks DLPack, the array interface or the buffer protocol.
    Raises ShapeError on another dtype and InvalidArgumentError on anything that is no array or not in CPU memory.
    """
    if isinstance(x, np.ndarray):
        array = x
    elif is_torch(x):
        array = _from_torch(x, what)
    else:
        array = _from_protocol(x, what)
    if array.dtype != _FLOAT32:
        raise ShapeError(f"{what}: expected float32, got {array.dtype}; convert it first: x.astype(numpy.float32)")
    return array


def _from_torch(x: Any, what: str) -> npt.NDArray[Any]:
    import torch

    if x.device.type != "cpu":
        raise InvalidArgumentError(f"{what}: expected a CPU tensor, got one on '{x.device}'; move it with x.cpu()")
    if x.layout != torch.strided:
        raise InvalidArgumentError(f"{what}: expected a dense tensor, got layout {x.layout}; convert with x.to_dense()")
    if x.dtype != torch.float32:
        raise ShapeError(f"{what}: expected float32, got {x.dtype}; convert it first: x.float()")
    try:
        array: npt.NDArray[Any] = x.detach().resolve_neg().numpy()
    except RuntimeError as error:  # tensors without memory of their own: fake ones, those under vmap
        raise InvalidArgumentError(f"{what}: this {type(x).__name__} holds no values to read: {error}") from None
    return array


def _from_protocol(x: Any, what: str) -> npt.NDArray[Any]:
    try:
        if hasattr(x, "__dlpack__"):
            if x.__dlpack_device__()[0] != _DLPACK_CPU:
                raise InvalidArgumentError(f"{what}: expected CPU memory, got a {type(x).__name__} on another device")
            return np.from_dlpack(x)
        if hasattr(x, "__array_interface__"):
            return np.asarray(x)
        return np.asarray(memoryview(x))
    except (TypeError, ValueError, BufferError, RuntimeError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        raise InvalidArgumentError(
            f"{what}: expected a float32 array (NumPy, torch, DLPack or a buffer), got {type(x).__name__}: {error}"
        ) from None


def batch_of(array: npt.NDArray[Any], info: TensorInfo, what: str) -> int:
    """Batch size of an array of info's shape; raises ShapeError saying what came, what is expected, how to mend it."""
    expected = info.shape
    got: tuple[int, ...] = array.shape
    if len(got) == len(expected) and got[1:] == expected[1:]:
        if got[0] == 0:
            raise ShapeError(f"{what}: the batch is empty (shape {shape_text(got)}); N must be at least 1")
        if expected[0] in (None, got[0]):
            return got[0]
        raise ShapeError(f"{what}: this network was exported for batch {expected[0]} only, got shape {shape_text(got)}")
    message = f"{what}: expected shape {shape_text(expected)}, got {shape_text(got)}"
    if got == expected[1:]:
        message += "; the batch axis is missing: x[None] adds it"
    elif len(got) != len(expected):
        message += f"; expected {len(expected)} axes, got {len(got)}"
    raise ShapeError(message)


def ready(array: FloatArray) -> FloatArray:
    """The array itself where kernels can read it in place, else a contiguous copy."""
    flags = array.flags
    if flags.c_contiguous and flags.aligned:
        return array
    return np.array(array, order="C", copy=True)


def check_out(out: FloatArray, shape: tuple[int, ...], what: str) -> None:
    """Raise unless `out` (already float32) can be written in place as an array of `shape`."""
    if out.shape != shape:
        raise ShapeError(f"{what}: expected shape {shape_text(shape)}, got {shape_text(out.shape)}")
    if not (out.flags.c_contiguous and out.flags.aligned):
        raise InvalidArgumentError(f"{what}: expected a C-contiguous array, got strides {out.strides} (bytes)")
    if not out.flags.writeable:
        raise InvalidArgumentError(f"{what}: the array is read-only")


def overlap(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    """Whether two arrays share memory; b is contiguous, which keeps the exact test cheap."""
    return np.may_share_memory(a, b) and np.shares_memory(a, b)
