"""Small networks for the tests of passes: a builder on top of Graph, and random DAGs of pruned layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from strategies import ACTIVATIONS, normal, seeds

from sparsenet import Graph


class Net:
    """Builds a graph; every method takes and returns value names. Weights are seeded normal numbers."""

    def __init__(self, seed: int = 0, channels: int = 3, size: tuple[int, ...] = (8, 8)) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph()
        self.x = self.graph.add_input("x", [None, channels, *size])

    def constant(self, array: Any) -> str:
        return self.graph.add_constant(self.graph.unique_name("c"), np.asarray(array, np.float32))

    def channels(self, x: str) -> int:
        return int(self.graph.shape(x)[1])

    def op(self, op: str, *inputs: str | None, name: str = "", **attrs: Any) -> str:
        return self.graph.add_node(op, list(inputs), attrs, name)

    def conv(
        self,
        x: str,
        m: int,
        k: int = 3,
        *,
        stride: int = 1,
        pad: int | None = None,
        groups: int = 1,
        dead: Any = (),
        unread: Any = (),
        bias: Any = "random",
        blocks: tuple[int, int] | None = None,
        **attrs: Any,
    ) -> str:
        """A convolution; ``dead`` filters are zero (their bias is not), ``unread`` inputs of each group too. Of
        ``blocks`` of so many filters by so many inputs at a tap, six in ten are zero."""
        spatial = len(self.graph.shape(x)) - 2
        w = normal(self.rng, m, self.channels(x) // groups, *[k] * spatial)
        if blocks:
            cells = [-(-w.shape[0] // blocks[0]), -(-w.shape[1] // blocks[1])]
            zero = self.rng.permuted(np.arange(np.prod([*cells, *w.shape[2:]]))) % 10 < 6
            zero = zero.reshape(*cells, *w.shape[2:]).repeat(blocks[0], 0).repeat(blocks[1], 1)
            w[zero[: w.shape[0], : w.shape[1]]] = 0
        w[list(dead)] = 0
        w[:, list(unread)] = 0
        b = normal(self.rng, m) if isinstance(bias, str) else bias
        inputs = [x, self.constant(w), *([] if b is None else [self.constant(b)])]
        padding = [k // 2 if pad is None else pad] * 2 * spatial
        ones = [1] * spatial
        return self.op(
            "Conv", *inputs, stride=[stride] * spatial, padding=padding, dilation=ones, groups=groups, **attrs
        )

    def conv_transpose(self, x: str, m: int, k: int = 2, *, stride: int = 2, groups: int = 1, dead: Any = ()) -> str:
        w = normal(self.rng, self.channels(x), m // groups, k, k)
        for filter_ in dead:
            group, column = divmod(filter_, m // groups)
            rows = self.channels(x) // groups
            w[group * rows : (group + 1) * rows, column] = 0
        b = self.constant(normal(self.rng, m))
        attrs = {"stride": [stride] * 2, "padding": [0] * 4, "output_padding": [0] * 2, "dilation": [1] * 2}
        return self.op("ConvTranspose", x, self.constant(w), b, groups=groups, **attrs)

    def linear(self, x: str, m: int, *, dead: Any = (), unread: Any = (), bias: Any = "random", **attrs: Any) -> str:
        w = normal(self.rng, m, int(self.graph.shape(x)[-1]))
        w[list(dead)] = 0
        w[:, list(unread)] = 0
        b = normal(self.rng, m) if isinstance(bias, str) else np.asarray(bias)
        return self.op("Linear", x, self.constant(w), self.constant(b), **attrs)

    def bn(self, x: str, *, dead: Any = ()) -> str:
        """Batch norm; ``dead`` channels have gamma = beta = 0."""
        c = self.channels(x)
        gamma, beta, mean = (normal(self.rng, c) for _ in range(3))
        gamma[list(dead)] = 0
        beta[list(dead)] = 0
        var = self.rng.uniform(0.5, 2, c)
        return self.op("BatchNorm", x, *(self.constant(p) for p in (gamma, beta, mean, var)), eps=1e-3)

    def act(self, x: str, act: str = "relu", a: float = 0, b: float = 0, name: str = "") -> str:
        return self.op("Activation", x, act=act, act_a=a, act_b=b, name=name)

    def relu6(self, x: str) -> str:
        return self.act(x, "clip", 0, 6)

    def pool(self, x: str, op: str, k: int = 2, *, stride: int = 2, pad: int = 0, **attrs: Any) -> str:
        spatial = len(self.graph.shape(x)) - 2
        given = {"kernel": [k] * spatial, "stride": [stride] * spatial, "padding": [pad] * 2 * spatial, **attrs}
        return self.op(op, x, **given, **({"dilation": [1] * spatial} if op == "MaxPool" else {}))

    def global_pool(self, x: str) -> str:
        return self.op("AdaptiveAvgPool", x, output=[1] * (len(self.graph.shape(x)) - 2))

    def flatten(self, x: str) -> str:
        return self.op("Reshape", x, shape=[0, -1])

    def done(self, *outputs: str) -> Graph:
        self.graph.set_outputs(list(outputs))
        self.graph.verify()
        return self.graph


KINDS = [
    "conv", "conv", "conv", "pointwise", "depthwise", "grouped", "transposed", "bn", "bn", "act", "act", "add", "add",
    "gate", "concat", "slice", "shuffle", "max", "avg", "pad", "resize", "constant", "transpose", "stride",
    "stack", "fused", "last", "unflatten", "softmax",
]  # fmt: skip


def _constant(draw: st.DrawFn, net: Net, v: str) -> str:
    """Arithmetic with a constant: per channel, a scalar, or a neutral one."""
    c = net.channels(v)
    op = draw(st.sampled_from(["Add", "Sub", "Mul", "Div"]))
    neutral = 0.0 if op in ("Add", "Sub") else 1.0
    shape = draw(st.sampled_from([(c, 1, 1), (1, c, 1, 1), (1,), ()]))
    numbers = np.abs(normal(net.rng, *shape)) + 0.25 if draw(st.booleans()) else np.full(shape, neutral)
    k = net.constant(numbers)
    return net.op(op, *((k, v) if op != "Div" and draw(st.booleans()) else (v, k)))


def _layer(draw: st.DrawFn, net: Net, kind: str, v: str, others: list[str]) -> str | None:
    c, size = net.channels(v), net.graph.shape(v)[2:]
    subset = st.lists(st.integers(0, 11), max_size=8, unique=True)
    bias = draw(st.sampled_from(["random", None]))
    if kind in ("conv", "pointwise"):
        m, k = draw(st.integers(1, 9)), 1 if kind == "pointwise" else 3
        dead, unread = [i for i in draw(subset) if i < m], [i for i in draw(subset) if i < c]
        stride, blocks = draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from([None, (4, 1), (1, 4)]))
        return net.conv(v, m, k, stride=stride, dead=dead, unread=unread, bias=bias, blocks=blocks)
    if kind in ("depthwise", "grouped"):
        groups = c if kind == "depthwise" else next((g for g in (2, 3) if c % g == 0), 1)
        m = groups * draw(st.integers(1, 3))
        pad = draw(st.sampled_from([0, 1])) if min(size) >= 3 else 1
        return net.conv(v, m, 3, groups=groups, pad=pad, dead=[i for i in draw(subset) if i < m], bias=bias)
    if kind == "transposed" and max(size) <= 8:
        groups = 2 if c % 2 == 0 and draw(st.booleans()) else 1
        m = groups * draw(st.integers(1, 3))
        return net.conv_transpose(v, m, groups=groups, dead=[i for i in draw(subset) if i < m])
    if kind == "bn":
        return net.bn(v, dead=[i for i in draw(subset) if i < c])
    if kind == "act":
        act = draw(st.sampled_from(["relu", "clip", "silu", "hard_swish", "sigmoid", "leaky_relu", "none", "tanh"]))
        return net.act(v, act, *ACTIVATIONS[act])
    if kind == "add":
        same = [o for o in others if net.graph.shape(o) == net.graph.shape(v)]
        return net.op("Add", v, draw(st.sampled_from(same))) if same else None
    if kind == "gate":  # squeeze and excite
        s = net.conv(net.global_pool(v), 4, 1, dead=[i for i in draw(subset) if i < 4])
        return net.op("Mul", v, net.act(net.conv(net.act(s), c, 1), "hard_sigmoid"))
    if kind == "concat":
        same = [o for o in others if net.graph.shape(o)[2:] == size]
        return net.op("Concat", v, draw(st.sampled_from(same)), axis=1)
    if kind == "slice":
        start = draw(st.integers(0, c - 1))
        return net.op("Slice", v, axis=1, start=start, end=draw(st.integers(start + 1, c)))
    if kind == "stride":
        return net.op("Slice", v, axis=2, start=0, end=size[0], step=2)
    if kind == "shuffle":
        groups = next((g for g in (2, 3) if c % g == 0), 1)
        if draw(st.booleans()):
            return net.op("ChannelShuffle", v, groups=groups)
        split = net.op("Reshape", v, shape=[0, groups, c // groups, *size])
        return net.op("Reshape", net.op("Transpose", split, perm=[0, 2, 1, 3, 4]), shape=[0, c, *size])
    if kind in ("max", "avg") and min(size) >= 3:
        attrs = {"ceil_mode": draw(st.sampled_from([0, 1])), "stride": draw(st.sampled_from([1, 2]))}
        if kind == "avg":
            attrs["count_include_pad"] = draw(st.sampled_from([0, 1]))
        return net.pool(v, "MaxPool" if kind == "max" else "AvgPool", 3, pad=draw(st.sampled_from([0, 1])), **attrs)
    if kind == "pad":
        before, after = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        around = draw(st.sampled_from([0, 1]))
        value = draw(st.sampled_from([0.0, 0.0, 1.5]))
        return net.op("Pad", v, pads=[before, around, 0, after, around, 1], value=value)
    if kind == "resize" and max(size) <= 8:
        mode = draw(st.sampled_from(["nearest", "bilinear"]))
        factor = draw(st.sampled_from([1, 2]))
        return net.op("Resize", v, output=[n * factor for n in size], scale=[1 / factor] * 2, mode=mode)
    if kind == "constant":
        return _constant(draw, net, v)
    if kind == "stack":
        same = [o for o in others if net.graph.shape(o)[1::2] == net.graph.shape(v)[1::2]]
        return net.op("Concat", v, draw(st.sampled_from(same)), axis=2)
    if kind == "fused":  # as the passes leave it
        other = draw(st.sampled_from(others))
        b, m = net.constant(normal(net.rng, net.channels(other))), net.channels(other)
        if net.graph.shape(other)[2:] != size:
            return None
        w = normal(net.rng, m, c, 1, 1)
        w[[i for i in draw(subset) if i < m]] = 0
        act = draw(st.sampled_from(["relu", "none"]))
        attrs = {"stride": [1, 1], "padding": [0] * 4, "dilation": [1, 1], "act": act}
        return net.op("Conv", v, net.constant(w), draw(st.sampled_from([b, None])), other, **attrs)
    if kind == "last":
        x = net.op("Transpose", v, perm=[0, 2, 3, 1])
        x = net.linear(net.act(x, "leaky_relu", 0.1), 5, dead=[i for i in draw(subset) if i < 5])
        return net.op("Transpose", x, perm=[0, 3, 1, 2])
    if kind == "unflatten" and c * size[0] * size[1] <= 600:
        x = net.linear(net.flatten(v), 3 * 4 * 4, dead=range(16, 32) if draw(st.booleans()) else draw(subset))
        return net.op("Reshape", net.act(x), shape=draw(st.sampled_from([[0, 3, 4, 4], [0, 6, 2, 4], [0, 1, 8, 6]])))
    if kind == "softmax":
        return net.op("Softmax", v, axis=draw(st.sampled_from([1, 3])))
    if kind == "transpose":
        return net.op("Transpose", v, perm=[0, 1, 3, 2])
    return None


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    """A random DAG of layers with dead filters and unread inputs, ending in a classifier, in images, or in both."""
    net = Net(draw(seeds), channels=draw(st.integers(1, 4)), size=(draw(st.integers(3, 8)), draw(st.integers(3, 8))))
    values = [net.x]
    for _ in range(draw(st.integers(1, 12))):
        v = draw(st.sampled_from(values[-3:]))
        y = _layer(draw, net, draw(st.sampled_from(KINDS)), v, values)
        if y is not None:
            values.append(y)
    outputs = [] if values[-1] == net.x else [values[-1]]
    if not outputs or draw(st.booleans()):
        head = draw(st.sampled_from(["flatten", "global", "mean"]))
        x = values[-1] if head == "flatten" else None
        x = x or (net.global_pool(values[-1]) if head == "global" else net.op("Mean", values[-1], axes=[2, 3]))
        fc = net.linear(net.flatten(x), 6, dead=draw(st.sampled_from([[], [1, 4]])))
        outputs.append(net.linear(net.act(fc), 5, unread=draw(st.sampled_from([[], [0, 2]]))))
        if draw(st.booleans()):
            outputs = outputs[-1:]
    return net.done(*outputs)
