"""The table of converters, from an operator's name to the function that emits its nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsenet.frontends.aten.call import Call

# A converter returns what the operator's result stands for: a value's name, or a list of them for several results.
Converter = Callable[["Call"], Any]
TABLE: dict[str, Converter] = {}


class Unsupported(Exception):
    """Raised by a converter; the message says why these arguments cannot be taken."""


def converts(*names: str) -> Callable[[Converter], Converter]:
    """Registers a converter for operators by name, "relu.default" for aten.relu.default."""

    def register(function: Converter) -> Converter:
        for name in names:
            TABLE[f"aten.{name}"] = function
        return function

    return register


def ints(value: Any, rank: int) -> list[int]:
    """An argument that gives one number for every axis, or one for all."""
    values = [value] if isinstance(value, int) else list(value)
    if any(not isinstance(v, int) for v in values):
        raise Unsupported(f"sizes must be fixed numbers, got {values}")
    return values * rank if len(values) == 1 else values
