"""The table of converters, from an operator's name to the function that emits its nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import fx

if TYPE_CHECKING:
    from sparsenet.frontends.aten.call import Call

# A converter returns what the operator's result stands for: a value's name, or a list of them for several results.
Converter = Callable[["Call"], Any]
_C = TypeVar("_C", bound=Converter)
TABLE: dict[str, Converter] = {}


class Unsupported(Exception):
    """Raised by a converter; the message says why these arguments cannot be taken."""


def converts(*names: str) -> Callable[[_C], _C]:
    """Registers a converter for operators by name, "relu.default" for aten.relu.default."""

    def register(function: _C) -> _C:
        for name in names:
            TABLE[f"aten.{name}"] = function
        return function

    return register


def key_of(target: Any) -> str:
    """The name under which an fx node's target stands in TABLE; "relu_" stands under "relu"."""
    if isinstance(target, torch._ops.OpOverload) and writes_first(target):
        return str(target).replace("_.", ".", 1)
    return str(target)


def writes_first(target: Any) -> bool:
    """Whether an operator writes its result into its first argument, as relu_ does, and does nothing else."""
    if not isinstance(target, torch._ops.OpOverload) or not target._schema.is_mutable:
        return False
    name, arguments = target.overloadpacket.__name__, target._schema.arguments
    targets = [i for i, a in enumerate(arguments) if a.alias_info is not None and a.alias_info.is_write]
    return name.endswith("_") and not name.startswith("_") and targets == [0]


def written(node: fx.Node) -> fx.Node:
    """The node whose tensor `node` stands for: itself, unless it is the result of writing in place."""
    while writes_first(node.target):
        node = node.args[0]  # type: ignore[assignment]
    return node


def ints(value: Any, rank: int) -> list[int]:
    """An argument that gives one number for every axis, or one for all."""
    values = [value] if isinstance(value, int) else list(value)
    if any(not isinstance(v, int) for v in values):
        raise Unsupported(f"sizes must be fixed numbers, got {values}")
    return values * rank if len(values) == 1 else values
