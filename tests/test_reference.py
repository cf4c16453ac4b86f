"""The NumPy reference against torch in fp64, op by op, and the error bounds against fp32 arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import strategies as s
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsenet import reference

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

DEFAULTS = {"act": "none", "act_a": 0.0, "act_b": 0.0, "groups": 1}


def complete(attrs: dict[str, Any]) -> dict[str, Any]:
    return {**DEFAULTS, **attrs}


def act(y: torch.Tensor, attrs: dict[str, Any]) -> torch.Tensor:
    a, b = attrs["act_a"], attrs["act_b"]
    return {
        "none": lambda: y,
        "relu": lambda: F.relu(y),
        "clip": lambda: F.hardtanh(y, a, b),
        "leaky_relu": lambda: F.leaky_relu(y, a),
        "silu": lambda: F.silu(y),
        "hard_swish": lambda: F.hardswish(y),
        "hard_sigmoid": lambda: F.hardsigmoid(y),
        "sigmoid": lambda: torch.sigmoid(y),
        "tanh": lambda: torch.tanh(y),
        "gelu": lambda: F.gelu(y),
        "gelu_tanh": lambda: F.gelu(y, approximate="tanh"),
        "exp": lambda: torch.exp(y),
        "sqrt": lambda: torch.sqrt(y),
        "abs": lambda: torch.abs(y),
        "neg": lambda: -y,
    }[attrs["act"]]()


def zero_pad(x: torch.Tensor, padding: list[int], value: float = 0.0) -> torch.Tensor:
    n = len(padding) // 2
    return F.pad(x, [p for i in reversed(range(n)) for p in (padding[i], padding[n + i])], value=value)


def conv(i: list[Any], a: dict[str, Any]) -> torch.Tensor:
    f = F.conv1d if i[0].ndim == 3 else F.conv2d
    y = f(zero_pad(i[0], a["padding"]), i[1], i[2], a["stride"], 0, a["dilation"], a["groups"])
    return act(y if i[3] is None else y + i[3], a)


def conv_transpose(i: list[Any], a: dict[str, Any]) -> torch.Tensor:
    f = F.conv_transpose1d if i[0].ndim == 3 else F.conv_transpose2d
    n = i[0].ndim - 2
    y = f(i[0], i[1], i[2], a["stride"], 0, a["output_padding"], a["groups"], a["dilation"])
    return act(zero_pad(y, [-p for p in a["padding"][: 2 * n]]), a)


def linear(i: list[Any], a: dict[str, Any]) -> torch.Tensor:
    y = F.linear(i[0], i[1], i[2])
    return act(y if i[3] is None else y + i[3], a)


def max_pool(i: list[Any], a: dict[str, Any]) -> torch.Tensor:
    f = F.max_pool1d if i[0].ndim == 3 else F.max_pool2d
    n = i[0].ndim - 2
    if a["padding"][:n] == a["padding"][n:]:
        return f(i[0], a["kernel"], a["stride"], a["padding"][:n], a["dilation"], bool(a["ceil_mode"]))
    return f(zero_pad(i[0], a["padding"], -np.inf), a["kernel"], a["stride"], 0, a["dilation"], False)


def avg_pool(i: list[Any], a: dict[str, Any]) -> torch.Tensor:
    n = i[0].ndim - 2
    padding, ceil, include = a["padding"][:n], bool(a["ceil_mode"]), bool(a["count_include_pad"])
    if n == 1:
        return F.avg_pool1d(i[0], a["kernel"], a["stride"], padding, ceil, include)
    return F.avg_pool2d(i[0], a["kernel"], a["stride"], padding, ceil, include, a["divisor_override"] or None)


def adaptive(op: str) -> Any:
    def f(i: list[Any], a: dict[str, Any]) -> torch.Tensor:
        name = f"adaptive_{op}_pool{i[0].ndim - 2}d"
        return getattr(F, name)(i[0], a["output"])

    return f


def pad(i: list[Any], a: dict[str, Any]) -> torch.Tensor:
    n = len(a["pads"]) // 2
    flat = [p for k in reversed(range(n)) for p in (a["pads"][k], a["pads"][n + k])]
    if a["mode"] == "constant":
        return F.pad(i[0], flat, "constant", a["value"])
    return F.pad(i[0], flat[: 2 * (i[0].ndim - 2)], a["mode"])


def resize(i: list[Any], a: dict[str, Any]) -> torch.Tensor:
    if a["mode"] == "nearest":
        return F.interpolate(i[0], a["output"], mode="nearest")
    mode = "linear" if i[0].ndim == 3 else "bilinear"
    return F.interpolate(i[0], a["output"], mode=mode, align_corners=bool(a["align_corners"]))


def slice_(i: list[Any], a: dict[str, Any]) -> torch.Tensor:
    index = [slice(None)] * i[0].ndim
    index[a["axis"]] = slice(a["start"], a["end"], a["step"])
    return i[0][tuple(index)]


TORCH = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Linear": linear,
    "BatchNorm": lambda i, a: act(F.batch_norm(i[0], i[3], i[4], i[1], i[2], eps=a["eps"]), a),
    "Activation": lambda i, a: act(i[0], a),
    "PRelu": lambda i, a: F.prelu(i[0], i[1]),
    "Softmax": lambda i, a: (F.log_softmax if a["log"] else F.softmax)(i[0], a["axis"]),
    "Add": lambda i, a: act(i[0] + i[1], a),
    "Sub": lambda i, a: act(i[0] - i[1], a),
    "Mul": lambda i, a: act(i[0] * i[1], a),
    "Div": lambda i, a: act(i[0] / i[1], a),
    "MaxPool": max_pool,
    "AvgPool": avg_pool,
    "AdaptiveAvgPool": adaptive("avg"),
    "AdaptiveMaxPool": adaptive("max"),
    "Mean": lambda i, a: i[0].mean(a["axes"], bool(a["keepdim"])),
    "Concat": lambda i, a: torch.cat(i, a["axis"]),
    "Slice": slice_,
    "Pad": pad,
    "Reshape": lambda i, a: i[0].reshape(i[0].shape[0], *a["shape"][1:]),
    "Transpose": lambda i, a: i[0].permute(a["perm"]),
    "ChannelShuffle": lambda i, a: (
        i[0].unflatten(1, (a["groups"], -1)).transpose(1, 2).flatten(1, 2) if i[0].ndim == 3 else
        F.channel_shuffle(i[0], a["groups"])
    ),
    "Resize": resize,
    "Identity": lambda i, a: i[0],
}


def torch_can(case: s.Case) -> bool:
    """Whether torch has the case: it knows symmetric padding only for pools, and bounds it."""
    a = case.attrs
    if case.op in ("MaxPool", "AvgPool"):
        n = len(a["kernel"])
        symmetric = a["padding"][:n] == a["padding"][n:]
        return symmetric or (case.op == "MaxPool" and not a["ceil_mode"])
    if case.op == "ConvTranspose":
        return all(x < max(st_, d) for x, st_, d in zip(a["output_padding"], a["stride"], a["dilation"], strict=True))
    return True


def test_every_op_is_tested() -> None:
    assert set(TORCH) == set(s.OP_STRATEGIES) == set(reference.OPS)


def test_the_reference_knows_every_op_of_the_table() -> None:
    from sparsenet import _core

    assert set(reference.OPS) == {row["name"] for row in _core.op_table()}


@pytest.mark.parametrize("op", sorted(TORCH))
def test_op_equals_torch(op: str) -> None:
    @QUICK
    @given(s.OP_STRATEGIES[op].filter(torch_can))
    def check(case: s.Case) -> None:
        attrs = complete(case.attrs)
        inputs = [None if x is None else x.astype(np.float64) for x in case.inputs]
        inputs += [None] * (4 - len(inputs)) if op in ("Conv", "Linear", "ConvTranspose") else []
        expected = TORCH[op]([None if x is None else torch.from_numpy(x) for x in inputs], attrs).numpy()
        got = reference.evaluate(op, inputs, attrs)
        assert got.dtype == np.float64
        scale = np.abs(expected[np.isfinite(expected)]).max(initial=1)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13 * scale)

    check()


@pytest.mark.parametrize("op", sorted(TORCH))
def test_fp32_is_within_the_bound_and_stays_fp32(op: str) -> None:
    """NumPy's own fp32 arithmetic meets the bound: it is no tighter than fp32 can be."""

    @QUICK
    @given(s.OP_STRATEGIES[op])
    def check(case: s.Case) -> None:
        attrs = complete(case.attrs)
        wide = [None if x is None else x.astype(np.float64) for x in case.inputs]
        got = reference.evaluate(op, case.inputs, attrs)
        assert got.dtype == np.float32
        limit = reference.node_bound(op, wide, attrs)
        expected = reference.evaluate(op, wide, attrs)
        assert limit.shape == expected.shape
        assert reference.worst(got, expected, limit) <= 1

    check()


