"""What could not be converted: gathered over the whole program, told at once."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

import torch
from torch import fx

from sparsenet.errors import UnsupportedOpError

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in \S+\n\s*(?P<code>[^\n]*)')
_TORCH = os.path.dirname(torch.__file__)
_LAYERS = ("torch.nn.modules.", "torch.nn.utils.parametrize.Parametrized")
_SHOWN = 4


@dataclass
class Report:
    """Nodes that failed, by operator and reason."""

    failures: dict[tuple[str, str], list[fx.Node]] = field(default_factory=dict)

    def add(self, node: fx.Node, reason: str) -> None:
        self.failures.setdefault((str(node.target), reason), []).append(node)

    def raise_if_any(self) -> None:
        """Raises UnsupportedOpError with a line for each operator and reason."""
        if not self.failures:
            return
        total = sum(len(nodes) for nodes in self.failures.values())
        lines = [f"{total} node{'s' if total > 1 else ''} of the model cannot be imported:"]
        for (op, reason), nodes in self.failures.items():
            names = ", ".join(f"'{node_path(node)}'" for node in nodes[:_SHOWN])
            more = ", ..." if len(nodes) > _SHOWN else ""
            where = source_line(nodes[0])
            lines.append(f"  {op} x{len(nodes)}: {reason}; {names}{more}{f' at {where}' if where else ''}")
        raise UnsupportedOpError("\n".join(lines))


def node_path(node: fx.Node) -> str:
    """Where the node stands: the path of a torch.nn layer, or of the module whose forward calls the operator."""
    path, kind = "", ""
    for path, kind in (node.meta.get("nn_module_stack") or {}).values():  # noqa: B007 - the last one counts
        pass
    path = re.sub(r"@\d+", "", path)  # torch marks the second call of the same module so
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    is_layer = kind.startswith(_LAYERS) and not kind.startswith("torch.nn.modules.container.")
    if path and is_layer:
        return path
    op = node.target.overloadpacket.__name__ if isinstance(node.target, torch._ops.OpOverload) else node.name
    return f"{path}.{op}" if path else op


def source_line(node: fx.Node) -> str:
    """The innermost line of the user's own code, as "model.py:12: `y = f(x)`"; empty if there is none."""
    frames = list(_FRAME.finditer(node.meta.get("stack_trace") or ""))
    own = [f for f in frames if not f["file"].startswith(_TORCH) and not f["file"].startswith("torch/")]
    return f"{own[-1]['file']}:{own[-1]['line']}: `{own[-1]['code'].strip()}`" if own else ""
