"""graph.to_onnx: onnxruntime computes what the graph says, and from_onnx reads the graph back."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_checks import assert_ort_close, run_ort, run_ours
from small_networks import Network, networks
from strategies import OP_STRATEGIES, Case

import sparsenet as sn
from benchmarks import models
from sparsenet import reference
from sparsenet.onnx_export import to_model

torch.set_num_threads(1)
QUICK = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


def round_trip(graph: sn.Graph, feeds: dict[str, np.ndarray], statistical: bool) -> None:
    model = to_model(graph)
    # Where one axis rounds up and another drops a window past its end, ONNX's shape inference counts that window.
    ceil = any(a.name == "ceil_mode" and a.i for node in model.graph.node for a in node.attribute)
    onnx.checker.check_model(model, full_check=not ceil)
    assert_ort_close(run_ort(model, feeds), graph, feeds, statistical)
    back = sn.from_onnx(model)
    assert [back.inputs, back.outputs] == [graph.inputs, graph.outputs]
    truth = reference.run(graph, feeds)
    for name, y in reference.run(back, feeds).items():
        # Both in fp64, but factors such as 1/divisor are constants in fp32.
        assert reference.worst(y, truth[name], reference.bound(graph, feeds, statistical=statistical)[name]) <= 1


@pytest.mark.parametrize("op", OP_STRATEGIES)
def test_every_op(op: str) -> None:
    @QUICK
    @given(OP_STRATEGIES[op])
    def check(case: Case) -> None:
        round_trip(case.graph(), case.feeds, statistical=False)

    check()


@QUICK
@given(networks(max_blocks=6), st.booleans())
def test_networks(net: Network, passes: bool) -> None:
    graph = net.graph.copy()
    if passes:
        graph.run_passes()
    round_trip(graph, net.feeds, statistical=True)


@pytest.mark.parametrize("name", models.names())
def test_known_networks_after_the_passes(name: str, tmp_path: Path) -> None:
    """Pruned: the file holds the shrunk network, which onnxruntime runs and from_onnx reads, as the module computes."""
    model = models.seeded_init(models.create_small(name), seed=0)
    models.sparsify(model, 0.8, seed=1)
    shape = models.input_shape(name, small=True)
    graph = sn.from_torch(model, torch.zeros(1, *shape))
    graph.to_onnx(tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((2, *shape), np.float32)
    feeds = {graph.inputs[0][0]: x}
    assert_ort_close(run_ort(onnx.load(tmp_path / "m.onnx"), feeds), graph, feeds, statistical=True)
    back = sn.from_onnx(tmp_path / "m.onnx")
    reference.assert_close(run_ours(back, feeds), graph, feeds)


def dead_filters() -> sn.Graph:
    torch.manual_seed(0)
    first, norm, last = torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 4, 3)
    net = torch.nn.Sequential(first, norm, torch.nn.ReLU(), last)
    with torch.no_grad():
        net[0].weight[[1, 4, 6]] = 0
        net[0].bias[[1, 4, 6]] = 0
        net[1].weight[[1, 4, 6]] = 0
    return sn.from_torch(net, torch.zeros(1, 3, 8, 8))


def test_passes_run_on_a_copy_before_writing(tmp_path: Path) -> None:
    graph = dead_filters()
    told = repr(graph)
    graph.to_onnx(tmp_path / "small.onnx")
    graph.to_onnx(tmp_path / "whole.onnx", passes=False)
    assert repr(graph) == told
    small, whole = onnx.load(tmp_path / "small.onnx").graph, onnx.load(tmp_path / "whole.onnx").graph
    assert [node.op_type for node in small.node] == ["Conv", "Relu", "Conv"]
    assert [list(t.dims) for t in small.initializer if len(t.dims) == 4] == [[5, 3, 3, 3], [4, 5, 3, 3]]
    assert "BatchNormalization" in [node.op_type for node in whole.node]


def test_a_fixed_batch_is_kept(tmp_path: Path) -> None:
    graph = dead_filters()
    graph.to_onnx(tmp_path / "any.onnx")
    graph.fixed_batch = 3
    graph.to_onnx(tmp_path / "three.onnx")
    files = [tmp_path / "any.onnx", tmp_path / "three.onnx"]
    dims = [onnx.load(file).graph.input[0].type.tensor_type.shape.dim[0] for file in files]
    assert (dims[0].dim_param, dims[1].dim_value) == ("N", 3)
    assert [sn.from_onnx(file).fixed_batch for file in files] == [0, 3]


@pytest.mark.parametrize("step", [14 / 16, 0.3])
def test_nearest_samples_that_rounding_could_move(step: float) -> None:
    """onnxruntime's 8 / (16 / 14) is less than 7, and no size leads to a step of 0.3."""
    graph = sn.Graph()
    x = graph.add_input("x", (None, 1, 3, 14))
    attrs = {"output": [6, 16], "scale": [0.5, step], "mode": "nearest"}
    graph.set_outputs([graph.add_node("Resize", [x], attrs, "y")])
    feeds = {x: np.random.default_rng(0).standard_normal((2, 1, 3, 14), np.float32)}
    assert "Gather" in [node.op_type for node in to_model(graph).graph.node]
    round_trip(graph, feeds, statistical=False)


def test_what_onnx_cannot_say_is_listed(tmp_path: Path) -> None:
    graph = sn.Graph()
    x = graph.add_input("x", (None, 1, 5, 5))
    for name in ("a", "b"):
        x = graph.add_node("Resize", [x], {"output": [5, 5], "scale": [0.3, 0.3], "mode": "bilinear"}, name)
    graph.set_outputs([x])
    with pytest.raises(sn.errors.UnsupportedOpError, match=r"(?s)Resize 'a'.*Resize 'b'"):
        graph.to_onnx(tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    with pytest.raises(sn.errors.SparsenetIOError, match="missing"):
        dead_filters().to_onnx(tmp_path / "missing" / "m.onnx")
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(sn.errors.SparsenetIOError):
        dead_filters().to_onnx(tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == ["m.onnx"]
