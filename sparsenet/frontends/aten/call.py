"""One operator call, as a converter sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from sparsenet.frontends.aten.report import node_path
from sparsenet.frontends.aten.table import Unsupported, key_of

if TYPE_CHECKING:
    from sparsenet.frontends.aten.lower import Lowering


@dataclass(frozen=True)
class Repeated:
    """A constant that is alike for all samples of any batch, torch.zeros(x.shape[0], 3) say; `sample` is of batch 1."""

    sample: torch.Tensor


class Call:
    """One operator call, as its converter sees it: arguments by name, and means to emit nodes."""

    def __init__(self, lowering: Lowering, node: fx.Node) -> None:
        self.lowering = lowering
        self.node = node
        self.op = key_of(node.target)
        self.name = lowering.wishes.get(node, node_path(node))
        self.args: dict[str, Any] = {}
        for i, argument in enumerate(node.target._schema.arguments):  # type: ignore[union-attr]
            if i < len(node.args) and not argument.kwarg_only:
                self.args[argument.name] = node.args[i]
            else:
                self.args[argument.name] = node.kwargs.get(argument.name, argument.default_value)

    def __getitem__(self, argument: str) -> Any:
        value = self.args[argument]
        if isinstance(value, fx.Node):  # a size that was computed: a plain number is fine
            number = value.meta.get("val")
            return number if isinstance(number, (int, float)) and not isinstance(number, bool) else value
        return value

    @property
    def shape(self) -> list[int | None]:
        """The result's shape, None for the batch."""
        return self.lowering.shape_of(self.node.meta["val"])

    def value(self, argument: str | fx.Node) -> str:
        """The IR value that an argument stands for; Unsupported if it is a constant."""
        node = self.args[argument] if isinstance(argument, str) else argument
        value = self.lowering.env[node]
        if not isinstance(value, str):
            raise Unsupported(f"its input '{node.name}' must depend on the model's inputs")
        return value

    def peek(self, argument: Any) -> Any:
        """What an argument stands for: a value's name, a Tensor, a Repeated, or the Python value itself."""
        return self.lowering.env[argument] if isinstance(argument, fx.Node) else argument

    def input_shape(self, argument: str | fx.Node) -> list[int | None]:
        """Shape of an activation."""
        return list(self.lowering.graph.shape(self.value(argument)))

    def tensor(self, argument: str) -> torch.Tensor | None:
        """A constant argument, None if absent; Unsupported if it depends on the model's inputs."""
        source = self.args[argument]
        if source is None:
            return None
        value = self.peek(source)
        if not isinstance(value, torch.Tensor):
            raise Unsupported(f"its {argument} must be constant, but depends on the model's inputs")
        return value

    def constant(self, argument: str | torch.Tensor, role: str) -> str | None:
        """A constant argument, or a tensor made from one, in the graph; `role` names it after this node."""
        source = self.args[argument] if isinstance(argument, str) else argument
        tensor = self.tensor(argument) if isinstance(argument, str) else argument
        return None if tensor is None else self.constant_from(source, tensor, role)

    def constant_from(self, source: Any, tensor: torch.Tensor, role: str) -> str:
        """`tensor` in the graph, shared with other users of `source` where that is a parameter."""
        return self.lowering.add_constant(source, tensor, f"{self.name}.{role}")

    def number(self, value: float, role: str) -> str:
        """A constant of one element."""
        return self.constant_from(None, torch.tensor([value]), role)

    def one_sample(self, tensor: torch.Tensor) -> torch.Tensor:
        """The first sample of a constant that is alike for all of them; Unsupported if it is not."""
        if not torch.equal(tensor, tensor[:1].expand_as(tensor)):
            raise Unsupported(f"a constant of shape {list(tensor.shape)} differs from sample to sample")
        return tensor[:1]

    def emit(self, op: str, inputs: Sequence[str | None], attrs: dict[str, Any] | None = None, part: str = "") -> str:
        """Adds a node; `part` tells the nodes of one operator apart."""
        graph = self.lowering.graph
        trimmed = list(inputs)
        while trimmed and trimmed[-1] is None:
            trimmed.pop()
        name = graph.unique_name(f"{self.name}.{part}" if part else self.name)
        return graph.add_node(op, trimmed, attrs or {}, name)
