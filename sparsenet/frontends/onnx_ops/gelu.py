"""GELU as exporters wrote it before opset 20: x * 0.5 * (1 + erf(x / sqrt 2)), in some order, from simple nodes."""

from __future__ import annotations

import math
from collections import Counter

import onnx

from sparsenet.frontends.onnx_ops.table import Unsupported
from sparsenet.frontends.onnx_ops.tensors import to_array


class Gelus:
    """`inputs`: the result's name -> the name of x. `inside`: what the nodes between write, read by nothing else."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.inputs: dict[str, str] = {}
        self.inside: set[str] = set()
        erfs = [node for node in graph.node if node.op_type == "Erf" and len(node.input) == len(node.output) == 1]
        if not erfs:
            return
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._writer = {name: node for node in graph.node for name in node.output}
        self._reads = Counter(name for node in graph.node for name in node.input)
        self._reads.update(info.name for info in graph.output)
        self._reader = {name: node for node in graph.node for name in node.input}
        for erf in erfs:
            self._match(erf)

    def _match(self, erf: onnx.NodeProto) -> None:
        scaled = self._writer.get(erf.input[0])
        if scaled is None:
            return
        x, factor = self._apart(scaled, "Mul")
        if x is None:
            x, factor = self._apart(scaled, "Div")
            factor = 1 / factor if factor else None
        plus = self._only_reader(erf.output[0])
        if x is None or factor is None or not math.isclose(factor, math.sqrt(0.5), rel_tol=1e-3) or plus is None:
            return
        one, number = self._apart(plus, "Add")
        if one != erf.output[0] or number != 1:
            return
        # Products up from there, until x and a half have both been met.
        inside, name = {erf.output[0], scaled.output[0], plus.output[0]}, plus.output[0]
        found_x, half = False, 1.0
        for _ in range(2):
            product = self._only_reader(name)
            if product is None or product.op_type != "Mul":
                return
            other = product.input[1] if product.input[0] == name else product.input[0]
            inner = self._writer.get(other)
            factor_x = self._apart(inner, "Mul") if inner is not None and self._reads[other] == 1 else (None, None)
            number = self._number(other)
            if other == x:
                found_x = True
            elif number is not None:
                half *= number
            elif factor_x[0] == x and factor_x[1] is not None:
                found_x, half = True, half * factor_x[1]
                inside.add(other)
            else:
                return
            name = product.output[0]
            if found_x and half == 0.5:
                self.inputs[name] = x
                self.inside |= inside
                return
            inside.add(name)

    def _only_reader(self, name: str) -> onnx.NodeProto | None:
        return self._reader[name] if self._reads[name] == 1 and name in self._reader else None

    def _apart(self, node: onnx.NodeProto, op: str) -> tuple[str | None, float | None]:
        """The operand and the number of a node that computes ``operand op number``, or the other way round."""
        if node.op_type != op or len(node.input) != 2:
            return None, None
        left, right = node.input
        if self._number(right) is not None:
            return left, self._number(right)
        return (right, self._number(left)) if op != "Div" and self._number(left) is not None else (None, None)

    def _number(self, name: str) -> float | None:
        """The value of a constant of one element."""
        tensor = self._initializers.get(name)
        node = self._writer.get(name)
        if tensor is None and node is not None and node.op_type == "Constant":
            tensor = next((a.t for a in node.attribute if a.name == "value" and a.HasField("t")), None)
        try:
            array = None if tensor is None else to_array(tensor)
        except Unsupported:
            return None
        return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None
