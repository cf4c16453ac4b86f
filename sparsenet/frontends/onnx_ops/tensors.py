"""TensorProto -> NumPy array; sizes are proved against the bytes that are there before anything is allocated."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from sparsenet.errors import FileFormatError
from sparsenet.frontends.onnx_ops.table import Unsupported

MAX_RANK = 8
Constant = NDArray[Any]

# data type -> (NumPy type of raw_data, field that holds it otherwise)
_TYPES: dict[int, tuple[str, str]] = {
    TensorProto.FLOAT: ("<f4", "float_data"),
    TensorProto.DOUBLE: ("<f8", "double_data"),
    TensorProto.FLOAT16: ("<f2", "int32_data"),  # as bits
    TensorProto.BFLOAT16: ("<u2", "int32_data"),  # as bits
    TensorProto.INT64: ("<i8", "int64_data"),
    TensorProto.INT32: ("<i4", "int32_data"),
    TensorProto.INT16: ("<i2", "int32_data"),
    TensorProto.INT8: ("<i1", "int32_data"),
    TensorProto.UINT8: ("<u1", "int32_data"),
    TensorProto.UINT16: ("<u2", "int32_data"),
    TensorProto.BOOL: ("|b1", "int32_data"),
}
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
# What a Cast to the type computes with here.
CASTS: dict[int, Any] = {
    **dict.fromkeys(FLOATS, np.float32),
    TensorProto.DOUBLE: np.float64,
    TensorProto.INT64: np.int64,
    TensorProto.INT32: np.int32,
    TensorProto.BOOL: np.bool_,
}


def type_name(data_type: int) -> str:
    """FLOAT16 and the like; the number where there is no name."""
    names: dict[int, str] = {value: name for name, value in TensorProto.DataType.items()}
    return names.get(data_type, f"data type {data_type}")


def check_tensor(where: str, tensor: onnx.TensorProto) -> None:
    """Raises FileFormatError unless the tensor holds as many elements as its dims say."""
    dims = list(tensor.dims)
    if len(dims) > MAX_RANK or any(d < 0 for d in dims):
        raise FileFormatError(f"{where}: dims {dims} must be at most {MAX_RANK} sizes >= 0")
    if tensor.HasField("segment"):
        raise FileFormatError(f"{where} is stored in segments")
    if tensor.data_type not in _TYPES:
        return  # refused where a node reads it, together with what else that node lacks
    dtype, fallback = _TYPES[tensor.data_type]
    count = prod(dims)
    if tensor.HasField("raw_data"):
        size = np.dtype(dtype).itemsize
        if len(tensor.raw_data) != count * size:
            raise FileFormatError(
                f"{where}: dims {dims} need {count * size:,} bytes of {type_name(tensor.data_type)}; "
                f"got {len(tensor.raw_data):,}"
            )
    elif len(getattr(tensor, fallback)) != count:
        raise FileFormatError(f"{where}: dims {dims} need {count:,} elements; got {len(getattr(tensor, fallback)):,}")


def to_array(tensor: onnx.TensorProto) -> Constant:
    """The values of a checked tensor; bfloat16 comes as float32."""
    if tensor.data_type not in _TYPES:
        raise Unsupported(f"the constant '{tensor.name}' is {type_name(tensor.data_type)}")
    dtype, fallback = _TYPES[tensor.data_type]
    if tensor.HasField("raw_data"):
        array = np.frombuffer(tensor.raw_data, dtype)
    else:
        stored = np.asarray(getattr(tensor, fallback))
        is_bits = tensor.data_type == TensorProto.FLOAT16
        array = stored.astype(np.uint16).view(np.float16) if is_bits else stored.astype(dtype)
    if tensor.data_type == TensorProto.BFLOAT16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.reshape(tuple(tensor.dims))
