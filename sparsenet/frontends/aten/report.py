"""How an ATen node is called in the report of what could not be converted, and where it stands in the user's code."""

from __future__ import annotations

import os
import re

import torch
from torch import fx

from sparsenet.frontends import report

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in \S+\n\s*(?P<code>[^\n]*)')
_TORCH = os.path.dirname(torch.__file__)
_LAYERS = ("torch.nn.modules.", "torch.nn.utils.parametrize.Parametrized")


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


class Report(report.Report[fx.Node]):
    """Nodes that failed, by operator and reason."""

    label = staticmethod(node_path)
    where = staticmethod(source_line)

    @staticmethod
    def op(node: fx.Node) -> str:
        return str(node.target)
