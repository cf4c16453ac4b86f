"""The portable graph: what frontends build, passes rewrite and `.snet` files hold."""

from __future__ import annotations

import os
from collections.abc import Callable

from sparsenet import _core
from sparsenet.atomic import write_bytes

__all__ = ["Graph", "load"]


class Graph(_core.Graph):
    """A network as nodes over named values, with dense float32 weights that may hold zeros.

    Axis 0 of every activation is the batch and reads as None in shapes. Nodes are added in topological order; each
    addition is checked and its output's shape inferred at once. `sparsenet._core.op_table()` lists the ops.

    Raises (all under `sparsenet.errors.SparsenetError`): `UnsupportedOpError` for an unknown op, `GraphError` for a
    broken rule of the IR, `ShapeError` for shapes that do not fit.

    >>> import numpy as np
    >>> graph = Graph()
    >>> x = graph.add_input("x", (None, 3))
    >>> w = graph.add_constant("w", np.array([[1, 0, 2], [0, 0, 3]], np.float32))
    >>> y = graph.add_node("Linear", [x, w], {"act": "relu"}, name="y")
    >>> graph.set_outputs([y])
    >>> graph.verify()
    >>> graph
    <sparsenet.Graph x[N, 3] -> y[N, 2]: 1 Linear; 6 weights, 50.0% zeros>
    """

    def copy(self) -> Graph:
        """A graph of its own that shares the (immutable) weights."""
        return Graph(self)

    def __reduce__(self) -> tuple[Callable[[bytes], Graph], tuple[bytes]]:
        """Pickles as the bytes of a `.snet` file, so weights with many zeros travel compressed."""
        return _restore, (_core.save_bytes(self),)

    def save(self, path: str | os.PathLike[str], fp16: bool = False) -> None:
        """Write a `.snet` file; weights with many zeros are stored compressed.

        The file appears under its name only when complete. `fp16=True` rounds weight values to half precision, which
        halves their bytes and is the only lossy option. Fully connected layers then run from half floats as well, a
        few samples at a time and where the CPU converts them (all but the scalar path): fewer bytes have to come from
        memory. Any graph's do whose weights are all numbers of half precision.

        Raises `GraphError` or `ShapeError` if the graph does not verify, `SparsenetIOError` if it can't be written.
        """
        _core.save(self, os.fspath(path), fp16=fp16)

    def to_onnx(self, path: str | os.PathLike[str], passes: bool = True) -> None:
        """Write an ONNX model (opset 20, float32, dense weights) for other engines; needs the `onnx` package.

        By default the passes run first, on a copy: channels that are dead are gone from the file, batch norms are
        folded. Inputs and outputs keep their names, the batch stays symbolic unless `fixed_batch` says otherwise. The
        file appears under its name only when complete.

        Raises `UnsupportedOpError` listing all nodes that ONNX has no form for, `SparsenetIOError` if the file can't be
        written.

        >>> graph.to_onnx("small.onnx")  # doctest: +SKIP
        """
        from sparsenet.onnx_export import to_model

        graph = self
        if passes:
            graph = self.copy()
            graph.run_passes()
        write_bytes(path, to_model(graph).SerializeToString())


def _restore(snet: bytes) -> Graph:
    return Graph(_core.load_bytes(snet))


def load(path: str | os.PathLike[str]) -> Graph:
    """Read a `.snet` file.

    Raises `FileFormatError` if the bytes are not a valid one (everything is checked before first use),
    `SparsenetIOError` if they can't be read.

    >>> graph = load("model.snet")  # doctest: +SKIP
    """
    return Graph(_core.load(os.fspath(path)))
