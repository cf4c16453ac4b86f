"""What users do wrong, or differently: tied weights, other masks, empty and one-shot loaders, checkpoints, seeds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from prune_nets import convnet, images, mlp, state, toy
from structured_nets import images as colours
from structured_nets import plain
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

import sparsenet
from sparsenet import prune
from sparsenet.errors import GraphError

torch.set_num_threads(1)

Call = Callable[[nn.Module], Any]


class Tied(nn.Module):
    """x[N, 3, H, W] -> [N, 5]; ``b`` and ``c`` have one weight, ``d`` is one module in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.c.weight = self.b.weight
        self.d, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.c(F.relu(self.b(F.relu(self.d(F.relu(self.d(F.relu(self.a(x))))))))))
        y: Tensor = self.head(x.mean((2, 3)))
        return y


def batches(model: nn.Module, count: int = 2) -> list[tuple[Tensor, Tensor]]:
    return [(colours(4), model(colours(4)).argmax(1)) for _ in range(count)]


MASKING: dict[str, Call] = {
    "magnitude": partial(prune.magnitude, sparsity=0.5, skip=["c"]),
    "global": partial(prune.magnitude, sparsity=0.5, scope="global"),
    "threshold": partial(prune.threshold, q=1.0),
    "random": partial(prune.random, sparsity=0.5),
    "n_m": partial(prune.n_m, strict=False),
    "blocks": partial(prune.blocks, sparsity=0.5),
    "filters": partial(prune.filters, ratio={"b": 0.5}),
    "filters together": lambda m: prune.filters(m, 0.5, example=colours(2)),
    "learn_filters": lambda m: prune.learn_filters(m, lambda _: 0.5, colours(2), episodes=5),
    "share_weights": prune.share_weights,
    "binarize": prune.binarize,
    "lottery_ticket": lambda m: prune.lottery_ticket(m, lambda _: None, 1),
    "Gradual": lambda m: prune.Gradual(m, 0.5),
    "sensitivity": lambda m: prune.sensitivity(m, lambda _: 1.0, (0.5,), layers=["b"]),
}


@pytest.mark.parametrize("method", MASKING)
def test_a_mask_on_a_tied_weight_is_refused_for_it_would_hold_in_one_place_only(method: str) -> None:
    torch.manual_seed(0)
    model = Tied()
    before = state(model)
    with pytest.raises(ValueError, match=r"[bc] has a parameter in common with [bc]: use one module .* untie"):
        MASKING[method](model)
    assert state(model) == before


def test_what_is_not_tied_is_pruned_and_one_module_in_two_places_in_both() -> None:
    torch.manual_seed(0)
    model, x = Tied().eval(), colours(2)
    prune.magnitude(model, 0.5, skip=["b", "c"])
    before = model(x)
    small = prune.shrink(model, x)
    torch.testing.assert_close(small(x), before, atol=1e-6, rtol=0)
    assert small.b.weight is small.c.weight
    assert torch.equal(prune.filters(model, 0.5, example=x, skip=["b", "c"])(x), before)  # none is free of the tie
    prune.filters(model, {"a": 0.5})  # by itself it is, but then d reads fewer channels than what it writes
    with pytest.raises(GraphError, match=r"d\.weight is used more than once, and would have to shrink in different"):
        prune.shrink(model, x)
    with torch.no_grad():
        model.c.weight = nn.Parameter(model.b.weight.clone())  # the remedy that the message names
    prune.magnitude(model, 0.9)
    assert prune.sparsity(model) == pytest.approx(0.9, abs=0.01)


def test_tied_layers_that_would_shrink_alike_are_refused_too() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)
            self.c.weight = self.b.weight
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.stem(x))
            y: Tensor = self.head((F.relu(self.b(x)) + F.relu(self.c(x))).mean((2, 3)))
            return y

    model, x = Sum(), colours(2)
    prune.filters(model, {"stem": 0.5}, example=x)
    with pytest.raises(ValueError, match=r"[bc] has a parameter in common with [bc]"):
        prune.shrink(model, x)


def test_masks_of_torch_prune_are_named_with_the_remedy() -> None:
    model = convnet()
    torch_prune.l1_unstructured(model[4], "weight", 0.5)
    before = state(model)
    methods: list[Call] = [partial(prune.magnitude, sparsity=0.5), partial(prune.filters, ratio={"4": 0.5})]
    for method in methods:
        with pytest.raises(ValueError, match=r"weight of 4 is no parameter.* torch\.nn\.utils\.prune\.remove"):
            method(model)
        assert state(model) == before
    torch_prune.remove(model.get_submodule("4"), "weight")
    prune.magnitude(model, 0.8)
    assert prune.sparsity(model) == pytest.approx(0.8, abs=0.01)


