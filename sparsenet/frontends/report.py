"""What could not be converted: gathered over the whole model, told at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sparsenet.errors import UnsupportedOpError

Node = TypeVar("Node")
_SHOWN = 4


@dataclass
class Report(ABC, Generic[Node]):
    """Nodes that failed, by operator and reason; a frontend says what its nodes are called."""

    failures: dict[tuple[str, str], list[Node]] = field(default_factory=dict)

    @staticmethod
    @abstractmethod
    def op(node: Node) -> str:
        """The operator's name."""

    @staticmethod
    @abstractmethod
    def label(node: Node) -> str:
        """The node's own name."""

    @staticmethod
    def where(node: Node) -> str:
        """The line of the user's code that it comes from; empty if unknown."""
        return ""

    def add(self, node: Node, reason: str) -> None:
        self.failures.setdefault((self.op(node), reason), []).append(node)

    def raise_if_any(self) -> None:
        """Raises UnsupportedOpError with a line for each operator and reason."""
        if not self.failures:
            return
        total = sum(len(nodes) for nodes in self.failures.values())
        lines = [f"{total} node{'s' if total > 1 else ''} of the model cannot be imported:"]
        for (op, reason), nodes in self.failures.items():
            names = ", ".join(f"'{self.label(node)}'" for node in nodes[:_SHOWN])
            more = ", ..." if len(nodes) > _SHOWN else ""
            where = self.where(nodes[0])
            lines.append(f"  {op} x{len(nodes)}: {reason}; {names}{more}{f' at {where}' if where else ''}")
        raise UnsupportedOpError("\n".join(lines))
