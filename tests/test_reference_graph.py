"""The interpreter and the error bounds on whole networks."""

from __future__ import annotations

import numpy as np
import pytest
import strategies as s
from hypothesis import HealthCheck, given, settings
from small_networks import Network, networks

import sparsenet as sn
from sparsenet import reference

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(networks())
def test_shapes_are_those_the_graph_infers(net: Network) -> None:
    batch = len(net.feeds["x"])
    for name, value in reference.run(net.graph, net.feeds, values=True).items():
        assert value.shape == (batch, *net.graph.shape(name)[1:])
        assert value.dtype == np.float64


@QUICK
@given(networks())
def test_fp32_networks_are_within_the_statistical_bound_and_each_layer_within_its_own(net: Network) -> None:
    values = reference.run(net.graph, net.feeds, np.float32, values=True)
    outputs = [values[name] for name, _ in net.graph.outputs]
    reference.assert_close(outputs, net.graph, net.feeds)
    reference.assert_layers_close(values, net.graph, net.feeds)


@QUICK
@given(networks())
def test_layers_chain_up_to_the_network(net: Network) -> None:
    values = reference.run(net.graph, net.feeds, values=True)
    for node, graph, feeds in reference.layers(net.graph, net.feeds):
        ((name, y),) = reference.run(graph, feeds).items()
        assert name == node.output
        np.testing.assert_allclose(y, values[name], rtol=1e-4, atol=1e-4)


@QUICK
@given(networks(max_blocks=6))
def test_the_bound_stays_meaningful_in_depth(net: Network) -> None:
    """The statistical bound of an output is small beside the output itself, and no larger than the worst case."""
    y, limit = reference.run(net.graph, net.feeds), reference.bound(net.graph, net.feeds)
    worst_case = reference.bound(net.graph, net.feeds, statistical=False)
    for name in y:
        assert np.median(limit[name]) < 1e-2 * max(1, np.abs(y[name]).max())
        assert (limit[name] <= worst_case[name] * (1 + 1e-9)).all()


@pytest.fixture
def graph() -> sn.Graph:
    rng = np.random.default_rng(0)
    graph = sn.Graph()
    attrs = {"stride": [1], "padding": [1, 1], "dilation": [1]}
    h = graph.add_input("x", [None, 3, 20])
    for i in range(4):
        w = graph.add_constant(f"w{i}", s.normal(rng, 3, 3, 3) / 3)
        h = graph.add_node("Conv", [h, w], {**attrs, "act": "relu"}, f"conv{i}")
    graph.set_outputs([h])
    return graph


def test_a_wrong_layer_is_named(graph: sn.Graph) -> None:
    x = s.normal(np.random.default_rng(1), 2, 3, 20)
    values = reference.run(graph, [x], np.float32, values=True)
    values["conv2"] = values["conv2"] * np.float32(1 + 1e-4)
    with pytest.raises(AssertionError, match="Conv 'conv2'"):
        reference.assert_layers_close(values, graph, {"x": x})
    with pytest.raises(AssertionError, match="output 'conv3'"):
        reference.assert_close(values["conv3"] * np.float32(1 + 1e-3), graph, [x])
    with pytest.raises(AssertionError, match="expected shape"):
        reference.assert_close(values["conv3"][:1], graph, [x])
    nan = values["conv3"].copy()
    nan[0, 0, 0] = np.nan
    with pytest.raises(AssertionError, match="inf times the bound"):
        reference.assert_close(nan, graph, [x])


def test_inputs_that_do_not_fit_are_refused(graph: sn.Graph) -> None:
    x = np.zeros((1, 3, 20), np.float32)
    with pytest.raises(sn.errors.ShapeError, match="'x'"):
        reference.run(graph, [x[:, :2]])
    with pytest.raises(sn.errors.InvalidArgumentError, match="1 inputs"):
        reference.run(graph, [x, x])
    with pytest.raises(sn.errors.InvalidArgumentError, match="'y'"):
        reference.run(graph, {"y": x})
    with pytest.raises(sn.errors.UnsupportedOpError, match="'Fft'"):
        reference.evaluate("Fft", [x], {})


def test_fp32_of_the_wrong_rounding_is_noticed(graph: sn.Graph) -> None:
    """Arithmetic in half precision is out of bounds by far."""
    x = s.normal(np.random.default_rng(2), 2, 3, 20)
    half = reference.run(graph, [x], np.float16)
    expected, limit = reference.run(graph, [x])["conv3"], reference.bound(graph, [x])["conv3"]
    assert reference.worst(half["conv3"].astype(np.float32), expected, limit) > 10
