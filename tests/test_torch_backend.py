"""torch.compile(module, backend=sparsenet): equal to eager where we run it, eager with a warning where we do not."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from sparsenet import torch_backend
from sparsenet.engine import Engine
from sparsenet.torch_backend import SparsenetFallbackWarning, sparsenet

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> Iterator[None]:
    torch.compiler.reset()
    with warnings.catch_warnings():
        # Torch's own, from inside Dynamo and export.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield
    torch.compiler.reset()


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """The engines the backend makes, in order."""
    engines: list[Engine] = []
    real = torch_backend.compile

    def spy(*args: Any, **options: Any) -> Engine:
        engines.append(real(*args, **options))
        return engines[-1]

    monkeypatch.setattr(torch_backend, "compile", spy)
    return engines


class Net(nn.Module):
    def __init__(self, tail: Callable[[torch.Tensor], torch.Tensor] = torch.relu) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.norm.running_mean.normal_()
        self.fc = nn.Linear(8 * 16, 5)
        self.tail = tail
        with torch.no_grad():
            self.conv.weight[torch.rand_like(self.conv.weight) < 0.8] = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm(self.conv(x)))
        return self.tail(self.fc(nn.functional.adaptive_avg_pool2d(y, 4).flatten(1)))


def noise(batch: int) -> torch.Tensor:
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(batch))


def same(y: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-5)


def test_runs_on_the_engine(compiled: list[Engine]) -> None:
    net = Net().eval()
    fast = torch.compile(net, backend=sparsenet, options={"threads": 1, "tune": False})
    with torch.inference_mode():
        for batch in (2, 2, 3, 4, 3):
            same(fast(noise(batch)), net(noise(batch)))
    assert len(compiled) == 2, "Dynamo captures one graph for the first size and one for all sizes"
    assert compiled[0].options.tune is False
    nonzeros = sum(int(p.count_nonzero()) for p in (net.conv.weight, net.fc.weight))
    assert sum(step.nnz for step in compiled[0].steps) == nonzeros


def test_follows_the_weights(compiled: list[Engine]) -> None:
    net = Net().eval()
    fast = torch.compile(net, backend=sparsenet)
    x = noise(2)
    with torch.no_grad():
        before = fast(x)
        net.fc.weight.mul_(2)
        after = fast(x)
        same(after, net(x))
    assert not torch.allclose(before, after)
    assert len(compiled) == 2


def test_unsupported_parts_run_in_eager_with_a_count(compiled: list[Engine]) -> None:
    net = Net(tail=lambda y: torch.cumsum(torch.erfinv(torch.tanh(y)), 1)).eval()
    fast = torch.compile(net, backend=sparsenet)
    with torch.inference_mode():
        with pytest.warns(SparsenetFallbackWarning, match=r"\d+ nodes run in eager.*(?s:.*)cumsum"):
            y = fast(noise(2))
        same(y, net(noise(2)))
    assert not compiled


def test_gradients_go_through_eager() -> None:
    net = Net().eval()
    fast = torch.compile(net, backend=sparsenet)
    with pytest.warns(SparsenetFallbackWarning, match="gradients are wanted"):
        fast(noise(2)).sum().backward()
    assert net.conv.weight.grad is not None


def test_graph_breaks_leave_several_engines(compiled: list[Engine]) -> None:
    net = Net().eval()

    def twice(x: torch.Tensor) -> torch.Tensor:
        y = net(x)
        torch._dynamo.graph_break()
        return torch.relu(y) + 1

    fast = torch.compile(twice, backend=sparsenet)
    with torch.inference_mode():
        same(fast(noise(2)), torch.relu(net(noise(2))) + 1)
    assert len(compiled) == 2


@pytest.mark.filterwarnings("ignore::sparsenet.torch_backend.SparsenetFallbackWarning")
def test_numbers_that_change_are_not_mistaken_for_sizes() -> None:
    net = Net().eval()
    fast = torch.compile(lambda x, n: net(x) * n, backend=sparsenet, dynamic=True)
    with torch.inference_mode():
        for batch, n in ((3, 3), (4, 4), (4, 5), (3, 5), (5, 5)):
            same(fast(noise(batch), n), net(noise(batch)) * n)


def test_an_engine_a_spatial_size(compiled: list[Engine]) -> None:
    net = Net().eval()
    fast = torch.compile(net, backend=sparsenet, dynamic=True)
    with torch.inference_mode():
        for batch, side in ((2, 8), (3, 8), (2, 12), (4, 12), (2, 8)):
            x = torch.randn(batch, 3, side, side)
            same(fast(x), net(x))
    assert [e.inputs[0].shape for e in compiled] == [(None, 3, 8, 8), (None, 3, 12, 12)]


def test_training_mode_is_not_run_as_evaluation() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5)).train()
    fast = torch.compile(net, backend=sparsenet)
    before = net[1].running_mean.clone()
    with torch.no_grad(), pytest.warns(SparsenetFallbackWarning):
        y = fast(noise(4))
    assert not torch.equal(net[1].running_mean, before)
    assert 0.3 < (y == 0).float().mean() < 0.7


def test_an_unknown_option_is_refused() -> None:
    fast = torch.compile(Net().eval(), backend=sparsenet, options={"thread": 2})
    with torch.inference_mode(), pytest.raises(TypeError, match="thread"):
        fast(noise(1))


def test_entry_point() -> None:
    [entry] = importlib.metadata.entry_points(group="torch_dynamo_backends", name="sparsenet") or pytest.skip(
        "sparsenet is not installed, only importable"
    )
    assert entry.load() is sparsenet
    assert "sparsenet" in torch.compiler.list_backends()