def dead(model: nn.Module) -> list[list[bool]]:
    return [(m.weight.flatten(1) == 0).all(1).tolist() for m in model.modules() if isinstance(m, nn.Conv2d)]


@pytest.mark.parametrize("criterion", ["taylor", "apoz", "activation_mean"])
def test_a_generator_gives_all_its_batches_and_an_empty_loader_none(criterion: str) -> None:
    rng = torch.Generator().manual_seed(3)
    data = [(torch.randn(4, 3, 8, 8, generator=rng) + shift, torch.tensor([0, 1, 2, 3])) for shift in (-2, 2)]

    def pruned(loader: Any, **more: Any) -> list[list[bool]]:
        return dead(prune.filters(plain(), 0.5, criterion, loader=loader, **more))

    for count in (1, 2):
        assert pruned(data[:count]) == pruned(iter(data[:count]))
    assert pruned(data) != pruned(data[1:])  # else a first batch that is lost would not show
    model = plain()
    before = state(model)
    with pytest.raises(ValueError, match="the loader is empty"):
        prune.filters(model, 0.5, criterion, loader=[], example=colours(2))
    assert state(model) == before


@pytest.mark.parametrize("criterion", ["taylor", "apoz"])
def test_a_loader_that_fails_leaves_the_model_as_it_was(criterion: str) -> None:
    def loader() -> Iterator[tuple[Tensor, Tensor]]:
        yield colours(4), torch.tensor([0, 1, 2, 3])
        raise OSError("disk")

    model = plain().train()
    before = state(model)
    with pytest.raises(OSError, match="disk"):
        prune.filters(model, 0.5, criterion, loader=loader())
    assert state(model) == before
    assert not any(module._forward_hooks for module in model.modules())


class Two(nn.Module):
    """x[N, 3, H, W], y[N, 3, H, W] -> [N, 5]"""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3), nn.Linear(16, 5)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        z: Tensor = self.head(torch.cat([F.relu(self.a(x)), F.relu(self.b(y))], 1).mean((2, 3)))
        return z


def test_criteria_by_data_take_several_inputs() -> None:
    for criterion in ("apoz", "taylor"):
        torch.manual_seed(0)
        model = prune.filters(Two(), 0.5, criterion, loader=[((colours(4), colours(4)), torch.tensor([0, 1, 2, 3]))])
        assert [sum(channels) for channels in dead(model)] == [4, 4]


def test_a_model_without_what_is_asked_for_says_so() -> None:
    with pytest.raises(ValueError, match=r"Sequential has no convolution with filters .* for linear layers: units"):
        prune.filters(mlp(), 0.5)
    with pytest.raises(ValueError, match="no hidden linear layer; name the last in layers"):
        prune.units(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4, 2)), 0.5)
    with pytest.raises(ValueError, match=r"not the one string 'conv': write \['conv'\]"):
        prune.filters(plain(), 0.5, skip="conv")
    frozen = mlp().requires_grad_(False)
    with pytest.raises(ValueError, match="all parameters are frozen"):
        prune.finetune(frozen, toy(), epochs=1)


def test_frozen_parameters_are_pruned_and_stay_frozen() -> None:
    model = mlp()
    model[0].requires_grad_(False)
    prune.magnitude(model, 0.5)
    pruned = model[0].weight.detach().clone()
    prune.finetune(model, toy(), epochs=1)
    assert torch.equal(model[0].weight, pruned)
    prune.bake(model)
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, False, True, True]


def test_gradual_finds_a_bad_option_before_training_begins() -> None:
    model = convnet()
    before = state(model)
    with pytest.raises(ValueError, match="blocks are 4x1, and a group of 3 has 1x9"):
        prune.Gradual(model, 0.5, begin=100, method=prune.blocks)
    with pytest.raises(ValueError, match="no convolution or linear layer conv1"):
        prune.Gradual(model, 0.5, skip=["conv1"])
    assert state(model) == before


def test_sensitivity_scans_what_the_method_takes_and_names_what_it_does_not() -> None:
    model, calls = plain(), []

    def score(net: nn.Module) -> float:
        calls.append(dead(net))
        return 1.0

    scan = prune.sensitivity(model, score, (0.3, 0.5), method=prune.filters)
    assert list(scan.scores) == ["0", "3", "6"]
    assert len(calls) == 1 + 3 * 2
    calls.clear()
    with pytest.raises(ValueError, match="no filters to prune in 10; there are 0, 3, 6"):
        prune.sensitivity(model, score, layers=["0", "10"], method=prune.filters)
    with pytest.raises(ValueError, match="no convolution with filters"):
        prune.sensitivity(mlp(), score, method=prune.filters)
    assert not calls


