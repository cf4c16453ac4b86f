"""AttributeProto -> Python value, for the attributes that an operator's row of the table allows."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import AttributeProto

from sparsenet.frontends.onnx_ops.table import Unsupported
from sparsenet.frontends.onnx_ops.tensors import to_array

_KINDS: dict[str, tuple[int, str]] = {
    "int": (AttributeProto.INT, "i"),
    "float": (AttributeProto.FLOAT, "f"),
    "str": (AttributeProto.STRING, "s"),
    "ints": (AttributeProto.INTS, "ints"),
    "floats": (AttributeProto.FLOATS, "floats"),
    "tensor": (AttributeProto.TENSOR, "t"),
}


def read_attributes(node: onnx.NodeProto, allowed: dict[str, str]) -> dict[str, Any]:
    """The node's attributes by name. Raises Unsupported for an unknown one, a repeated one or one of another type."""
    values: dict[str, Any] = {}
    for attribute in node.attribute:
        kind = allowed.get(attribute.name)
        if kind is None:
            raise Unsupported(f"attribute '{attribute.name}' is not known")
        type_, field = _KINDS[kind]
        if attribute.type != type_ or attribute.name in values or attribute.ref_attr_name:
            raise Unsupported(f"attribute '{attribute.name}' must be one {kind}")
        values[attribute.name] = _value(kind, getattr(attribute, field))
    return values


def _value(kind: str, raw: Any) -> Any:
    if kind == "str":
        return raw.decode("utf-8", "replace")
    if kind == "tensor":
        return to_array(raw)
    return list(raw) if kind in ("ints", "floats") else raw
