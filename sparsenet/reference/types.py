"""What the reference's modules share: array and graph types, and access to a node's inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Attrs = Mapping[str, Any]
Inputs = Sequence["Array | None"]  # None: an optional input that is absent


def optional(inputs: Inputs, index: int) -> Array | None:
    """Input ``index``, or None where it is absent."""
    return inputs[index] if index < len(inputs) else None


def required(inputs: Inputs, index: int) -> Array:
    """Input ``index``, which the op cannot do without."""
    value = optional(inputs, index)
    if value is None:
        raise ValueError(f"input {index} is required, but absent")
    return value


class NodeLike(Protocol):
    """The part of a graph's node that the reference reads."""

    @property
    def op(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def inputs(self) -> Sequence[str | None]: ...
    @property
    def output(self) -> str: ...
    @property
    def attrs(self) -> Attrs: ...


class GraphLike(Protocol):
    """The part of :class:`sparsenet.Graph` that the reference reads."""

    @property
    def inputs(self) -> Sequence[tuple[str, Sequence[int | None]]]: ...
    @property
    def outputs(self) -> Sequence[tuple[str, Sequence[int | None]]]: ...
    @property
    def nodes(self) -> Sequence[Any]: ...
    def constant(self, name: str) -> Any: ...
