"""Hypothesis strategies that the tests share: one op with its inputs. Whole networks: see small_networks.py.

Hypothesis draws shapes and options (so that failures shrink to small ones) and a seed; NumPy draws the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

ACTIVATIONS = {
    "none": (0.0, 0.0),
    "relu": (0.0, 0.0),
    "clip": (-0.5, 0.75),
    "leaky_relu": (0.1, 0.0),
    "silu": (0.0, 0.0),
    "hard_swish": (0.0, 0.0),
    "hard_sigmoid": (0.0, 0.0),
    "sigmoid": (0.0, 0.0),
    "tanh": (0.0, 0.0),
    "gelu": (0.0, 0.0),
    "gelu_tanh": (0.0, 0.0),
    "exp": (0.0, 0.0),
    "sqrt": (0.0, 0.0),
    "abs": (0.0, 0.0),
    "neg": (0.0, 0.0),
}
FUSABLE = [name for name in ACTIVATIONS if name not in ("exp", "sqrt", "neg", "abs")]


@dataclass
class Case:
    """One op: activations ``x*`` (axis 0 is the batch) and constants ``c*`` in input order; None is an absent input."""

    op: str
    attrs: dict[str, Any] = field(default_factory=dict)
    inputs: list[np.ndarray | None] = field(default_factory=list)
    constants: set[int] = field(default_factory=set)  # which inputs are constants

    @property
    def feeds(self) -> dict[str, np.ndarray]:
        """The activations by name."""
        return {f"x{i}": x for i, x in enumerate(self.inputs) if x is not None and i not in self.constants}

    def graph(self) -> Any:
        """The op as a graph of one node called "op"."""
        from sparsenet import Graph

        graph, names = Graph(), []
        for i, x in enumerate(self.inputs):
            if x is None:
                names.append(None)
            elif i in self.constants:
                names.append(graph.add_constant(f"c{i}", x))
            else:
                names.append(graph.add_input(f"x{i}", [None, *x.shape[1:]]))
        while names[-1] is None:
            names.pop()
        graph.set_outputs([graph.add_node(self.op, names, self.attrs, "op")])
        return graph

    def __repr__(self) -> str:
        shapes = [None if x is None else list(x.shape) for x in self.inputs]
        return f"{self.op}({shapes}, constants={sorted(self.constants)}, {self.attrs})"


seeds = st.integers(0, 2**32 - 1)
batches = st.integers(1, 9)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


@st.composite
def sparse_weights(draw: st.DrawFn, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of one zero pattern: dense, random zeros, none left, empty rows or columns, blocks, one nonzero."""
    rng = np.random.default_rng(draw(seeds))
    w = normal(rng, *shape)
    flat = w.reshape(shape[0], -1)
    pattern = draw(st.sampled_from(["random", "dense", "rows", "columns", "4x1", "1x4", "2:4", "single", "empty"]))
    if pattern == "random":
        flat[rng.random(flat.shape) < draw(st.sampled_from([0.3, 0.5, 0.8, 0.9, 0.98]))] = 0
    elif pattern == "rows":
        flat[rng.random(len(flat)) < 0.5] = 0
        flat[rng.random(flat.shape) < 0.5] = 0
    elif pattern == "columns":
        flat[:, rng.random(flat.shape[1]) < 0.6] = 0
    elif pattern in ("4x1", "1x4"):
        block = np.ones((4, 1) if pattern == "4x1" else (1, 4))
        coarse = rng.random((-(-flat.shape[0] // block.shape[0]), -(-flat.shape[1] // block.shape[1]))) < 0.3
        flat *= np.kron(coarse, block)[: flat.shape[0], : flat.shape[1]].astype(np.float32)
    elif pattern == "2:4":
        order = np.argsort(rng.random((flat.shape[0], -(-flat.shape[1] // 4), 4)), axis=2)
        flat[(order >= 2).reshape(flat.shape[0], -1)[:, : flat.shape[1]]] = 0
    elif pattern == "single":
        keep = tuple(int(rng.integers(n)) for n in flat.shape)
        value = flat[keep]
        flat[...] = 0
        flat[keep] = value
    elif pattern == "empty":
        flat[...] = 0
    return w


@st.composite
def fused(draw: st.DrawFn) -> dict[str, Any]:
    """The attributes of a fused activation."""
    act = draw(st.sampled_from(FUSABLE))
    a, b = ACTIVATIONS[act]
    return {"act": act, "act_a": a, "act_b": b}


@st.composite
def convs(
    draw: st.DrawFn,
    rank: int | None = None,
    groups: str = "any",
    kernels: st.SearchStrategy[int] = st.sampled_from([1, 1, 2, 3, 3, 4, 5, 7]),  # noqa: B008
    strides: st.SearchStrategy[int] = st.sampled_from([1, 1, 1, 2, 3]),  # noqa: B008
    dilations: st.SearchStrategy[int] = st.sampled_from([1, 1, 1, 2, 3]),  # noqa: B008
    max_channels: int = 40,
    max_size: int = 17,
    square: bool = False,
) -> Case:
    """A convolution. ``groups``: "one", "depthwise" (one input channel each), "matrix" (one or some groups) or "any".

    ``square``: the same kernel, stride and dilation on both axes.
    """
    spatial = rank or draw(st.sampled_from([1, 2, 2, 2]))
    kinds = {"any": ["one", "one", "some", "depthwise"], "matrix": ["one", "one", "some"]}
    kind = draw(st.sampled_from(kinds.get(groups, [groups])))
    if kind == "one":
        g, cin, cout = 1, draw(st.integers(1, max_channels)), draw(st.integers(1, max_channels))
    elif kind == "some":
        g = draw(st.integers(2, 4))
        cin, cout = g * draw(st.integers(1, max_channels // g)), g * draw(st.integers(1, max_channels // g))
    else:
        g = cin = draw(st.integers(1, max_channels))
        cout = g * draw(st.sampled_from([1, 1, 2]))
    k, s, d = ([draw(option) for _ in range(spatial)] for option in (kernels, strides, dilations))
    if square:
        k, s, d = ([axis[0]] * spatial for axis in (k, s, d))
    begin = [draw(st.integers(0, d_ * (k_ - 1))) for k_, d_ in zip(k, d, strict=True)]
    end = [
        b if same else draw(st.integers(0, d_ * (k_ - 1)))
        for b, k_, d_, same in zip(begin, k, d, [draw(st.booleans())] * spatial, strict=True)
    ]
    size = []
    for k_, d_, b, e in zip(k, d, begin, end, strict=True):
        least = max(1, d_ * (k_ - 1) + 1 - b - e)
        size.append(draw(st.integers(least, max(least, max_size))))
    batch, rng = draw(batches), np.random.default_rng(draw(seeds))
    attrs = {"stride": s, "padding": begin + end, "dilation": d, "groups": g, **draw(fused())}
    out = [
        (n + b + e - d_ * (k_ - 1) - 1) // s_ + 1 for n, b, e, d_, k_, s_ in zip(size, begin, end, d, k, s, strict=True)
    ]
    bias = normal(rng, cout) if draw(st.booleans()) else None
    residual = normal(rng, batch, cout, *out) if draw(st.booleans()) else None
    w = draw(sparse_weights((cout, cin // g, *k)))
    return Case("Conv", attrs, [normal(rng, batch, cin, *size), w, bias, residual], {1, 2})


@st.composite
def conv_transposes(draw: st.DrawFn, rank: int | None = None) -> Case:
    spatial = rank or draw(st.sampled_from([1, 2, 2]))
    g = draw(st.sampled_from([1, 1, 2, 3]))
    cin, per_group = g * draw(st.integers(1, 6)), draw(st.integers(1, 7))
    k, s, d = ([draw(st.integers(1, most)) for _ in range(spatial)] for most in (4, 3, 2))
    extra = [draw(st.integers(0, max(s_, d_) - 1)) for s_, d_ in zip(s, d, strict=True)]
    begin = [draw(st.integers(0, d_ * (k_ - 1))) for k_, d_ in zip(k, d, strict=True)]
    end = [draw(st.integers(0, d_ * (k_ - 1))) for k_, d_ in zip(k, d, strict=True)]
    size = []
    for k_, s_, d_, b, e, x in zip(k, s, d, begin, end, extra, strict=True):
        least = max(1, -(-(b + e - d_ * (k_ - 1) - x) // s_) + 1)
        size.append(draw(st.integers(least, least + 9)))
    batch, rng = draw(batches), np.random.default_rng(draw(seeds))
    attrs = {"stride": s, "padding": begin + end, "output_padding": extra, "dilation": d, "groups": g, **draw(fused())}
    bias = normal(rng, g * per_group) if draw(st.booleans()) else None
    w = draw(sparse_weights((cin, per_group, *k)))
    return Case("ConvTranspose", attrs, [normal(rng, batch, cin, *size), w, bias], {1, 2})


@st.composite
def linears(draw: st.DrawFn, max_features: int = 150) -> Case:
    batch, rng = draw(batches), np.random.default_rng(draw(seeds))
    inner = draw(st.sampled_from([[], [], [], [3], [2, 5]]))
    k, m = draw(st.integers(1, max_features)), draw(st.integers(1, max_features))
    bias = normal(rng, m) if draw(st.booleans()) else None
    residual = normal(rng, batch, *inner, m) if draw(st.booleans()) else None
    x, w = normal(rng, batch, *inner, k), draw(sparse_weights((m, k)))
    return Case("Linear", draw(fused()), [x, w, bias, residual], {1, 2})


@st.composite
def images(draw: st.DrawFn, min_rank: int = 3, max_rank: int = 4, max_size: int = 15) -> np.ndarray:
    """An activation ``[N, C, ...]`` of normal numbers."""
    rank, rng = draw(st.integers(min_rank, max_rank)), np.random.default_rng(draw(seeds))
    shape = [draw(batches), draw(st.integers(1, 20)), *[draw(st.integers(1, max_size)) for _ in range(rank - 2)]]
    return normal(rng, *shape[:rank])


@st.composite
def pools(draw: st.DrawFn, op: str) -> Case:
    """MaxPool or AvgPool. As in torch, padding is at most half of the kernel, here on each side by itself."""
    x = draw(images())
    spatial = x.ndim - 2
    k, s, d, begin, end = [], [], [], [], []
    for n in x.shape[2:]:
        k.append(draw(st.integers(1, min(5, n))))
        s.append(draw(st.integers(1, 3)))
        d.append(draw(st.integers(1, 2)) if op == "MaxPool" and 2 * (k[-1] - 1) + 1 <= n else 1)
        begin.append(draw(st.integers(0, k[-1] // 2)))
        end.append(draw(st.integers(0, k[-1] // 2)))
    attrs: dict[str, Any] = {"kernel": k, "stride": s, "padding": begin + end, "ceil_mode": int(draw(st.booleans()))}
    if op == "MaxPool":
        return Case(op, {**attrs, "dilation": d}, [x])
    attrs["count_include_pad"] = int(draw(st.booleans()))
    attrs["divisor_override"] = draw(st.sampled_from([0, 0, 0, 3])) if spatial == 2 else 0
    return Case(op, attrs, [x])


@st.composite
def adaptive_pools(draw: st.DrawFn, op: str) -> Case:
    x = draw(images())
    most = draw(st.sampled_from([1, 8]))  # 1: global
    return Case(op, {"output": [draw(st.integers(1, most)) for _ in x.shape[2:]]}, [x])


@st.composite
def means(draw: st.DrawFn) -> Case:
    x = draw(images(min_rank=2))
    # The channels alone, often: of random sets most end with the last axis, and means over rows are another kernel.
    axes = draw(st.just({1}) | st.sets(st.integers(1, x.ndim - 1), min_size=1))
    return Case("Mean", {"axes": sorted(axes), "keepdim": int(draw(st.booleans()))}, [x])


@st.composite
def activations(draw: st.DrawFn) -> Case:
    act = draw(st.sampled_from([name for name in ACTIVATIONS if name != "none"]))
    a, b = ACTIVATIONS[act]
    x = draw(images(min_rank=2)) * np.float32(draw(st.sampled_from([1, 4, 20])))
    if act == "sqrt":
        x = np.abs(x)
    return Case("Activation", {"act": act, "act_a": a, "act_b": b}, [x])


@st.composite
def prelus(draw: st.DrawFn) -> Case:
    x, rng = draw(images(min_rank=2)), np.random.default_rng(draw(seeds))
    return Case("PRelu", {}, [x, normal(rng, draw(st.sampled_from([1, x.shape[1]])))], {1})


@st.composite
def batch_norms(draw: st.DrawFn) -> Case:
    x, rng = draw(images(min_rank=2)), np.random.default_rng(draw(seeds))
    gamma, beta, mean = (normal(rng, x.shape[1]) for _ in range(3))
    var = np.abs(normal(rng, x.shape[1]))
    return Case("BatchNorm", {"eps": 1e-3, **draw(fused())}, [x, gamma, beta, mean, var], {1, 2, 3, 4})


@st.composite
def softmaxes(draw: st.DrawFn) -> Case:
    x = draw(images(min_rank=2)) * np.float32(draw(st.sampled_from([1, 10])))
    return Case("Softmax", {"axis": draw(st.integers(1, x.ndim - 1)), "log": int(draw(st.booleans()))}, [x])


@st.composite
def binaries(draw: st.DrawFn, op: str | None = None) -> Case:
    """Arithmetic of two activations or of one and a constant, on either side, with broadcasting."""
    op = op or draw(st.sampled_from(["Add", "Sub", "Mul", "Div"]))
    x, rng = draw(images(min_rank=2)), np.random.default_rng(draw(seeds))
    shape = [n if draw(st.booleans()) else 1 for n in x.shape[1:]]
    if draw(st.booleans()):  # a constant, perhaps of lower rank
        other, constant = normal(rng, *[1, *shape][draw(st.integers(0, len(shape))) :]), True
    else:
        other, constant = normal(rng, x.shape[0], *shape), False
    if op == "Div":
        x, other = (np.sign(v) * np.maximum(np.abs(v), np.float32(0.1)) for v in (x, other))
    swap = draw(st.booleans())
    inputs = [other, x] if swap else [x, other]
    return Case(op, draw(fused()), inputs, {0 if swap else 1} if constant else set())


@st.composite
def concats(draw: st.DrawFn) -> Case:
    x, rng = draw(images(min_rank=2)), np.random.default_rng(draw(seeds))
    axis, count = draw(st.integers(1, x.ndim - 1)), draw(st.integers(1, 11))
    others = []
    for _ in range(count - 1):
        shape = list(x.shape)
        shape[axis] = draw(st.integers(1, 9))
        others.append(normal(rng, *shape))
    return Case("Concat", {"axis": axis}, [x, *others])


@st.composite
def slices(draw: st.DrawFn) -> Case:
    x = draw(images(min_rank=2))
    axis = draw(st.integers(1, x.ndim - 1))
    start = draw(st.integers(0, x.shape[axis] - 1))
    end = draw(st.integers(start + 1, x.shape[axis]))
    return Case("Slice", {"axis": axis, "start": start, "end": end, "step": draw(st.integers(1, 3))}, [x])


@st.composite
def pads(draw: st.DrawFn, modes: tuple[str, ...] = ("constant", "reflect", "replicate")) -> Case:
    x, mode = draw(images()), draw(st.sampled_from(modes))
    begin, end = [], []
    for axis, n in enumerate(x.shape[1:], start=1):
        most = (n - 1 if mode == "reflect" else 4) if axis >= 2 or mode == "constant" else 0
        begin.append(draw(st.integers(-min(2, n - 1) if axis >= 2 and mode == "constant" else 0, most)))
        end.append(draw(st.integers(-min(2, n - 1 + min(0, begin[-1])) if mode == "constant" else 0, most)))
    return Case("Pad", {"pads": begin + end, "mode": mode, "value": draw(st.sampled_from([0.0, -1.5]))}, [x])


@st.composite
def reshapes(draw: st.DrawFn) -> Case:
    x = draw(images(min_rank=2))
    shape = draw(st.sampled_from([[0, -1], [0, 1, -1], [0, *x.shape[1:][::-1]], [0, x.shape[1], -1, 1]]))
    return Case("Reshape", {"shape": [int(n) for n in shape]}, [x])


@st.composite
def transposes(draw: st.DrawFn) -> Case:
    x = draw(images(min_rank=2))
    return Case("Transpose", {"perm": [0, *draw(st.permutations(range(1, x.ndim)))]}, [x])


@st.composite
def channel_shuffles(draw: st.DrawFn) -> Case:
    x, rng = draw(images()), np.random.default_rng(draw(seeds))
    groups = draw(st.integers(1, 5))
    x = normal(rng, x.shape[0], groups * draw(st.integers(1, 5)), *x.shape[2:])
    return Case("ChannelShuffle", {"groups": groups}, [x])


@st.composite
def resizes(draw: st.DrawFn) -> Case:
    x = draw(images())
    output = [draw(st.integers(1, 20)) for _ in x.shape[2:]]
    mode = draw(st.sampled_from(["nearest", "bilinear"]))
    corners = int(mode == "bilinear" and draw(st.booleans()))
    scales = [n / out for n, out in zip(x.shape[2:], output, strict=True)]
    return Case("Resize", {"output": output, "scale": scales, "mode": mode, "align_corners": corners}, [x])


#: For every op of the table, what to draw it from.
OP_STRATEGIES: dict[str, st.SearchStrategy[Case]] = {
    "Conv": convs(),
    "ConvTranspose": conv_transposes(),
    "Linear": linears(),
    "BatchNorm": batch_norms(),
    "Activation": activations(),
    "PRelu": prelus(),
    "Softmax": softmaxes(),
    **{op: binaries(op) for op in ("Add", "Sub", "Mul", "Div")},
    **{op: pools(op) for op in ("MaxPool", "AvgPool")},
    **{op: adaptive_pools(op) for op in ("AdaptiveAvgPool", "AdaptiveMaxPool")},
    "Mean": means(),
    "Concat": concats(),
    "Slice": slices(),
    "Pad": pads(),
    "Reshape": reshapes(),
    "Transpose": transposes(),
    "ChannelShuffle": channel_shuffles(),
    "Resize": resizes(),
    "Identity": st.builds(lambda x: Case("Identity", {}, [x]), images(min_rank=2)),
}