@pytest.mark.parametrize("first", ["optimizer", "masks"])
def test_a_checkpoint_goes_on_where_it_was_optimizer_included(first: str) -> None:
    def made(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), 1e-2)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(images()).square().mean().backward()
        optimizer.step()

    model = convnet()
    optimizer = made(model)
    prune.magnitude(model, 0.7)
    if first == "masks":
        optimizer = made(model)
    step(model, optimizer)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    step(model, optimizer)
    resumed = convnet(9)
    other = made(resumed)
    prune.load_masked(resumed, saved[0])
    if first == "masks":
        other = made(resumed)
    other.load_state_dict(saved[1])
    step(resumed, other)
    assert state(resumed)["tensors"] == state(model)["tensors"]


@pytest.mark.parametrize("criterion", ["l1", "fpgm", "taylor", "activation_mean", "random"])
def test_filters_of_grouped_and_transposed_convolutions_are_cut_and_shrunk(criterion: str) -> None:
    model, x = convnet(), images()
    prune.filters(model, 0.5, criterion, example=x, loader=[(x, torch.tensor([0, 1, 2]))])
    small = prune.shrink(model, x)
    assert [(m.in_channels, m.out_channels, m.groups) for m in small if hasattr(m, "groups")] == [
        (4, 8, 1), (8, 8, 8), (8, 12, 1), (12, 4, 2), (4, 8, 2)
    ]  # fmt: skip
    torch.testing.assert_close(small(x), model(x), atol=1e-5, rtol=0)
    engine = sparsenet.compile(sparsenet.from_torch(prune.bake(model), (x,)))
    torch.testing.assert_close(torch.from_numpy(engine(x.numpy())), small(x).detach(), atol=1e-5, rtol=0)


def test_greedy_leaves_out_what_a_grouped_convolution_no_longer_reads() -> None:
    def convs() -> nn.Sequential:
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, groups=2), nn.ReLU(), nn.Conv2d(12, 2, 1)
        )

    x = colours(2)
    model = prune.filters(convs(), {"0": 0.5, "2": 0.5}, example=x, greedy=True)
    alone = prune.filters(convs(), {"0": 0.5}, example=x)
    gone = (alone[0].weight == 0).flatten(1).all(1)
    weight = convs()[2].weight.detach().abs().sum((2, 3)).view(2, 6, 4)  # [group, filter, input]
    sums = weight.masked_fill(gone.view(2, 1, 4), 0.0).sum((0, 2))  # filters of both groups go in pairs
    assert torch.tensor(dead(model)[1]).nonzero().flatten().tolist() == sorted(
        [*sums.argsort()[:3].tolist(), *(sums.argsort()[:3] + 6).tolist()]
    )


DRAWS: dict[str, Call] = {
    "random": lambda m: prune.random(m, 0.5),
    "filters": lambda m: prune.filters(m, 0.5, "random", example=colours(2)),
    "learn_filters": lambda m: prune.learn_filters(m, lambda _: 0.5, colours(2), episodes=5),
    "shrink": lambda m: prune.shrink(m, colours(2)),
    "low_rank": lambda m: prune.low_rank(m, rank={"10": 2}),
    "share_weights": lambda m: prune.share_weights(m, 2, init="random"),
    "from_scratch": lambda m: prune.from_scratch(m, lambda _: None),
    "finetune": lambda m: prune.finetune(m, batches(m), epochs=1),
}


@pytest.mark.parametrize("method", DRAWS)
def test_a_call_repeats_itself_and_leaves_the_callers_random_state(method: str) -> None:
    results = []
    for seed in (1, 2):
        model = plain()
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        result = DRAWS[method](model)
        assert torch.equal(torch.get_rng_state(), before)
        shown = result if isinstance(result, nn.Module) else result[0] if isinstance(result, tuple) else model
        results.append(state(shown)["tensors"])
    assert results[0] == results[1]


LOOKING: dict[str, Call] = {
    "groups": lambda m: prune.groups(m, colours(2)),
    "macs": lambda m: prune.macs(m, colours(2)),
    "summary": lambda m: prune.summary(m, colours(2)),
    "measure_latency": lambda m: prune.measure_latency(m, colours(2), seconds=0.01),
    "shrink": lambda m: prune.shrink(m, colours(2)),
    "export": lambda m: torch.export.export(m, (colours(2),)),
}


@pytest.mark.parametrize("look", LOOKING)
def test_looking_at_a_masked_model_in_training_changes_nothing(look: str) -> None:
    model = prune.filters(prune.magnitude(plain(), 0.5), 0.3).train()
    model[1].eval()  # a frozen batch norm
    before = state(model)
    LOOKING[look](model)
    assert state(model) == before
