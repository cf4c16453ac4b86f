"""Random small networks on the C++ engine: ISAs, threads, batches, layers on their own."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_networks import Network, networks

import sparsenet as sn
from sparsenet import _core, reference

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


def as_list(y: object) -> list[np.ndarray]:
    return list(y) if isinstance(y, tuple) else [y]


@settings(QUICK, max_examples=60)
@given(networks(max_blocks=6), st.sampled_from(_core.isas()), st.sampled_from([1, 2]), st.booleans(), st.booleans())
def test_equals_the_reference(net: Network, isa: str, threads: int, tune: bool, passes: bool) -> None:
    engine = sn.compile(net.graph, isa=isa, threads=threads, tune=tune, tune_seconds=0.02, passes=passes)
    reference.assert_close(as_list(engine(net.feeds)), net.graph, net.feeds)


@QUICK
@given(networks(), st.sampled_from(_core.isas()))
def test_each_layer_alone_equals_the_reference(net: Network, isa: str) -> None:
    """After the passes, so that fused epilogues and shrunk layers are what is tested."""
    graph = sn.compile(net.graph, tune=False).graph
    for node, one, feeds in reference.layers(graph, net.feeds):
        y = sn.compile(one, isa=isa, tune=False, passes=False)(feeds)
        reference.assert_close({node.output: y}, one, feeds, statistical=False)


@QUICK
@given(networks(), st.sampled_from(_core.isas()))
def test_passes_keep_the_function(net: Network, isa: str) -> None:
    """In exact arithmetic: the graph after the passes and the graph before, both in fp64."""
    graph = sn.compile(net.graph, tune=False, isa=isa).graph
    before, after = reference.run(net.graph, net.feeds), reference.run(graph, net.feeds)
    for name, limit in reference.bound(net.graph, net.feeds).items():
        assert reference.worst(after[name], before[name], limit) <= 1  # folded weights are rounded to fp32


@QUICK
@given(networks(), st.sampled_from(_core.isas()))
def test_two_threads_give_the_same_bits(net: Network, isa: str) -> None:
    one, two = (sn.compile(net.graph, threads=t, tune=False, isa=isa) for t in (1, 2))
    for a, b in zip(as_list(one(net.feeds)), as_list(two(net.feeds)), strict=True):
        np.testing.assert_array_equal(a, b)


@QUICK
@given(networks(), st.sampled_from(_core.isas()))
def test_a_batch_is_its_samples(net: Network, isa: str) -> None:
    """Within rounding: fully connected layers may sum in another order for another batch."""
    engine = sn.compile(net.graph, tune=False, isa=isa)
    x = net.feeds["x"]
    whole = as_list(engine(x))
    limits = reference.bound(net.graph, net.feeds).values()
    for i in range(len(x)):
        for y, single, limit in zip(whole, as_list(engine(x[i : i + 1])), limits, strict=True):
            assert reference.worst(single, y[i : i + 1].astype(np.float64), 2 * limit[i : i + 1]) <= 1
