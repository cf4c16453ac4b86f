"""How an ONNX node is called in the report of what could not be converted."""

from __future__ import annotations

import onnx

from sparsenet.frontends import report


def label(node: onnx.NodeProto) -> str:
    """A node's name, or else that of its first output."""
    return node.name or (node.output[0] if node.output else "") or "(unnamed)"


class Report(report.Report[onnx.NodeProto]):
    """Nodes that failed, by operator and reason."""

    label = staticmethod(label)

    @staticmethod
    def op(node: onnx.NodeProto) -> str:
        return str(node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}")
