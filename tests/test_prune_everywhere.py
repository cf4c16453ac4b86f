"""Every method, from a trained network to a compiled engine: alone, and inside every schedule."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from structured_nets import images, plain
from torch import Tensor, nn

import sparsenet
from sparsenet import prune

torch.set_num_threads(1)

Method = Callable[[nn.Module, Any], Any]  # of a model and a share, or what stands for it
X = images(4)
LOADER = [(X, torch.arange(4)), (images(4, seed=2), torch.arange(4))]
FIRST = ["0"]  # three colours are no multiple of four


def filters(criterion: str, **options: Any) -> Method:
    return partial(prune.filters, criterion=criterion, example=X, **options)


METHODS: dict[str, Method] = {
    "magnitude": prune.magnitude,
    "magnitude global": partial(prune.magnitude, scope="global"),
    "threshold": prune.threshold,  # shares are multiples of the deviation here
    "random": prune.random,
    "n_m": lambda m, share: prune.n_m(m, round(10 * (1 - share)), 10, strict=False),
    "blocks 4x1": partial(prune.blocks, block=(4, 1)),
    "blocks 1x4": partial(prune.blocks, block=(1, 4)),
    "units": prune.units,
    "l1": filters("l1"),
    "l1 greedy": filters("l1", greedy=True),
    "l2": filters("l2"),
    "fpgm": filters("fpgm"),
    "slimming": filters("bn_scale", scope="global", max_per_layer=0.9),
    "apoz": filters("apoz", loader=LOADER),
    "taylor": filters("taylor", loader=LOADER),
    "activation_mean": filters("activation_mean", loader=LOADER),
    "random filters": filters("random"),
    "agent": lambda m, bound: prune.learn_filters(m, lambda _: 0.5, X, bound=bound, episodes=5),
}
STRUCTURED = list(METHODS)[list(METHODS).index("units") :]


def forward(model: nn.Module) -> Tensor:
    with torch.no_grad():
        result: Tensor = model.eval()(X)
    return result


def zeros(model: nn.Module) -> list[Tensor]:
    return [module.weight.detach() == 0 for _, module in prune.masks.weighted(model)]


def finetune(model: nn.Module) -> prune.History:
    return prune.finetune(model, LOADER, epochs=1)


@pytest.mark.parametrize("name", METHODS)
def test_five_lines_from_any_method_to_an_engine(name: str) -> None:
    model, x, loader, method = plain(), X, LOADER, METHODS[name]
    method(model, 0.4)
    prune.finetune(model, loader, epochs=1)
    small = prune.shrink(model, x)
    engine = sparsenet.compile(sparsenet.from_torch(small, (x,)))
    y = engine(x.numpy())
    torch.testing.assert_close(torch.from_numpy(y), forward(model), atol=1e-4, rtol=1e-4)
    pruned = [int(gone.sum()) for gone in zeros(model)]
    assert sum(pruned) > 0
    if name in STRUCTURED:  # what is gone is gone from the module, too
        assert prune.parameters(small) < prune.parameters(plain())


@pytest.mark.parametrize("name", METHODS)
def test_iterative_prunes_on_from_what_is_gone(name: str) -> None:
    model, gone = plain(), []

    def retrain(net: nn.Module) -> prune.History:
        gone.append(zeros(net))
        return finetune(net)

    rounds = prune.iterative(model, [0.3, 0.6], METHODS[name], retrain)
    assert rounds[0].sparsity < rounds[1].sparsity
    for before, after in zip(*gone, strict=True):
        assert bool((after | ~before).all())
    assert rounds[1].sparsity == pytest.approx(prune.sparsity(model))  # training brought nothing back


@pytest.mark.parametrize("name", [name for name in METHODS if name != "agent"])  # whose bound is no share
def test_gradual_takes_every_method(name: str) -> None:
    model, alone = plain(), plain()
    pruner = prune.Gradual(model, 0.5, begin=0, end=4, every=2, method=METHODS[name])
    prune.finetune(model, LOADER, epochs=3, after_step=pruner.step)
    assert pruner.done
    METHODS[name](alone, 0.5)
    # A threshold follows the weights as they are when it falls, a global ranking finds other shares; counts are counts.
    slack = 0.1 if name in ("threshold", "slimming") else 1e-3
    assert prune.sparsity(model) == pytest.approx(prune.sparsity(alone), abs=slack)


@pytest.mark.parametrize("name", ["magnitude global", "random", "blocks 4x1", "units", "fpgm", "slimming", "taylor"])
def test_a_budget_is_met_by_every_kind_of_method(name: str) -> None:
    model = plain()
    search = prune.to_parameters if name == "units" else prune.to_flops  # units leave the convolutions whole
    found = search(model, X, 0.8, method=METHODS[name], highest=0.8, steps=2)
    assert found.cost <= 0.8 * found.dense
    assert prune.sparsity(model) > 0
