"""What sparsenet raises. Everything stands under `SparsenetError`; messages name the node, the tensor, what was
expected and what came."""

from __future__ import annotations

__all__ = [
    "FileFormatError",
    "GraphError",
    "InvalidArgumentError",
    "ShapeError",
    "SparsenetError",
    "SparsenetIOError",
    "UnsupportedOpError",
]


class SparsenetError(Exception):
    """The base of all the others."""


class UnsupportedOpError(SparsenetError):
    """The model holds ops that sparsenet does not know; the message lists all of them."""


class GraphError(SparsenetError):
    """The graph breaks a rule of the IR: a missing value, an unknown attribute, a cycle."""


class ShapeError(SparsenetError, ValueError):
    """A shape, rank or dtype does not fit."""


class FileFormatError(SparsenetError):
    """The bytes are not a valid `.snet` file."""


class InvalidArgumentError(SparsenetError, ValueError):
    """A wrong option or an unknown name."""


class SparsenetIOError(SparsenetError, OSError):
    """The operating system refused to open, read, write or rename a file."""
