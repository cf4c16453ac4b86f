"""A Hypothesis strategy for small random networks of the blocks that real CNNs have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from strategies import ACTIVATIONS, normal, seeds


@dataclass
class Network:
    """A small network and inputs for it."""

    graph: Any
    feeds: dict[str, np.ndarray]


@st.composite
def networks(draw: st.DrawFn, max_blocks: int = 4) -> Network:
    """A small CNN of the blocks that real ones have, its weights scaled to keep activations near 1.

    Blocks: conv-BN-activation, residual, depthwise separable, branches joined by concat, squeeze-excite, channel
    shuffle, pooling, resize; then global pooling and a classifier, or the feature map as it is. Some filters are zero.
    """
    from sparsenet import Graph

    rng = np.random.default_rng(draw(seeds))
    graph = Graph()
    channels, size = draw(st.integers(1, 4)), draw(st.integers(6, 14))
    x = normal(rng, draw(st.integers(1, 4)), channels, size, size + draw(st.integers(0, 3)))
    h = graph.add_input("x", [None, *x.shape[1:]])
    density = draw(st.sampled_from([0.1, 0.3, 0.5, 1.0]))
    filters = draw(st.sampled_from([0.5, 1.0]))

    def constant(value: np.ndarray) -> str:
        return graph.add_constant(f"c{len(graph.values)}", np.ascontiguousarray(value, dtype=np.float32))

    def weight(*shape: int) -> str:
        w = normal(rng, *shape) * (rng.random(shape) < density)
        w[rng.random(len(w)) >= filters] = 0
        return constant(w * (2 / max(1.0, density * float(np.prod(shape[1:])))) ** 0.5)

    def conv(h: str, out: int, kernel: int, stride: int = 1, groups: int = 1) -> str:
        attrs = {"stride": [stride] * 2, "padding": [kernel // 2] * 4, "dilation": [1, 1], "groups": groups}
        bias = constant(0.1 * normal(rng, out)) if rng.random() < 0.5 else None
        return graph.add_node("Conv", [h, weight(out, graph.shape(h)[1] // groups, kernel, kernel), bias], attrs)

    def norm_act(h: str) -> str:
        c = graph.shape(h)[1]
        if rng.random() < 0.7:
            gamma, beta, mean = 1 + 0.1 * normal(rng, c), 0.1 * normal(rng, c), 0.1 * normal(rng, c)
            var = 1 + 0.1 * np.abs(normal(rng, c))
            h = graph.add_node("BatchNorm", [h, *map(constant, (gamma, beta, mean, var))], {"eps": 1e-5})
        act = str(rng.choice(["relu", "relu", "clip", "silu", "hard_swish", "leaky_relu", "none"]))
        a, b = {"clip": (0.0, 6.0)}.get(act, ACTIVATIONS[act])
        return graph.add_node("Activation", [h], {"act": act, "act_a": a, "act_b": b})

    def block(h: str, kind: str) -> str:
        c, spatial = graph.shape(h)[1], graph.shape(h)[2:]
        if kind == "conv":
            return norm_act(conv(h, int(rng.integers(1, 20)), int(rng.choice([1, 3])), int(rng.integers(1, 3))))
        if kind == "residual":
            y = conv(norm_act(conv(h, int(rng.integers(1, 12)), 3)), c, int(rng.choice([1, 3])))
            return norm_act(graph.add_node("Add", [y, h] if rng.random() < 0.5 else [h, y]))
        if kind == "separable":
            return norm_act(conv(norm_act(conv(h, c, 3, groups=c)), int(rng.integers(1, 16)), 1))
        if kind == "branches":
            parts = [norm_act(conv(h, int(rng.integers(1, 8)), k)) for k in (1, 3)]
            return graph.add_node("Concat", [*parts, h], {"axis": 1})
        if kind == "excite":
            y = graph.add_node("Mean", [h], {"axes": [2, 3], "keepdim": 1})
            y = conv(norm_act(conv(y, max(1, c // 2), 1)), c, 1)
            return graph.add_node("Mul", [h, graph.add_node("Activation", [y], {"act": "hard_sigmoid"})])
        if kind == "shuffle":
            y = conv(h, 2 * c, 1)
            y = graph.add_node("ChannelShuffle", [y], {"groups": 2})
            return graph.add_node("Slice", [y], {"axis": 1, "start": 0, "end": c})
        if kind == "pool" and min(spatial) >= 2:
            attrs = {"kernel": [2, 2], "stride": [2, 2], "padding": [0] * 4, "ceil_mode": int(rng.integers(2))}
            return graph.add_node("MaxPool", [h], {**attrs, "dilation": [1, 1]})
        mode = str(rng.choice(["nearest", "bilinear"]))
        size = {"output": [n + 2 for n in spatial], "scale": [n / (n + 2) for n in spatial]}
        return graph.add_node("Resize", [h], {**size, "mode": mode})

    kinds = ["conv", "residual", "separable", "branches", "excite", "shuffle", "pool", "resize"]
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=max_blocks)):
        h = block(h, kind)
    outputs = [h]
    if draw(st.booleans()):
        h = graph.add_node("AdaptiveAvgPool", [h], {"output": [1, 1]})
        h = graph.add_node("Reshape", [h], {"shape": [0, -1]})
        h = graph.add_node("Linear", [h, weight(5, graph.shape(h)[1]), constant(normal(rng, 5))])
        outputs = [h, outputs[0]] if draw(st.booleans()) else [h]
    graph.set_outputs(outputs)
    return Network(graph, {"x": x})
