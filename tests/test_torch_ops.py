"""Operators one at a time: the imported graph equals torch, in fp64, whatever the arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch_checks import Forward, assert_graph_matches

import sparsenet as sn

torch.set_num_threads(1)
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(module: nn.Module | Callable[[Tensor], Any], shape: tuple[int, ...], ops: set[str] | None = None) -> sn.Graph:
    module = module if isinstance(module, nn.Module) else Forward(module)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    graph = sn.from_torch(module, x[:1])
    assert graph.fixed_batch == 0
    assert_graph_matches(graph, module, x)
    if ops is not None:
        assert {node.op for node in graph.nodes} == ops
    return graph


positive = lambda x: x.abs() + 0.5  # noqa: E731

UNARY = {
    "relu": F.relu,
    "relu6": F.relu6,
    "hardtanh": lambda x: F.hardtanh(x, -0.3, 0.7),
    "clamp": lambda x: x.clamp(-0.5, 0.25),
    "clamp_min": lambda x: x.clamp(min=-0.5),
    "clamp_max": lambda x: x.clamp_max(0.5),
    "clamp_crossed": lambda x: x.clamp(0.5, -0.5),
    "clamp_at_zero": lambda x: x.clamp(min=0),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "silu": F.silu,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "exp": torch.exp,
    "sqrt": lambda x: torch.sqrt(positive(x)),
    "rsqrt": lambda x: torch.rsqrt(positive(x)),
    "abs": torch.abs,
    "neg": lambda x: -x,
    "square": lambda x: x**2 + torch.square(x),
    "root": lambda x: positive(x) ** 0.5,
    "reciprocal": lambda x: 1 / positive(x) + positive(x) ** -1,
    "rsub": lambda x: 1 - x,
    "alpha": lambda x: torch.add(x, torch.ones(3, 4, 4, dtype=x.dtype), alpha=3),
    "scalars": lambda x: (x * 3 - 0.25) / 7 + 2,
    "softmax": lambda x: F.softmax(x, 1),
    "softmax_last": lambda x: F.softmax(x, -1),
    "log_softmax": lambda x: F.log_softmax(x, 1),
    "constant_left": lambda x: torch.arange(4.0) * x,
    "per_channel": lambda x: x * torch.tensor([1.0, -2.0, 3.0]).view(3, 1, 1),
    "squeeze_excite": lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
    "squeeze_excite_expanded": lambda x: x.mean((2, 3), keepdim=True).expand_as(x) * x,
    "expand": lambda x: F.relu(x[:, :, :1, :1].expand(-1, -1, 5, 2)),
    "sum": lambda x: x.sum((2, 3)),
    "sum_keepdim": lambda x: x.sum(1, keepdim=True),
    "mean": lambda x: x.mean(-1),
    "global_max": lambda x: x.amax((2, 3)),
    "global_max_keepdim": lambda x: x.amax((2, 3), keepdim=True),
    "chunk": lambda x: torch.cat(x.chunk(2, 2)[::-1], 2),
    "split": lambda x: torch.cat(x.split([1, 2], 1)[::-1], 1),
    "tensor_split": lambda x: x.tensor_split(3, 3)[0],
    "unbind": lambda x: x.unbind(2)[1],
    "select": lambda x: x[:, :, -2],
    "slices": lambda x: x[:, 1:, ::2, :-1],
    "narrow": lambda x: x.narrow(2, 1, 2),
    "stack": lambda x: torch.stack([x, -x], 2),
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "tile": lambda x: x.tile((2, 2)),
    "reshape": lambda x: x.reshape(x.shape[0], -1, 2),
    "view_with_inferred_batch": lambda x: x.view(-1, 48),
    "unflatten": lambda x: x.unflatten(2, (2, 2)).flatten(1, 2),
    "squeeze": lambda x: x[:, :1].squeeze(1).unsqueeze(-1),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "transpose": lambda x: x.transpose(-1, 1),
    "shuffle": lambda x: nn.ChannelShuffle(3)(x.repeat(1, 2, 1, 1)),
    "zeros": lambda x: torch.cat([x.new_zeros(x.shape[0], 2, 4, 4), x, torch.zeros_like(x)], 1),
    "ones": lambda x: torch.cat([x, torch.ones(x.shape[0], 1, 4, 4), x], 1),
    "ones_like": lambda x: x * 2 + 3 * torch.ones_like(x),
    "learned_token": lambda x: x * torch.arange(4, dtype=x.dtype).expand(x.shape[0], 1, 4, 4),
    "pad_zeros": lambda x: F.pad(x, (1, 2, 0, 1)),
    "pad_value": lambda x: F.pad(x, (1, 2, 0, 1, 2, 0), value=-1.5),
    "pad_crop": lambda x: F.pad(x, (-1, 0, 1, -1)),
    "pad_reflect": lambda x: F.pad(x, (1, 2, 0, 1), mode="reflect"),
    "pad_replicate": lambda x: F.pad(x, (1, 2, 0, 1), mode="replicate"),
    "matmul": lambda x: x @ torch.arange(20, dtype=x.dtype).view(4, 5),
    "matmul_vector": lambda x: x @ torch.arange(4, dtype=x.dtype),
    "addmm": lambda x: torch.addmm(x.new_ones(5), x.flatten(1), x.new_ones(48, 5), beta=2, alpha=0.5),
    "mm": lambda x: torch.mm(x.flatten(1), torch.arange(96, dtype=x.dtype).view(48, 2)),
    "casts": lambda x: x.double().float().contiguous().clone().detach(),
    "dropout": lambda x: F.dropout(x, 0.5, training=False) + F.dropout2d(x, 0.5, training=False),
    "max_with_indices": lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
    "adaptive_avg_none": lambda x: F.adaptive_avg_pool2d(x, (None, 2)),
    "adaptive_max": lambda x: F.adaptive_max_pool2d(x, (3, 2)),
    "pool_1d": lambda x: F.max_pool1d(x.flatten(1, 2), 2) + F.avg_pool1d(x.flatten(1, 2), 2),
    "adaptive_1d": lambda x: F.adaptive_avg_pool1d(x.flatten(1, 2), 3) * F.adaptive_max_pool1d(x.flatten(1, 2), 3),
    "max_pool_strided_rows": lambda x: F.max_pool2d(x, (2, 1), stride=(1, 2), padding=(1, 0)),
}


@pytest.mark.parametrize("name", UNARY)
def test_operator(name: str) -> None:
    check(UNARY[name], (3, 3, 4, 4))


def test_no_ops_leave_nothing() -> None:
    graph = check(nn.Sequential(nn.Linear(4, 3), nn.Dropout(), nn.Identity(), nn.Flatten()), (3, 4), {"Linear"})
    assert len(graph.nodes) == 1


def test_shared_parameter_is_one_constant() -> None:
    linear = nn.Linear(4, 4)
    graph = check(nn.Sequential(linear, nn.ReLU(), linear), (3, 4))
    assert sum(graph.constant(name) is not None for name in graph.values) == 2


@pytest.mark.parametrize("dims", [1, 2])
@given(data=st.data())
@few
def test_convolution(dims: int, data: st.DataObject) -> None:
    pick = data.draw
    groups = pick(st.sampled_from([1, 2, 4]))
    kernel = tuple(pick(st.integers(1, 4)) for _ in range(dims))
    padding: Any = pick(st.sampled_from(["same", "valid", *(range(3))]))
    module = (nn.Conv1d, nn.Conv2d)[dims - 1](
        4,
        4 * pick(st.integers(1, 2)),
        kernel,
        stride=1 if padding == "same" else pick(st.integers(1, 3)),
        padding=padding,
        dilation=pick(st.integers(1, 2)),
        groups=groups,
        bias=pick(st.booleans()),
    )
    check(module, (3, 4, *[pick(st.integers(7, 10)) for _ in range(dims)]), {"Conv"})


@pytest.mark.parametrize("dims", [1, 2])
@given(data=st.data())
@few
def test_transposed_convolution(dims: int, data: st.DataObject) -> None:
    pick = data.draw
    stride, dilation = pick(st.integers(1, 3)), pick(st.integers(1, 2))
    module = (nn.ConvTranspose1d, nn.ConvTranspose2d)[dims - 1](
        4,
        6,
        pick(st.integers(1, 4)),
        stride=stride,
        padding=pick(st.integers(0, 1)),
        output_padding=pick(st.integers(0, max(stride, dilation) - 1)),
        groups=pick(st.sampled_from([1, 2])),
        bias=pick(st.booleans()),
        dilation=dilation,
    )
    check(module, (3, 4, *[pick(st.integers(3, 6)) for _ in range(dims)]), {"ConvTranspose"})


@given(data=st.data(), kind=st.sampled_from(["max", "avg"]))
@few
def test_pool(data: st.DataObject, kind: str) -> None:
    pick = data.draw
    kernel = pick(st.integers(1, 4))
    common = {
        "kernel_size": kernel,
        "stride": pick(st.none() | st.integers(1, 3)),
        "padding": pick(st.integers(0, kernel // 2)),
        "ceil_mode": pick(st.booleans()),
    }
    if kind == "max":
        module: nn.Module = nn.MaxPool2d(**common, dilation=pick(st.integers(1, 2)))
    else:
        module = nn.AvgPool2d(
            **common,
            count_include_pad=pick(st.booleans()),
            divisor_override=pick(st.none() | st.integers(1, 5)),
        )
    check(module, (3, 2, pick(st.integers(7, 10)), pick(st.integers(7, 10))))


@given(data=st.data(), mode=st.sampled_from(["nearest", "bilinear"]))
@few
def test_interpolation(data: st.DataObject, mode: str) -> None:
    pick = data.draw
    sizes = (pick(st.integers(2, 7)), pick(st.integers(2, 7)))
    given_size = pick(st.booleans())
    arguments: dict[str, Any] = {"mode": mode}
    if given_size:
        arguments["size"] = (pick(st.integers(1, 12)), pick(st.integers(1, 12)))
    else:
        arguments["scale_factor"] = pick(st.sampled_from([0.5, 2, 3, 1.7, (2, 0.6)]))
        arguments["recompute_scale_factor"] = pick(st.none() | st.booleans())
    if mode == "bilinear":
        arguments["align_corners"] = pick(st.booleans())
    assume(all(n >= 2 for n in sizes))
    check(lambda x: F.interpolate(x, **arguments), (3, 2, *sizes))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_interpolation_1d(mode: str) -> None:
    check(lambda x: F.interpolate(x, scale_factor=1.6, mode=mode), (3, 2, 5), {"Resize"})


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 4), (3, 5, 4, 4)])
def test_batch_norm(shape: tuple[int, ...], affine: bool) -> None:
    module = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(5, affine=affine, eps=1e-2)
    torch.manual_seed(0)
    for tensor in [*module.parameters(), module.running_mean, module.running_var]:
        nn.init.uniform_(tensor, 0.5, 2.0)
    check(module, shape, {"BatchNorm"})


@pytest.mark.parametrize("slopes", [1, 3])
def test_prelu(slopes: int) -> None:
    module = nn.PReLU(slopes)
    nn.init.uniform_(module.weight, -1, 1)
    check(module, (3, 3, 4, 4), {"PRelu"})


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 4), (3, 2, 3, 4)])
@pytest.mark.parametrize("bias", [False, True])
def test_linear(shape: tuple[int, ...], bias: bool) -> None:
    check(nn.Linear(4, 5, bias=bias), shape, {"Linear"})
