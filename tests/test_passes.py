"""Every pass leaves the function alone: on against off in fp64, and the shapes it should come to.

The file is long because each rule of each pass has a small network of its own, and all share a few helpers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nets import Net, networks
from strategies import OP_STRATEGIES, normal

from sparsenet import Graph, _core, reference

PASSES = [name for name, _ in _core.passes()]


def only(*names: str) -> list[str]:
    """What to disable so that only these passes run."""
    return [name for name in PASSES if name not in names]


def passed(graph: Graph, *names: str, batch: int = 2) -> Graph:
    """The graph after these passes (none: all), checked to verify and to compute what it did before."""
    after = graph.copy()
    after.run_passes(only(*names) if names else [])
    after.verify()
    assert [(name, shape) for name, shape in after.inputs] == [(name, shape) for name, shape in graph.inputs]
    assert [(name, shape) for name, shape in after.outputs] == [(name, shape) for name, shape in graph.outputs]
    rng = np.random.default_rng(11)
    feeds = {name: normal(rng, batch, *shape[1:]) for name, shape in graph.inputs}
    # The passes compute constants in fp64 and store them in fp32: run in fp64, the rest is what fp32 would be allowed.
    reference.assert_close(reference.run(after, feeds), graph, feeds)
    again = after.copy()
    again.run_passes(only(*names) if names else [])
    assert ops(again) == ops(after)
    return after


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def node(graph: Graph, op: str, index: int = 0) -> Any:
    return [n for n in graph.nodes if n.op == op][index]


def weights(graph: Graph) -> list[tuple[int, ...]]:
    """Shapes of the weights, in order."""
    mixing = ("Conv", "ConvTranspose", "Linear")
    return [graph.shape(n.inputs[1]) for n in graph.nodes if n.op in mixing]


def zeros(graph: Graph) -> int:
    arrays = [graph.constant(n.inputs[1]) for n in graph.nodes if n.op in ("Conv", "ConvTranspose", "Linear")]
    return sum(int((w == 0).sum()) for w in arrays)


relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@relaxed
@given(networks())
def test_random_networks(graph: Graph) -> None:
    passed(graph)


@pytest.mark.parametrize("name", PASSES)
@settings(relaxed, max_examples=25)
@given(graph=networks())
def test_each_pass_alone(name: str, graph: Graph) -> None:
    passed(graph, name)


@settings(relaxed, max_examples=40)
@given(networks(), st.sampled_from([None, *PASSES]))
def test_through_the_engine(graph: Graph, disabled: str | None) -> None:
    import sparsenet as sn

    x = normal(np.random.default_rng(5), 3, *graph.inputs[0][1][1:])
    for passes in (False, True) if disabled is None else ([disabled],):
        y = sn.compile(graph, tune=False, passes=passes)(x)
        reference.assert_close(y, graph, {"x": x}, c=16)


@pytest.mark.parametrize("op", OP_STRATEGIES)
@settings(relaxed, max_examples=10)
@given(data=st.data())
def test_every_op(op: str, data: st.DataObject) -> None:
    passed(data.draw(OP_STRATEGIES[op]).graph())


# fold_constants, remove_noops, canonicalize


def test_chain_of_scales_becomes_one_and_neutral_ones_go() -> None:
    net = Net(channels=4)
    x = net.op("Sub", net.x, net.constant(normal(net.rng, 4, 1, 1)))
    x = net.op("Div", x, net.constant(np.abs(normal(net.rng, 4, 1, 1)) + 0.5))
    x = net.op("Mul", x, net.constant(np.ones((4, 1, 1))))
    x = net.op("Sub", net.constant(2.0), net.bn(x))
    assert ops(passed(net.done(x), "fold_constants")) == ["BatchNorm"]


def test_batch_norm_takes_the_activation_behind_it() -> None:
    """As in DenseNet, where a batch norm and a ReLU read a concatenation and no convolution can take either in."""
    net = Net(channels=4)
    x = net.op("Concat", net.x, net.conv(net.act(net.bn(net.x)), 3), axis=1)
    y = net.conv(net.relu6(net.bn(x)), 5)
    graph = passed(net.done(y))
    assert ops(graph) == ["BatchNorm", "Conv", "Concat", "BatchNorm", "Conv"]
    assert [n.attrs["act"] for n in graph.nodes if n.op == "BatchNorm"] == ["relu", "clip"]
    # A scale behind the activation is none of the batch norm's.
    net = Net(channels=4)
    x = net.bn(net.act(net.bn(net.x)))
    assert ops(passed(net.done(x))) == ["BatchNorm", "BatchNorm"]


def test_neutral_arithmetic_keeps_its_activation() -> None:
    net = Net()
    graph = net.done(net.op("Add", net.x, net.constant(0.0), act="relu"))
    assert ops(passed(graph, "fold_constants")) == ["Activation"]


def test_output_keeps_its_name_where_its_node_goes() -> None:
    net = Net()
    y = net.op("Identity", net.act(net.conv(net.x, 4), name="inner"), name="outer")
    graph = net.done(net.op("Identity", y, name="first"), y)
    after = passed(graph)
    assert [name for name, _ in after.outputs] == ["first", "outer"]
    assert ops(after) == ["Conv", "Identity"]  # two outputs of one value need a node between them


def test_identity_network_stays() -> None:
    net = Net()
    assert ops(passed(net.done(net.op("Identity", net.x)))) == ["Identity"]


@pytest.mark.parametrize(
    "build",
    [
        lambda net, x: net.op("Identity", x),
        lambda net, x: net.op("Reshape", net.flatten(x), shape=[0, 4, 8, 8]),
        lambda net, x: net.op("Transpose", net.op("Transpose", x, perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2]),
        lambda net, x: net.op("Slice", x, axis=1, start=0, end=4),
        lambda net, x: net.op("Pad", x, pads=[0] * 6, mode="reflect"),
        lambda net, x: net.pool(x, "AvgPool", 1, stride=1),
        lambda net, x: net.pool(x, "MaxPool", 1, stride=1),
        lambda net, x: net.op("AdaptiveMaxPool", x, output=[8, 8]),
        lambda net, x: net.op("Resize", x, output=[8, 8], scale=[1, 1], mode="bilinear"),
        lambda net, x: net.op("Concat", x, axis=2),
        lambda net, x: net.op("ChannelShuffle", x, groups=1),
        lambda net, x: net.op("Activation", x, act="none"),
    ],
)
def test_noop_goes(build: Any) -> None:
    net = Net(channels=4)
    y = net.act(build(net, net.act(net.x, "tanh")), "sigmoid")
    assert ops(passed(net.done(y), "remove_noops")) == ["Activation", "Activation"]


@pytest.mark.parametrize(
    "build",
    [
        lambda net, x: net.op("Pad", x, pads=[1, 0, 0, -1, 0, 0]),
        lambda net, x: net.op("Resize", x, output=[8, 8], scale=[0.5, 0.5], mode="nearest"),
        lambda net, x: net.op("Transpose", x, perm=[0, 1, 3, 2]),
        lambda net, x: net.pool(x, "AvgPool", 1, stride=1, divisor_override=2),
    ],
)
def test_what_only_looks_like_a_noop_stays(build: Any) -> None:
    net = Net(channels=4)
    graph = net.done(net.act(build(net, net.x)))
    assert len(passed(graph).nodes) == 2


def test_zero_pad_joins_conv_and_average_but_not_max() -> None:
    def padded(read: Any, value: float = 0.0, **attrs: Any) -> list[str]:
        net = Net(channels=4)
        x = net.op("Pad", net.x, pads=[0, 1, 0, 0, 1, 1], value=value)
        return ops(passed(net.done(read(net, x)), "remove_noops"))

    assert padded(lambda net, x: net.conv(x, 5)) == ["Conv"]
    assert padded(lambda net, x: net.conv(x, 5), value=0.5) == ["Pad", "Conv"]
    assert padded(lambda net, x: net.pool(x, "AvgPool", 3, count_include_pad=1)) == ["AvgPool"]
    assert padded(lambda net, x: net.pool(x, "AvgPool", 3, count_include_pad=0)) == ["Pad", "AvgPool"]
    assert padded(lambda net, x: net.pool(x, "AvgPool", 3, ceil_mode=1)) == ["Pad", "AvgPool"]
    assert padded(lambda net, x: net.pool(x, "MaxPool", 3)) == ["Pad", "MaxPool"]


def test_channel_shuffle_and_global_pools_have_one_spelling() -> None:
    net = Net(channels=6)
    x = net.op("Transpose", net.op("Reshape", net.x, shape=[0, 3, 2, 8, 8]), perm=[0, 2, 1, 3, 4])
    x = net.op("Reshape", x, shape=[0, 6, 8, 8])
    graph = net.done(net.op("Mean", x, axes=[3, 2], keepdim=1), net.pool(x, "AvgPool", 8), x)
    after = passed(graph, "canonicalize")
    assert sorted(ops(after)) == ["AdaptiveAvgPool", "AdaptiveAvgPool", "ChannelShuffle"]
    assert node(after, "ChannelShuffle").attrs["groups"] == 3


def test_gated_activations_have_one_spelling() -> None:
    def spelled(build: Any) -> list[str]:
        net = Net()
        graph = net.done(build(net, net.x))
        passed(graph, "canonicalize")
        return [n.attrs["act"] for n in passed(graph).nodes]

    def relu6_plus_3(net: Net, x: str) -> str:
        return net.relu6(net.op("Add", x, net.constant(3.0)))

    sixth = np.float32(1) / np.float32(6)
    assert spelled(lambda n, x: n.op("Mul", x, n.act(x, "sigmoid"))) == ["silu"]
    assert spelled(lambda n, x: n.op("Mul", n.act(x, "hard_sigmoid"), x)) == ["hard_swish"]
    assert spelled(lambda n, x: n.op("Div", relu6_plus_3(n, x), n.constant(6.0))) == ["hard_sigmoid"]
    assert spelled(lambda n, x: n.op("Mul", x, n.op("Mul", relu6_plus_3(n, x), n.constant(sixth)))) == ["hard_swish"]
    assert spelled(lambda n, x: n.op("Div", n.op("Mul", x, relu6_plus_3(n, x)), n.constant(6.0))) == ["hard_swish"]
    assert spelled(lambda n, x: n.op("PRelu", x, n.constant([0.25] * 3))) == ["leaky_relu"]
    assert spelled(lambda n, x: n.op("Div", relu6_plus_3(n, x), n.constant(5.0))) == ["clip", "none"]


# fold_batchnorm, fuse_activation, fuse_residual


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_batch_norm_after_and_before_convolution(groups: int) -> None:
    net = Net(channels=4)
    x = net.conv(net.bn(net.x), 8, pad=0, groups=groups, unread=[0] if groups < 4 else [])
    graph = net.done(net.bn(x))
    after = passed(graph, "fold_batchnorm")
    assert ops(after) == ["Conv"]
    assert zeros(after) == zeros(graph)


def test_batch_norm_around_transposed_convolution_and_linear() -> None:
    net = Net(channels=4)
    x = net.bn(net.conv_transpose(net.x, 6, groups=2))
    x = net.bn(net.linear(net.bn(net.flatten(x)), 5))
    assert ops(passed(net.done(x), "fold_batchnorm")) == ["ConvTranspose", "Reshape", "Linear"]


def test_shift_before_zero_padding_stays() -> None:
    net = Net(channels=4)
    assert ops(passed(net.done(net.conv(net.bn(net.x), 4)), "fold_batchnorm")) == ["BatchNorm", "Conv"]
    net = Net(channels=4)
    scale = net.op("Mul", net.x, net.constant(normal(net.rng, 4, 1, 1)))
    assert ops(passed(net.done(net.conv(scale, 4)), "fold_batchnorm")) == ["Conv"]


def test_batch_norm_stays_where_others_read_the_convolution() -> None:
    net = Net(channels=4)
    x = net.conv(net.x, 4)
    assert ops(passed(net.done(net.bn(x), x), "fold_batchnorm")) == ["Conv", "BatchNorm"]
    net = Net(channels=4)
    x = net.conv(net.x, 4, act="relu")
    assert ops(passed(net.done(net.bn(x)), "fold_batchnorm")) == ["Conv", "BatchNorm"]


def test_batch_norm_stays_behind_a_residual() -> None:
    net = Net(channels=4)
    b = net.constant(normal(net.rng, 4))
    attrs = {"stride": [1, 1], "padding": [1] * 4, "dilation": [1, 1]}
    x = net.op("Conv", net.x, net.constant(normal(net.rng, 4, 4, 3, 3)), b, net.x, **attrs)
    assert ops(passed(net.done(net.bn(x)), "fold_batchnorm")) == ["Conv", "BatchNorm"]


def test_activation_joins_its_producer_unless_others_read_that() -> None:
    net = Net()
    x = net.act(net.conv(net.x, 4), "silu")
    y = net.conv(x, 4)
    graph = net.done(net.act(net.op("Add", net.act(y), x)), y)
    after = passed(graph, "fuse_activation")
    assert [(n.op, n.attrs["act"]) for n in after.nodes] == [
        ("Conv", "silu"),
        ("Conv", "none"),
        ("Activation", "relu"),
        ("Add", "relu"),
    ]


def test_bounds_of_bounds() -> None:
    for acts, want in [
        ((("relu", 0, 0), ("clip", -1, 4)), ("clip", 0, 4)),
        ((("clip", -1, 6), ("relu", 0, 0)), ("clip", 0, 6)),
        ((("clip", 0, 2), ("clip", 3, 5)), ("clip", 3, 3)),
        ((("relu", 0, 0), ("relu", 0, 0)), ("relu", 0, 0)),
        ((("clip", -3, -1), ("relu", 0, 0)), ("clip", 0, 0)),
    ]:
        net = Net()
        x = net.conv(net.x, 4)
        for act in acts:
            x = net.act(x, *act)
        (only_node,) = passed(net.done(x), "fuse_activation").nodes
        assert (only_node.attrs["act"], only_node.attrs["act_a"], only_node.attrs["act_b"]) == want


def test_residual_joins_the_convolution_that_ends_last() -> None:
    net = Net()
    late = net.conv(net.conv(net.x, 4, act="relu"), 4, bias=None)
    skip = net.conv(net.x, 4, 1)
    graph = net.done(net.act(net.op("Add", late, skip)))
    after = passed(graph, "fuse_activation", "fuse_residual")
    assert len(after.nodes) == 3
    last = after.nodes[-1]
    assert (last.op, last.attrs["act"], len(last.inputs)) == ("Conv", "relu", 4)
    assert last.inputs[3] is not None


def test_residual_that_broadcasts_or_is_the_convolution_itself_stays_a_sum() -> None:
    net = Net()
    x = net.conv(net.x, 4, act="relu")
    for other in (net.global_pool(x), x):
        y = net.conv(x, 4) if other != x else x
        graph = net.graph.copy()
        graph.set_outputs([graph.add_node("Add", [y, other], {})])
        assert "Add" in ops(passed(graph, "fuse_residual"))


def test_residual_joins_linear() -> None:
    net = Net(size=(2, 2))
    x = net.flatten(net.x)
    graph = net.done(net.op("Add", x, net.linear(net.linear(x, 7, act="relu"), 12)))
    assert ops(passed(graph, "fuse_residual")) == ["Reshape", "Linear", "Linear"]


# remove_dead_channels


DEAD = [0, 2, 5]


def test_dead_filters_without_bias_shrink_a_chain() -> None:
    """VGG-like: conv-bn-relu blocks, pooling, flatten, classifier."""
    net = Net()
    x = net.act(net.bn(net.conv(net.x, 8, dead=DEAD, bias=None), dead=DEAD))
    x = net.pool(net.act(net.bn(net.conv(x, 10, dead=[9], bias=None), dead=[9])), "MaxPool")
    x = net.act(net.linear(net.flatten(x), 12))
    after = passed(net.done(net.linear(x, 10)))
    assert weights(after) == [(5, 3, 3, 3), (9, 5, 3, 3), (12, 9 * 16), (10, 12)]


def test_inputs_that_nobody_reads_shrink_their_producers() -> None:
    net = Net()
    x = net.act(net.conv(net.x, 8))
    x = net.conv(x, 6, unread=DEAD)
    after = passed(net.done(net.linear(net.flatten(x), 10, unread=range(64, 192))), "remove_dead_channels")
    assert weights(after) == [(5, 3, 3, 3), (4, 5, 3, 3), (10, 4 * 64)]


def test_constants_move_into_biases_where_nothing_pads() -> None:
    """The dead filters emit act(bias), which 1x1 and unpadded convolutions and linear layers turn into a bias."""
    net = Net()
    x = net.act(net.conv(net.x, 8, dead=DEAD), "silu")
    x = net.act(net.bn(net.conv(x, 8, pad=0, dead=[1])), "leaky_relu", 0.1)
    x = net.pool(net.pool(x, "AvgPool", 3, pad=1, count_include_pad=0), "MaxPool", 3, pad=1)
    after = passed(net.done(net.linear(net.flatten(x), 10)))
    assert weights(after)[:2] == [(5, 3, 3, 3), (7, 5, 3, 3)]
    assert weights(after)[2][1] % 7 == 0


def test_constants_next_to_zero_padding_share_one_channel() -> None:
    """A padded convolution sees a border around them, which no bias can give: one channel stands for the three."""
    net = Net()
    x = net.act(net.conv(net.x, 8, dead=DEAD, bias=np.arange(1, 9)))
    after = passed(net.done(net.conv(x, 6)))
    assert weights(after) == [(6, 3, 3, 3), (6, 6, 3, 3)]
    rows = after.constant(after.nodes[0].inputs[1]).reshape(6, -1)
    assert (np.abs(rows).sum(axis=1) == 0).sum() == 1
    assert after.constant(after.nodes[0].inputs[2])[np.abs(rows).sum(axis=1) == 0] == 6  # of 1, 3 and 6 the largest


def test_a_single_constant_next_to_zero_padding_stays() -> None:
    for read in (
        lambda net, x: net.conv(x, 6),
        lambda net, x: net.conv_transpose(x, 6),
        lambda net, x: net.linear(net.flatten(net.pool(x, "AvgPool", 3, pad=1)), 6),
        lambda net, x: net.linear(net.flatten(net.op("Pad", x, pads=[0, 1, 1, 0, 1, 1], value=0.5)), 6),
    ):
        net = Net()
        x = net.act(net.conv(net.x, 8, dead=[3], bias=np.arange(1, 9)))
        assert weights(passed(net.done(read(net, x))))[0] == (8, 3, 3, 3)


def residual_net(dead_branch: Any, dead_skip: Any) -> Graph:
    net = Net()
    x = net.act(net.bn(net.conv(net.x, 8, dead=dead_skip, bias=None), dead=dead_skip))
    inner = net.act(net.bn(net.conv(x, 8, dead=DEAD, bias=None), dead=DEAD))
    branch = net.bn(net.conv(inner, 8, dead=dead_branch, bias=None), dead=dead_branch)
    y = net.act(net.op("Add", branch, x))
    return net.done(net.linear(net.flatten(net.global_pool(y)), 10))


def test_residual_channel_dies_only_where_all_branches_are_dead() -> None:
    assert weights(passed(residual_net([1, 4, 7], []))) == [(8, 3, 3, 3), (5, 8, 3, 3), (8, 5, 3, 3), (10, 8)]
    assert weights(passed(residual_net([1, 4, 7], [2, 4, 7]))) == [(6, 3, 3, 3), (5, 6, 3, 3), (6, 5, 3, 3), (10, 6)]


def test_dead_residual_branch_vanishes() -> None:
    after = passed(residual_net(range(8), []))
    assert weights(after) == [(8, 3, 3, 3), (10, 8)]
    assert "Add" not in ops(after)
    after = passed(residual_net(range(8), []), "fold_batchnorm", "fuse_residual", "remove_dead_channels")
    assert weights(after) == [(8, 3, 3, 3), (10, 8)]


def test_dead_residual_of_a_convolution_with_a_bias_vanishes() -> None:
    net = Net(channels=4)
    skip = net.conv(net.x, 4, dead=range(4), bias=None)
    w, b = net.constant(normal(net.rng, 4, 4, 1, 1)), net.constant(normal(net.rng, 4))
    attrs = {"stride": [1, 1], "padding": [0] * 4, "dilation": [1, 1]}
    after = passed(net.done(net.op("Conv", net.x, w, b, skip, **attrs)))
    assert [len(n.inputs) for n in after.nodes] == [3]


@pytest.mark.parametrize("names", [(), ("remove_dead_channels",)])
def test_inverted_residual(names: tuple[str, ...]) -> None:
    """MobileNetV2: a filter dead in the expansion goes from the depthwise layer and the projection too."""
    net = Net(channels=4)
    x = net.relu6(net.bn(net.conv(net.x, 12, 1, dead=DEAD, bias=None), dead=DEAD))
    x = net.relu6(net.bn(net.conv(x, 12, groups=12, dead=[7], bias=None)))
    x = net.op("Add", net.bn(net.conv(x, 4, 1, bias=None)), net.x)
    after = passed(net.done(x), *names)
    assert weights(after) == [(8, 4, 1, 1), (8, 1, 3, 3), (4, 8, 1, 1)]
    assert node(after, "Conv", 1).attrs["groups"] == 8


def test_dense_connectivity() -> None:
    """DenseNet: what dies in one layer goes from every concatenation after it."""
    net = Net()
    features = net.conv(net.x, 6, bias=None, dead=[1])
    for dead in ([0], [2, 3], []):
        new = net.conv(net.act(net.bn(features)), 8, 1, bias=None)
        new = net.conv(net.act(net.bn(new)), 4, dead=dead, bias=None)
        features = net.op("Concat", features, new, axis=1)
    out = net.linear(net.flatten(net.global_pool(net.act(net.bn(features)))), 10)
    after = passed(net.done(out))
    assert weights(after) == [
        (5, 3, 3, 3), (8, 5, 1, 1), (3, 8, 3, 3), (8, 8, 1, 1), (2, 8, 3, 3), (8, 10, 1, 1), (4, 8, 3, 3), (10, 14),
    ]  # fmt: skip


def test_squeeze_and_excite() -> None:
    net = Net()
    x = net.act(net.conv(net.x, 8, dead=DEAD, bias=None), "hard_swish")
    s = net.act(net.conv(net.global_pool(x), 4, 1, dead=[2]))
    x = net.op("Mul", x, net.act(net.conv(s, 8, 1), "hard_sigmoid"))
    after = passed(net.done(net.conv(x, 6)))
    assert weights(after) == [(5, 3, 3, 3), (3, 5, 1, 1), (5, 3, 1, 1), (6, 5, 3, 3)]


def test_groups_shrink_to_equal_sizes_and_whole_groups_go() -> None:
    net = Net()
    x = net.conv(net.x, 12, dead=[0, 1, 2, 3, 4, 8], bias=None)
    x = net.conv(x, 6, groups=3, dead=[0, 1, 2], bias=None)
    after = passed(net.done(net.linear(net.flatten(x), 10)))
    assert weights(after) == [(6, 3, 3, 3), (4, 3, 3, 3), (10, 256)]  # group 0 goes; group 1 keeps both its filters
    assert node(after, "Conv", 1).attrs["groups"] == 2


def test_channel_shuffle_loses_a_place_of_each_group() -> None:
    net = Net()
    x = net.conv(net.x, 8, dead=[0, 1, 4, 6], bias=None)
    x = net.op("ChannelShuffle", x, groups=2)
    half = net.op("Slice", x, axis=1, start=0, end=4)
    rest = net.op("Slice", x, axis=1, start=4, end=8)
    after = passed(net.done(net.conv(net.op("Concat", net.conv(half, 4), rest, axis=1), 6)))
    # Of the pairs (0, 4), (1, 5), (2, 6), (3, 7) only the first is dead altogether; it comes first in the shuffle.
    assert weights(after) == [(6, 3, 3, 3), (4, 2, 3, 3), (6, 8, 3, 3)]
    assert after.shape(node(after, "ChannelShuffle").output) == (None, 6, 8, 8)
    assert [(n.attrs["start"], n.attrs["end"]) for n in after.nodes if n.op == "Slice"] == [(0, 2), (2, 6)]


def test_concatenated_constants_that_differ_are_none() -> None:
    net = Net()
    parts = [net.conv(net.x, 4, dead=[1], bias=bias) for bias in (np.arange(1, 5), np.arange(2, 6))]
    after = passed(net.done(net.conv(net.op("Concat", *parts, axis=2), 5, 1)))
    assert weights(after) == [(4, 3, 3, 3), (4, 3, 3, 3), (5, 4, 1, 1)]


def test_constant_operand_that_gives_the_sum_its_shape_stays() -> None:
    net = Net()
    dead, live = net.conv(net.x, 4, dead=range(4)), net.global_pool(net.conv(net.x, 4))
    assert "Add" in ops(passed(net.done(net.op("Add", dead, live))))


def test_operands_whose_channels_lie_on_different_axes_stay_whole() -> None:
    net = Net(channels=4, size=(8,))
    along_1 = net.conv(net.x, 6)
    along_2 = net.linear(net.conv(net.x, 6), 8)
    after = passed(net.done(net.linear(net.op("Mul", along_1, along_2), 5, unread=[0, 3])))
    assert sorted(weights(after)) == [(5, 8), (6, 4, 3), (6, 4, 3), (8, 8)]


def test_every_other_channel() -> None:
    net = Net()
    x = net.op("Slice", net.conv(net.x, 8, dead=[0, 1, 2], bias=None), axis=1, start=1, end=8, step=2)
    after = passed(net.done(net.conv(x, 5, unread=[3])))
    assert weights(after) == [(8, 3, 3, 3), (5, 4, 3, 3)]  # steps are not followed


def test_zero_padded_shortcut() -> None:
    """CIFAR ResNets: the shortcut skips every other pixel and pads with channels of zeros."""
    net = Net()
    x = net.act(net.conv(net.x, 4, dead=[1], bias=None))
    y = net.conv(net.act(net.conv(x, 8, stride=2, bias=None)), 8, dead=[0, 3, 6], bias=None)
    skip = net.op("Slice", net.op("Slice", x, axis=2, start=0, end=8, step=2), axis=3, start=0, end=8, step=2)
    skip = net.op("Pad", skip, pads=[2, 0, 0, 2, 0, 0])
    y = net.op("Add", y, skip)
    after = passed(net.done(net.linear(net.flatten(net.global_pool(y)), 10)))
    assert weights(after) == [(3, 3, 3, 3), (8, 3, 3, 3), (5, 8, 3, 3), (10, 5)]
    assert node(after, "Pad").attrs["pads"] == [1, 0, 0, 1, 0, 0]


def test_channels_are_followed_through_layout_changes() -> None:
    net = Net()
    x = net.conv(net.x, 8, dead=DEAD, bias=None)
    last = net.op("Transpose", x, perm=[0, 2, 3, 1])
    last = net.linear(last, 6, dead=[0], bias=np.arange(6))
    flat = net.linear(net.op("Reshape", net.act(last), shape=[0, -1]), 4 * 4 * 4)
    image = net.op("Reshape", flat, shape=[0, 4, 4, 4])
    after = passed(net.done(net.conv(image, 5, unread=[1, 2])))
    assert weights(after) == [(5, 3, 3, 3), (5, 5), (2 * 16, 5 * 64), (5, 2, 3, 3)]


def test_transposed_convolutions_shrink() -> None:
    net = Net(channels=4)
    x = net.conv_transpose(net.conv(net.x, 6, dead=[0], bias=None), 8, groups=2, dead=[1, 6])
    x = net.conv_transpose(net.conv(x, 6, 1), 3)
    after = passed(net.done(x))
    # The six inputs are two groups of three, so one filter that is dead cannot go alone.
    assert weights(after) == [(6, 4, 3, 3), (6, 3, 2, 2), (6, 6, 1, 1), (6, 3, 2, 2)]


def test_outputs_keep_every_channel_and_a_layer_keeps_one() -> None:
    net = Net()
    x = net.conv(net.x, 8, dead=range(8), bias=None)
    after = passed(net.done(x))
    assert weights(after) == [(8, 3, 3, 3)]
    net = Net()
    x = net.conv(net.conv(net.x, 8, dead=range(8), bias=None), 4)
    assert weights(passed(net.done(x), "remove_dead_channels")) == [(1, 3, 3, 3), (4, 1, 3, 3)]


def test_shared_and_caller_owned_weights_are_not_touched() -> None:
    net = Net(channels=4)
    w = net.constant(normal(net.rng, 4, 4, 3, 3))
    attrs = {"stride": [1, 1], "padding": [1] * 4, "dilation": [1, 1]}
    x = net.bn(net.op("Conv", net.x, w, **attrs), dead=[1])
    graph = net.done(net.bn(net.op("Conv", net.act(x), w, **attrs)))
    before = graph.constant(w).copy()
    passed(graph)
    np.testing.assert_array_equal(graph.constant(w), before)


def test_a_pass_that_is_switched_off_does_not_run_and_unknown_ones_are_refused() -> None:
    net = Net()
    graph = net.done(net.act(net.conv(net.x, 4)))
    graph.run_passes(["fuse_activation"])
    assert ops(graph) == ["Conv", "Activation"]
    with pytest.raises(ValueError, match=r"no pass is named 'fuse'; the passes are .*fuse_residual"):
        graph.run_passes(["fuse"])


# Whole families, as the frontend brings them

# How much smaller half the filters make each: both sides of most weights shrink, but not at residual sums, which need
# every branch's consent, nor at shuffles.
FAMILIES = {
    "conv1d": 0.85,
    "vgg11_bn": 0.3,
    "resnet20": 0.55,
    "mobilenet_v2": 0.4,
    "mobilenet_v3_small": 0.4,
    "shufflenet_v2": 0.55,
    "densenet121": 0.3,
    "inception": 0.3,
}


def imported(name: str, pattern: str) -> Graph:
    torch = pytest.importorskip("torch")
    import sparsenet as sn
    from benchmarks import models

    model = models.seeded_init(models.create_small(name), 3)
    if pattern == "convolutions":  # what prune.ln_structured does: the batch norm behind it still shifts
        rng = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for layer in model.modules():
                if isinstance(layer, torch.nn.Conv2d):
                    layer.weight[torch.rand(len(layer.weight), generator=rng) < 0.5] = 0
    else:
        models.sparsify(model, 0.5, 4, pattern)
    return sn.from_torch(model, (torch.zeros(2, *models.input_shape(name, small=True)),))


def size(graph: Graph) -> int:
    return sum(math.prod(shape) for shape in weights(graph))


@pytest.mark.parametrize("name", FAMILIES)
def test_filter_pruned_families_come_out_smaller(name: str) -> None:
    graph = imported(name, "filters")
    after = passed(graph, batch=1)
    assert size(after) < FAMILIES[name] * size(graph)
    assert [n for n in after.nodes if n.op == "BatchNorm"] == [] or name == "densenet121"


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2"])
def test_families_whose_batch_norms_still_shift(name: str) -> None:
    graph = imported(name, "convolutions")
    assert size(passed(graph, batch=1)) < 0.75 * size(graph)


def test_weight_pruned_networks_keep_their_zeros() -> None:
    graph = imported("resnet20", "unstructured")
    after = passed(graph, batch=1)
    assert zeros(after) / size(after) == pytest.approx(zeros(graph) / size(graph), rel=0.01)
