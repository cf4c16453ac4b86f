"""Gathers ONNX nodes and initializers; the emitters of each op write through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sparsenet import _core


class Writer:
    """One model in the making. Names of helper values begin with the name of the output they lead to."""

    def __init__(self, graph: _core.Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self._taken = set(graph.values)

    def emit(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Adds a node that writes ``output``."""
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def name(self, wish: str) -> str:
        """``wish``, or something like it that is still free."""
        name, i = wish, 0
        while name in self._taken:
            i += 1
            name = f"{wish}_{i}"
        self._taken.add(name)
        return name

    def weight(self, name: str) -> str:
        """A constant of the graph under its own name."""
        if name not in self.constants:
            array = self.graph.constant(name)
            assert array is not None
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name)
        return name

    def ints(self, wish: str, values: Sequence[int]) -> str:
        """A new constant of int64."""
        return self._constant(wish, np.asarray(values, np.int64))

    def floats(self, wish: str, values: Any) -> str:
        """A new constant of float32."""
        return self._constant(wish, np.asarray(values, np.float32))

    def _constant(self, wish: str, array: np.ndarray[Any, Any]) -> str:
        name = self.name(wish)
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        return name


# Emits the ONNX nodes of one IR node; the last of them writes `output`. Inputs are ONNX names, "" for absent ones.
Emitter = Callable[[Writer, _core.Node, Sequence[str], str], None]
EMITTERS: dict[str, Emitter] = {}


class Inexpressible(Exception):
    """Raised by an emitter; the message says what ONNX has no form for."""


def emits(*ops: str) -> Callable[[Emitter], Emitter]:
    """Registers an emitter for ops of the IR."""

    def register(emitter: Emitter) -> Emitter:
        EMITTERS.update(dict.fromkeys(ops, emitter))
        return emitter

    return register
