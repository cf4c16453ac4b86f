"""One node, as a converter sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from sparsenet.frontends.onnx_ops.attributes import read_attributes
from sparsenet.frontends.onnx_ops.table import Row, Unsupported
from sparsenet.frontends.onnx_ops.tensors import Constant
from sparsenet.frontends.onnx_ops.values import Repeated

if TYPE_CHECKING:
    from sparsenet.frontends.onnx_ops.lower import Lowering


class Call:
    """Inputs and attributes of one node, checked as they are asked for, and means to emit nodes of the IR."""

    def __init__(self, lowering: Lowering, node: onnx.NodeProto, row: Row) -> None:
        self.lowering = lowering
        self.node = node
        self.op = node.op_type
        self.opset = lowering.opset
        self.name = node.output[0]
        self.attributes = read_attributes(node, row.attributes)
        self.inputs = [lowering.env[name] if name else None for name in node.input]

    def __getitem__(self, attribute: str) -> Any:
        """An attribute that must be there."""
        if attribute not in self.attributes:
            raise Unsupported(f"attribute '{attribute}' is missing")
        return self.attributes[attribute]

    def get(self, attribute: str, default: Any = None) -> Any:
        """An attribute or its default."""
        return self.attributes.get(attribute, default)

    def peek(self, index: int) -> Any:
        """What an input stands for: a value's name, an array, a Repeated, or None if it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    # ---- activations

    def value(self, index: int = 0) -> str:
        """The IR value of an input; Unsupported if it is absent or constant."""
        known = self.peek(index)
        if not isinstance(known, str):
            raise Unsupported(f"its input {index} must depend on the model's inputs")
        return known

    def shape(self, index: int = 0) -> list[int | None]:
        """The shape of an activation, None for the batch."""
        return list(self.lowering.graph.shape(self.value(index)))

    def sizes(self, index: int = 0) -> list[int]:
        """The shape of an activation without the batch."""
        return [int(n or 0) for n in self.shape(index)[1:]]

    def axis(self, axis: int, rank: int) -> int:
        """A non-negative axis other than the batch; Unsupported if it is not one."""
        if not -rank <= axis < rank:
            raise Unsupported(f"axis {axis} of an input of {rank} axes")
        if axis % rank == 0:
            raise Unsupported("works along the batch: samples must stay apart")
        return axis % rank

    # ---- constants

    def array(self, index: int) -> Constant:
        """A constant input; Unsupported if it is absent or depends on the model's inputs."""
        known = self.peek(index)
        if not isinstance(known, np.ndarray):
            raise Unsupported(f"its input {index} must be a constant")
        return known

    def optional_array(self, index: int) -> Constant | None:
        """As `array`, None if the input is absent."""
        return None if self.peek(index) is None else self.array(index)

    def numbers(self, index: int, attribute: str | None = None) -> list[Any] | None:
        """A list of integers, some of which may be BATCH: an input, or in older opsets an attribute; None if absent."""
        if attribute is not None and attribute in self.attributes:
            return list(self.attributes[attribute])
        array = self.optional_array(index)
        if array is None:
            return None
        if array.dtype.kind not in "iuO" or array.ndim > 1:
            raise Unsupported(f"its input {index} must be a list of integers")
        return list(array.reshape(-1).tolist())

    def ints(self, index: int, attribute: str | None = None) -> list[int] | None:
        """As `numbers`, but without the batch size."""
        values = self.numbers(index, attribute)
        if values is not None and any(not isinstance(n, int) for n in values):
            raise Unsupported("depends on the batch size")
        return values

    def number(self, index: int, default: float) -> float:
        """A constant of one element."""
        array = self.optional_array(index)
        if array is None:
            return default
        if array.size != 1 or array.dtype.kind not in "fiu":
            raise Unsupported(f"its input {index} must be one number")
        return float(array.reshape(-1)[0])

    def constant(self, index: int, role: str) -> str | None:
        """A constant input in the graph, None if absent."""
        array = self.optional_array(index)
        return None if array is None else self.constant_from(array, role)

    def constant_from(self, array: Constant, role: str) -> str:
        """An array in the graph; under its own name where it is a constant of the model, else named by its role."""
        return self.lowering.add_constant(array, f"{self.name}.{role}")

    def scalar(self, value: float, role: str) -> str:
        """A constant of one element in the graph."""
        return self.constant_from(np.array([value], np.float32), role)

    def one_sample(self, array: Constant) -> Constant:
        """The first sample of a constant that is alike for all of them; Unsupported if it is not."""
        if not bool((array == array[:1]).all()):
            raise Unsupported(f"a constant of shape {list(array.shape)} differs from sample to sample")
        return array[:1]

    def sample(self, index: int) -> Constant:
        """A constant or Repeated input, which goes with every sample."""
        known = self.peek(index)
        return known.sample if isinstance(known, Repeated) else self.array(index)

    # ---- results

    def emit(
        self,
        op: str,
        inputs: Sequence[str | None],
        attrs: dict[str, Any] | None = None,
        part: str = "",
        output: int = 0,
    ) -> str:
        """Adds a node; `part` tells the inner nodes of one operator apart, `output` says which result it writes."""
        trimmed = list(inputs)
        while trimmed and trimmed[-1] is None:
            trimmed.pop()
        name = self.node.output[output]
        if part or not name:
            name = self.lowering.free_name(f"{self.name}.{part or output}")
        return self.lowering.graph.add_node(op, trimmed, attrs or {}, name)

    def reshape(self, value: str, sizes: Sequence[int], part: str = "") -> str:
        """A Reshape to these sizes after the batch; nothing where the value has them already."""
        if list(self.lowering.graph.shape(value)[1:]) == list(sizes):
            return value
        return self.emit("Reshape", [value], {"shape": [0, *sizes]}, part=part)
