"""The table of converters: an operator's name, the function that emits its nodes, and the attributes it knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from sparsenet.frontends.onnx_ops.call import Call

# A converter returns what the operator's results stand for: one thing for its first output, or a list for all of them.
Converter = Callable[["Call"], Any]
_C = TypeVar("_C", bound=Converter)


class Unsupported(Exception):
    """Raised by a converter; the message says why this node cannot be taken."""


@dataclass(frozen=True)
class Row:
    convert: Converter
    attributes: dict[str, str]  # name -> kind: int, float, str, ints, floats, tensor


TABLE: dict[str, Row] = {}


def converts(*ops: str, attributes: str = "") -> Callable[[_C], _C]:
    """Registers a converter. ``attributes`` lists all that it takes into account, as "axis:int perm:ints"; a node that
    carries another one is refused."""
    known = dict(pair.split(":") for pair in attributes.split())

    def register(function: _C) -> _C:
        TABLE.update(dict.fromkeys(ops, Row(function, known)))
        return function

    return register
