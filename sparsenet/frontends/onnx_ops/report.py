"""What could not be converted: gathered over the whole model, told at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx

from sparsenet.errors import UnsupportedOpError

_SHOWN = 4


def label(node: onnx.NodeProto) -> str:
    """A node's name, or else that of its first output."""
    return node.name or (node.output[0] if node.output else "") or "(unnamed)"


@dataclass
class Report:
    """Nodes that failed, by operator and reason."""

    failures: dict[tuple[str, str], list[onnx.NodeProto]] = field(default_factory=dict)

    def add(self, node: onnx.NodeProto, reason: str) -> None:
        op = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        self.failures.setdefault((op, reason), []).append(node)

    def raise_if_any(self) -> None:
        """Raises UnsupportedOpError with a line for each operator and reason."""
        if not self.failures:
            return
        total = sum(len(nodes) for nodes in self.failures.values())
        lines = [f"{total} node{'s' if total > 1 else ''} of the model cannot be imported:"]
        for (op, reason), nodes in self.failures.items():
            names = ", ".join(f"'{label(node)}'" for node in nodes[:_SHOWN])
            lines.append(f"  {op} x{len(nodes)}: {reason}; {names}{', ...' if len(nodes) > _SHOWN else ''}")
        raise UnsupportedOpError("\n".join(lines))
