"""ONNX's own node tests of every operator that from_onnx claims: computed right, or refused for a reason listed here.

Inputs that are weights in a CNN (all but the first, and all of joins and arithmetic excepted) become initializers.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx_checks import run_ours

import sparsenet as sn
from sparsenet import reference
from sparsenet.frontends.onnx_ops.lower import FOLDS, TABLE

_SEVERAL = {"Concat", "Sum", "Add", "Sub", "Mul", "Div"}  # operators on activations only

# Part of a refusal -> how many node tests meet it. Each is a limit of the IR: batch first, 1 or 2 spatial axes.
REFUSED = {
    # Samples must stay apart: axis 0 of every activation is the batch.
    "works along the batch": 29,
    "moves the batch": 7,
    "takes the batch apart": 2,
    "joins the batch": 6,
    "not the batch": 3,
    "would not be the batch": 1,
    "must be the batch": 4,
    "must have a batch axis": 1,
    "differs from sample to sample": 1,
    "expands to more axes": 1,
    "along the batch and": 2,
    # One or two spatial axes, no empty tensors.
    "3 or 4": 11,
    "dimensions must be at least 1": 5,
    "expected 0 <= start < end": 1,
    "expected an input [N, ..., K]": 1,
    # Weights are constant matrices or vectors, exponents and limits constant numbers.
    "a matrix is possible": 4,
    "one number, or one for each channel": 2,
    "must be one number": 11,
    "takes one position or a list": 1,
    "is UINT": 2,
    # Eval mode.
    "dropout in training mode": 3,
    "the batch's own statistics": 2,
    # Folded at import only: Ceil, Floor, ReduceMin, ReduceProd.
    "its inputs must be constants": 20,
    # Pools and resampling that no kernel computes.
    "a maximum over other axes": 6,
    "dilated averages": 1,
    "that does not count": 1,
    "larger than what the kernel reaches": 1,
    "antialias": 6,
    "keep_aspect_ratio_policy": 4,
    "linear resampling": 8,
    "mode cubic": 7,
    "nearest resampling": 4,
}


def _cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the generators divide by zero and cast NaN on purpose
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    claimed = set(TABLE) | set(FOLDS)
    return [case for case in found if _is_ours(case.model, claimed) and "_expanded" not in case.name]


def _is_ours(model: onnx.ModelProto, claimed: set[str]) -> bool:
    graph = model.graph
    floats = [info.type.tensor_type.elem_type == TensorProto.FLOAT for info in (*graph.input[:1], *graph.output)]
    known = {node.op_type for node in graph.node} <= claimed and not model.functions
    return known and all(floats) and len(graph.input) > 0


CASES = {case.name: case for case in _cases()}


def _prepared(case: Any) -> tuple[onnx.ModelProto, dict[str, np.ndarray], list[np.ndarray]]:
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    infos, (arrays, expected) = list(model.graph.input), case.data_sets[0]
    count = len(infos) if model.graph.node[0].op_type in _SEVERAL else 1
    del model.graph.input[count:]
    for info, array in list(zip(infos, arrays, strict=True))[count:]:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), info.name))
    feeds = {info.name: array for info, array in list(zip(infos, arrays, strict=True))[:count]}
    return model, feeds, [np.asarray(y) for y in expected]


def _outcome(name: str) -> str:
    """ "ok", or the reason of the refusal."""
    model, feeds, expected = _prepared(CASES[name])
    try:
        graph = sn.from_onnx(model)
    except sn.errors.SparsenetError as error:
        return str(error).splitlines()[-1].strip()
    limits = reference.bound(graph, feeds, statistical=False)
    for (output, _), y, truth in zip(graph.outputs, run_ours(graph, feeds), expected, strict=True):
        # A few expectations are printed numbers of four digits; all others are fp32 themselves.
        digits = 1e-4 if np.array_equal(truth, np.round(truth, 4)) else 0
        ratio = reference.worst(y, truth.astype(np.float64), 2 * limits[output] + digits)
        assert ratio <= 1, f"{name}: {ratio:.3g} times the bound"
    return "ok"


@pytest.mark.parametrize("name", CASES)
def test_node(name: str) -> None:
    outcome = _outcome(name)
    if outcome != "ok":
        assert any(reason in outcome for reason in REFUSED), outcome


def test_refusals_are_those_listed() -> None:
    """Fails when a case starts or stops being refused."""
    outcomes = [_outcome(name) for name in CASES]
    counts = {reason: sum(reason in outcome for outcome in outcomes) for reason in REFUSED}
    assert counts == REFUSED
    assert outcomes.count("ok") == len(outcomes) - sum(REFUSED.values())
