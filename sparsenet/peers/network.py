"""What a peer is given: one network, its inputs, and what it should compute."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sparsenet.arrays import FloatArray
from sparsenet.graph import Graph


@dataclass
class Network:
    """A graph after the passes but the fusing of residuals, which ONNX and most engines have no form for.

    Every peer so gets the same network: batch norms folded, dead channels gone (a filter-pruned network is the small
    dense one), zeros of weight pruning in place.
    """

    graph: Graph
    inputs: Sequence[FloatArray]
    expected: list[FloatArray] | None = None

    @cached_property
    def folded(self) -> Graph:
        """The graph that peers run."""
        graph = self.graph.copy()
        graph.run_passes(["fuse_residual"])
        return graph

    @property
    def batch(self) -> int:
        return len(self.inputs[0])

    @cached_property
    def folder(self) -> Path:
        """A folder that lives as long as this object."""
        path = Path(tempfile.mkdtemp(prefix="sparsenet-peers-"))
        weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        return path

    @cached_property
    def onnx(self) -> Path:
        """The folded graph as an ONNX file with a symbolic batch."""
        path = self.folder / "network.onnx"
        self.folded.to_onnx(path, passes=False)
        return path


def one_line(error: BaseException) -> str:
    """An exception as a line for a table."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
