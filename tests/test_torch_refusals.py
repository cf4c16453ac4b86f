"""from_torch: what cannot be imported is told at once and clearly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_checks import Forward, assert_graph_matches, small_net

import sparsenet as sn
from sparsenet.errors import GraphError, InvalidArgumentError, ShapeError, UnsupportedOpError

torch.set_num_threads(1)


class Unsupported(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.elu1, self.elu2 = nn.ELU(), nn.ELU()
        self.norm = nn.GroupNorm(2, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.elu2(self.elu1(self.conv(x))))
        x = F.max_pool2d(torch.sort(x, dim=1)[0], 2)
        return x.flatten(0, 1)


def test_all_unsupported_ops_at_once() -> None:
    with pytest.raises(UnsupportedOpError) as caught:
        sn.from_torch(Unsupported(), torch.randn(1, 3, 8, 8))
    text = str(caught.value)
    assert "5 nodes" in text
    assert "aten.elu.default x2" in text
    assert "'elu1', 'elu2'" in text
    assert "aten.group_norm.default" in text or "aten.native_group_norm.default" in text
    assert "aten.sort" in text
    assert "samples must stay apart" in text
    assert "test_torch_refusals.py" in text
    assert "torch.sort(x, dim=1)" in text


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.transpose(0, 1), "batch"),
        (lambda x: x.mean(0, keepdim=True), "over the batch"),
        (lambda x: x - x.mean(), "over the batch"),
        (lambda x: x.softmax(0), "over the batch"),
        (lambda x: x[1:], "samples must stay apart|is not the batch"),
        (lambda x: torch.cat([x, x]), "samples must stay apart"),
        (lambda x: x @ x.transpose(1, 2), "constant"),
        (lambda x: x**3, "exponent 3"),
        (lambda x: torch.rand_like(x) + x, "random"),
        (lambda x: F.dropout(x, 0.5, training=True), "training mode|random"),
        (lambda x: x > 0, "no such operator"),
        (lambda x: x / x.shape[0], "the batch size as a number"),
        (lambda x: torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,)), "cond x1"),
        (lambda x: torch.where(x > 0, x, -x), "where"),
        (lambda x: x.view(-1, 4), "is not the batch"),
        (lambda x: torch.cat([x.new_ones(x.shape[0], 1, 4), x.new_zeros(x.shape[0], 1, 4), x], 1), "not one number"),
        (lambda x: F.pad(x, (1, 1), mode="circular"), "no such operator|circular"),
        (lambda x: (x * 5).long().float(), "int64"),
        (lambda x: torch.cat([x, torch.arange(12.0).view(1, 3, 4).expand(x.shape[0], 3, 4)], 1), "not one number"),
    ],
)
def test_unsupported(function: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(UnsupportedOpError, match=message):
        sn.from_torch(Forward(function), torch.randn(2, 3, 4))


def test_convolution_without_batch_axis() -> None:
    with pytest.raises(UnsupportedOpError, match="no batch axis"):
        sn.from_torch(nn.Conv2d(3, 4, 3), torch.randn(3, 8, 8))


@pytest.mark.parametrize(
    ("module", "example", "error", "message"),
    [
        (lambda x: x, torch.randn(1, 2), InvalidArgumentError, "takes a torch.nn.Module.*got function"),
        (nn.Linear(2, 2), None, InvalidArgumentError, "needs example_inputs"),
        (nn.Linear(2, 2), np.zeros((1, 2), np.float32), InvalidArgumentError, "from_numpy"),
        (nn.Linear(2, 2), (torch.randn(1, 2), 3), InvalidArgumentError, r"\[1\] must be a torch.Tensor; got int"),
        (nn.Linear(2, 2), torch.zeros(1, 2, dtype=torch.int64), InvalidArgumentError, "floating point"),
        (nn.Linear(2, 2), torch.zeros(1, 2, dtype=torch.complex64), InvalidArgumentError, "floating point"),
        (nn.Linear(2, 2), torch.tensor(1.0), ShapeError, "batch axis"),
        (nn.Linear(2, 2), (), InvalidArgumentError, "at least one"),
        (nn.Linear(2, 2), torch.zeros(0, 2), ShapeError, "empty"),
        (nn.Bilinear(2, 2, 2), (torch.zeros(1, 2), torch.zeros(3, 2)), ShapeError, "equal"),
        (nn.Linear(2, 2), torch.zeros(1, 3), GraphError, "Linear"),
        (nn.LazyLinear(2), torch.zeros(1, 3), GraphError, "lazy"),
        (nn.Linear(2, 2, device="meta"), torch.zeros(1, 2), GraphError, "meta device"),
        (Forward(lambda x: x if x.sum() > 0 else -x), torch.zeros(1, 3), GraphError, "cannot trace"),
        (Forward(lambda x: {"x": x, "n": 3}), torch.zeros(2, 3), GraphError, "constant 3"),
        (Forward(lambda x: (x, torch.ones(3))), torch.zeros(2, 3), GraphError, "does not depend"),
    ],
)
def test_bad_arguments(module: Any, example: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        sn.from_torch(module, example)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_must_be_finite(value: float) -> None:
    net = small_net()
    with torch.no_grad():
        net[3].weight[1, 2] = value
    with pytest.raises(GraphError, match=r"'3.weight' has 1 values that are not finite"):
        sn.from_torch(net, torch.randn(1, 3, 6, 6))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).to(dtype)
    with pytest.warns(UserWarning, match="4 weights were converted to float32: 0.weight"):
        graph = sn.from_torch(net, torch.randn(1, 4, dtype=dtype))
    if dtype != torch.float64:  # exact, but for fp64
        assert_graph_matches(graph, net, torch.randn(3, 4))
    assert np.array_equal(graph.constant("0.weight"), net[0].weight.detach().float().numpy())
