"""The summary: counts as the engine has them, and the patterns by name."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from prune_nets import convnet, images, state
from rich.console import Console
from torch import nn

import sparsenet
from sparsenet import prune

torch.set_num_threads(1)


def drop_filters(model: nn.Sequential) -> None:
    keep = torch.arange(16) % 4 > 0
    prune.set_mask(model[0], "weight", keep.view(16, 1, 1, 1).expand(16, 8, 3, 3))


PATTERNS: dict[str, tuple[Callable[[nn.Module], object], str]] = {
    "nothing": (lambda m: None, "dense"),
    "weights": (lambda m: prune.magnitude(m, 0.7), "weights"),
    "2:4": (lambda m: prune.n_m(m, 2, 4), "2:4"),
    "1:4": (lambda m: prune.n_m(m, 1, 4), "1:4"),
    "4:8": (lambda m: prune.n_m(m, 4, 8), "4:8"),
    "4x1": (lambda m: prune.blocks(m, 0.6, (4, 1)), "4x1"),
    "1x4": (lambda m: prune.blocks(m, 0.6, (1, 4)), "1x4"),
    "2x1": (lambda m: prune.blocks(m, 0.6, (2, 1)), "2x1"),
    "filters": (drop_filters, "filters 4/16"),
}


@pytest.mark.parametrize("how", list(PATTERNS))
def test_summary_names_the_pattern(how: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 16, 3))
    call, name = PATTERNS[how]
    call(model)
    row = prune.summary(model).rows[0]
    assert row.pattern == name
    assert row.nonzeros == int((model[0].weight != 0).sum())
    assert (row.kind, row.shape, row.macs) == ("Conv2d", (16, 8, 3, 3), None)


def test_summary_counts_macs_as_the_engine_does() -> None:
    model = prune.magnitude(convnet(), 0.5).train()
    before = state(model)
    x = images()
    table = prune.summary(model, x)
    assert state(model) == before
    assert not any(module._forward_hooks for module in model.modules())
    graph = sparsenet.from_torch(model, (x,))
    steps = [step for step in sparsenet.compile(graph, tune=False).steps if step.weights]
    assert [row.macs for row in table] == [int(step.macs) for step in steps]
    assert [row.useful_macs for row in table] == [int(step.useful_macs) for step in steps]
    assert (table.weights, table.nonzeros) == (sum(s.weights for s in steps), sum(s.nnz for s in steps))
    assert table.sparsity == pytest.approx(prune.sparsity(model))


def test_summary_counts_a_layer_as_often_as_it_is_called() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(5, 5)
            self.unused = nn.Linear(5, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.fc(self.fc(x))
            return y

    assert [row.macs for row in prune.summary(Twice(), torch.zeros(4, 5))] == [50, 0]


def test_summary_prints_as_text_and_as_a_rich_table() -> None:
    table = prune.summary(prune.magnitude(convnet(), 0.9, skip=["0"]), images())
    for text in (str(table), _drawn(table)):
        assert "ConvTranspose2d" in text
        assert "90.0%" in text
        assert "total" in text
        assert f"{table.useful_macs:,}" in text
    assert "dense" in str(prune.summary(convnet()))


def _drawn(table: prune.Summary) -> str:
    buffer = io.StringIO()
    Console(file=buffer, width=160).print(table)
    return buffer.getvalue()