@pytest.mark.parametrize("op", sorted(set(TORCH) - {"Div"}))
def test_worst_case_bound_covers_perturbed_inputs(op: str) -> None:
    """Any inputs within E of the exact ones give outputs within the bound, with no rounding allowed for (c = 0)."""

    @QUICK
    @given(s.OP_STRATEGIES[op], s.seeds, st.sampled_from([1e-6, 1e-2]))
    def check(case: s.Case, seed: int, size: float) -> None:
        attrs, rng = complete(case.attrs), np.random.default_rng(seed)
        exact = [None if x is None else x.astype(np.float64) for x in case.inputs]
        errors = [
            None if x is None or i in case.constants else size * np.abs(rng.standard_normal(x.shape))
            for i, x in enumerate(exact)
        ]
        moved = [
            x if x is None or e is None else x + e * rng.choice([-1, 1], x.shape)
            for x, e in zip(exact, errors, strict=True)
        ]
        if attrs["act"] == "sqrt":
            moved = [np.abs(x) for x in moved]
        limit = reference.node_bound(op, exact, attrs, errors, c=0) * (1 + 1e-9) + 1e-13
        assert reference.worst(reference.evaluate(op, moved, attrs), reference.evaluate(op, exact, attrs), limit) <= 1

    check()


@pytest.mark.parametrize("op", ["Conv", "Linear", "ConvTranspose"])
def test_the_bound_notices_one_lost_product(op: str) -> None:
    """A kernel that drops a single weight of ordinary size is out of bounds."""

    @QUICK
    @given(s.OP_STRATEGIES[op])
    def check(case: s.Case) -> None:
        attrs = {**complete(case.attrs), "act": "none"}
        wide = [None if x is None else x.astype(np.float64) for x in case.inputs]
        lost = list(wide)
        lost[1] = wide[1].copy()
        at = np.unravel_index(np.abs(lost[1]).argmax(), lost[1].shape)
        if abs(lost[1][at]) < 0.1:
            return
        lost[1][at] = 0
        expected, broken = reference.evaluate(op, wide, attrs), reference.evaluate(op, lost, attrs)
        if np.abs(broken - expected).max() > 1e-2:  # that weight may meet nothing but padding
            assert reference.worst(broken, expected, reference.node_bound(op, wide, attrs)) > 1

    check()
