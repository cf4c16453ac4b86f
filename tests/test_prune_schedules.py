"""Schedules over training: gradual, iterative, sensitivity, lottery tickets with their controls."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from prune_nets import convnet, images, lenet_300_100, mlp, state, toy
from torch import nn

from sparsenet import prune

torch.set_num_threads(1)


def zeros(module: nn.Module) -> int:
    return int((module.weight == 0).sum())


@pytest.mark.parametrize(("begin", "end", "every"), [(0, 30, 10), (0, 37, 10), (5, 36, 7), (3, 4, 100), (0, 1, 1)])
def test_gradual_follows_the_cubic_and_always_reaches_its_end(begin: int, end: int, every: int) -> None:
    model = lenet_300_100()
    pruner = prune.Gradual(model, 0.9, begin=begin, end=end, every=every)
    pruned_at = [t for t in range(1, end + 20) if _step_and_check(pruner, model, begin, end, t)]
    expected = sorted({*range(begin, end + 1, every), end} - {0})
    assert pruned_at == expected
    assert pruner.done
    assert [zeros(model[i]) for i in (0, 2, 4)] == [211_680, 27_000, 900]


def _step_and_check(pruner: prune.Gradual, model: nn.Sequential, begin: int, end: int, t: int) -> bool:
    before = prune.sparsity(model)
    changed = pruner.step()
    if changed:
        share = 0.9 - 0.9 * (1 - (t - begin) / (end - begin)) ** 3
        assert prune.sparsity(model) == pytest.approx(share, abs=1e-3)
    else:
        assert prune.sparsity(model) == before
    return changed


def test_gradual_from_an_initial_share_by_layer_and_method() -> None:
    model = convnet()
    final = {"4": 0.75, "10": 0.9}
    pruner = prune.Gradual(model, final, initial=0.5, end=3, every=1, method=prune.blocks, block=(4, 1))
    assert zeros(model[4]) == 24 * 16 // 2
    for _ in range(3):
        assert pruner.step()
    assert zeros(model[4]) == 24 * 16 * 3 // 4
    assert prune.sparsity(model[10]) == pytest.approx(0.9, abs=1e-3)
    assert zeros(model[0]) == 0
    blocks = (model[10].weight == 0).view(2, 4, -1)
    assert torch.equal(blocks.all(1), blocks.any(1))


def test_gradual_goes_on_from_a_checkpoint() -> None:
    straight, first = mlp(), mlp()
    whole, part = prune.Gradual(straight, 0.8, end=20, every=3), prune.Gradual(first, 0.8, end=20, every=3)
    for _ in range(8):
        part.step()
    resumed = copy.deepcopy(first)
    rest = prune.Gradual(resumed, 0.8, end=20, every=3)
    rest.load_state_dict(json.loads(json.dumps(part.state_dict())))
    at = [t for t in range(9, 25) if rest.step()]
    assert at == [9, 12, 15, 18, 20]
    for _ in range(24):
        whole.step()
    assert torch.equal(resumed[0].weight, straight[0].weight)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.05, nesterov=True),
        lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.3),
        lambda p: torch.optim.RMSprop(p, 0.003, momentum=0.9),
    ],
)
def test_a_masked_weight_gets_no_update_while_pruning_goes_on(make: Callable[[Any], torch.optim.Optimizer]) -> None:
    model = mlp()
    optimizer = make(model.parameters())  # before there is any mask: momentum has every weight's history
    pruner = prune.Gradual(model, 0.9, end=25, every=4)
    dead = torch.zeros_like(model[0].weight, dtype=torch.bool)

    def step() -> None:
        nonlocal dead
        assert bool((model[0].weight[dead] == 0).all())
        pruner.step()
        dead = model[0].weight == 0

    before = model[0].weight.detach().clone()
    prune.finetune(model, toy(), epochs=4, optimizer=optimizer, after_step=step)
    assert pruner.steps == 32
    assert int(dead.sum()) == round(0.9 * dead.numel())
    assert bool((model[0].weight[dead] == 0).all())
    assert bool((model[0].weight != before)[~dead].all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"final": 1.0}, "sparsity"),
        ({"final": {"9": 0.5}}, "layer 9; there are 0, 3"),
        ({"initial": 0.95}, "initial"),
        ({"initial": -0.1}, "initial"),
        ({"begin": 5, "end": 5}, "begin < end, not 5 and 5"),
        ({"begin": -1}, "begin"),
        ({"every": 0}, "every"),
    ],
)
def test_gradual_refuses_what_cannot_be(arguments: dict[str, Any], message: str) -> None:
    model = mlp()
    before = state(model)
    with pytest.raises(ValueError, match=message):
        prune.Gradual(model, **arguments)
    assert state(model) == before


def test_iterative_prunes_trains_and_prunes_on() -> None:
    model = mlp()
    seen: list[float] = []

    def train(net: nn.Module) -> str:
        seen.append(prune.sparsity(net))
        prune.finetune(net, toy(), epochs=1)
        return f"round {len(seen)}"

    rounds = prune.iterative(model, [0.5, 0.8, 0.9], prune.magnitude, train)
    assert seen == pytest.approx([0.5, 0.8, 0.9], abs=2e-3)
    assert [(r.target, r.result) for r in rounds] == [(0.5, "round 1"), (0.8, "round 2"), (0.9, "round 3")]
    assert [r.sparsity for r in rounds] == seen
    assert prune.sparsity(model) == seen[-1]
    one = prune.iterative(mlp(), [1.0], prune.threshold, lambda m: None)
    assert len(one) == 1
    assert one[0].sparsity > 0.4


def test_iterative_puts_the_model_back_when_training_fails() -> None:
    model = prune.magnitude(mlp(), {"0": 0.2})
    before = state(model)

    def fail(net: nn.Module) -> None:
        prune.finetune(net, toy(), epochs=1)
        if prune.sparsity(net) > 0.7:
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        prune.iterative(model, [0.5, 0.8], prune.magnitude, fail)
    assert state(model) == before
    for targets, message in (([], "empty"), ([0.8, 0.5], "must rise")):
        with pytest.raises(ValueError, match=message):
            prune.iterative(model, targets, prune.magnitude, fail)


def test_dropout_for_retraining_is_hans() -> None:
    assert prune.retraining_dropout(0.5, kept=0.04) == pytest.approx(0.1)
    assert prune.retraining_dropout(0.5, kept=1.0) == 0.5
    with pytest.raises(ValueError, match=r"from 0 to 1, not 0\.5 and 4"):
        prune.retraining_dropout(0.5, kept=4)


def test_sensitivity_prunes_one_layer_at_a_time_and_puts_it_back() -> None:
    model = prune.magnitude(convnet(), {"4": 0.3}).train()
    before = state(model)
    seen: list[dict[str, float]] = []

    def score(net: nn.Module) -> float:
        seen.append({name: prune.sparsity(net[int(name)]) for name in ("0", "4", "6", "10")})
        net(images())  # moves the batch norm's statistics: they are put back too
        return 1 - sum(seen[-1].values()) / 10

    scan = prune.sensitivity(model, score, (0.9, 0.5), layers=["0", "4", "10"])
    assert state(model) == before
    own = {"0": 0.0, "4": 0.3, "6": 0.0, "10": 0.0}
    expected = [own, *({**own, name: ratio} for name in ("0", "4", "10") for ratio in (0.5, 0.9))]
    for got, want in zip(seen, expected, strict=True):
        assert got == pytest.approx(want, abs=2e-3)
    assert scan.ratios == (0.5, 0.9)
    assert scan.baseline == pytest.approx(0.97, abs=1e-3)
    assert scan.scores["10"] == pytest.approx((0.92, 0.88), abs=1e-3)
    assert "10" in str(scan).splitlines()[-1]
    assert json.loads(json.dumps(scan.to_dict()))["baseline"] == scan.baseline
    # A drop of 0.1 per share here: 4 had 0.3 already, so it loses 0.02 at 0.5 and 0.06 at 0.9.
    assert scan.propose(0.055) == {"0": 0.5, "4": 0.5, "10": 0.5}
    assert scan.propose(0.065) == {"0": 0.5, "4": 0.9, "10": 0.5}
    assert scan.propose(0.01) == {}
    prune.magnitude(model, scan.propose(0.065))


def test_a_loader_stands_for_the_accuracy_on_it() -> None:
    x = images(24)
    loader = [(x, convnet().eval()(x).argmax(1))]
    by_loader = prune.sensitivity(convnet(), loader, (0.5, 0.9))
    assert by_loader == prune.sensitivity(convnet(), partial(prune.evaluate, loader=loader), (0.5, 0.9))
    assert by_loader.baseline == 1
    assert min(min(scores) for scores in by_loader.scores.values()) < 1
    found = prune.lottery_ticket(convnet(), lambda _: None, 1, evaluate=loader)
    assert found.rounds[0].score == 1
    records = prune.learn_filters(convnet(), loader, x[:1], episodes=4, batch=2)
    assert all(0 <= record.accuracy <= 1 for record in records)


def test_a_proposal_does_not_reach_past_a_ratio_that_fails() -> None:
    scan = prune.Sensitivity(0.9, (0.2, 0.5, 0.8), {"a": (0.9, 0.5, 0.9), "b": (0.9, 0.895, 0.85)})
    assert scan.propose(0.01) == {"a": 0.2, "b": 0.5}
    with pytest.raises(ValueError, match="max_drop"):
        scan.propose(-0.1)


def test_sensitivity_puts_the_model_back_when_scoring_fails() -> None:
    model = mlp()
    before = state(model)
    with pytest.raises(ValueError, match="empty"):
        prune.sensitivity(model, partial(prune.evaluate, loader=[]))
    bad = (({"ratios": (0.5, 1.0)}, "ratio"), ({"layers": ["x"]}, "layer x"), ({"ratios": ()}, "empty"))
    for arguments, message in bad:
        with pytest.raises(ValueError, match=message):
            prune.sensitivity(model, lambda m: 1.0, **arguments)
    assert state(model) == before


def jiggle(model: nn.Module) -> None:
    """Training's stand-in: other weights, in the same order of magnitude."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.01)


def test_remaining_weights_of_the_lottery_are_the_papers() -> None:
    torch.manual_seed(0)
    found = prune.lottery_ticket(lenet_300_100, jiggle, 15)
    remaining = [round(100 * r.remaining, 2) for r in found.rounds]
    assert (remaining[0], remaining[3], remaining[7], remaining[15]) == (100.0, 51.28, 21.07, 3.58)
    assert prune.sparsity(found.model) == pytest.approx(1 - found.rounds[15].remaining)


def test_tickets_have_the_first_weights_and_the_largest_trained_ones_stay() -> None:
    model = mlp()
    first = {i: model[i].weight.detach().clone() for i in (0, 3)}
    bias = model[0].bias.detach().clone()
    starts, trained = [], []

    def train(net: nn.Module) -> int:
        starts.append({i: net[i].weight.detach().clone() for i in (0, 3)})
        prune.finetune(net, toy(), epochs=1, optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9))
        trained.append({i: net[i].weight.detach().clone() for i in (0, 3)})
        return len(starts)

    found = prune.lottery_ticket(model, train, 3, evaluate=partial(prune.evaluate, loader=toy()))
    assert [r.result for r in found.rounds] == [1, 2, 3, 4]
    assert all(r.score is not None and 0 < r.score <= 1 for r in found.rounds)
    for number, record in enumerate(found.rounds):
        for i, rate in ((0, 0.2), (3, 0.1)):
            mask = record.masks[str(i)]
            left = first[i].numel()
            for _ in range(number):
                left -= round(rate * left)
            assert int(mask.sum()) == left
            assert torch.equal(starts[number][i], first[i] * mask)
            if number:
                old = trained[number - 1][i].abs()
                before = found.rounds[number - 1].masks[str(i)]
                assert not bool((mask & ~before).any())
                assert old[before & ~mask].max() <= old[mask].min()
    ticket = found.ticket(2)
    assert ticket is model
    assert torch.equal(ticket[0].weight, first[0] * found.rounds[2].masks["0"])
    assert torch.equal(ticket[0].bias, bias)
    assert torch.equal(ticket[0].parametrizations["weight"].original, first[0])


def test_rewinding_resets_to_the_weights_of_step_k() -> None:
    model = mlp()
    calls: list[tuple[int, int | None]] = []
    starts: list[torch.Tensor] = []

    def train(net: nn.Module, begin: int, end: int | None) -> None:
        calls.append((begin, end))
        starts.append(net[0].weight.detach().clone())
        jiggle(net)
        if end is not None:
            starts.append(net[0].weight.detach().clone())

    found = prune.lottery_ticket(model, train, 2, rewind_step=7)
    assert calls == [(0, 7), (7, None), (7, None), (7, None)]
    early = starts[1]
    assert not torch.equal(starts[0], early)
    for number in range(3):
        assert torch.equal(starts[number + 2], early * found.rounds[number].masks["0"])
    assert torch.equal(found.ticket(0)[0].weight, early)


def test_rates_by_layer_and_a_named_output() -> None:
    found = prune.lottery_ticket(mlp(), jiggle, 1, rate={"0": 0.5})
    assert [int(found.rounds[1].masks[i].sum()) for i in ("0", "3")] == [192, 128]
    found = prune.lottery_ticket(mlp(), jiggle, 1, output="0", output_rate=0.0)
    assert [int(found.rounds[1].masks[i].sum()) for i in ("0", "3")] == [384, 102]


def test_random_masks_keep_the_counts_and_the_first_weights() -> None:
    model = mlp()
    first = model[0].weight.detach().clone()
    found = prune.lottery_ticket(model, jiggle, 4)
    control = prune.random_mask(found.ticket(4), seed=3)
    mask, ticket = prune.mask_of(control[0]), found.rounds[4].masks["0"]
    assert mask is not None
    assert int(mask.sum()) == int(ticket.sum())
    assert not torch.equal(mask.bool(), ticket)
    assert torch.equal(control[0].weight, first * mask)
    again = prune.mask_of(prune.random_mask(found.ticket(4), seed=3)[0])
    other = prune.mask_of(prune.random_mask(found.ticket(4), seed=4)[0])
    assert again is not None
    assert torch.equal(again, mask)
    assert other is not None
    assert not torch.equal(other, mask)
    with pytest.raises(ValueError, match="no layer has a mask"):
        prune.random_mask(mlp())


def test_random_reinit_keeps_the_masks_and_draws_every_weight_anew() -> None:
    model = convnet()
    model.train()(images())  # moves the batch norm's statistics
    prune.magnitude(model, 0.6)
    old = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    prune.random_reinit(model, seed=5)
    assert torch.equal(torch.get_rng_state(), random)
    new = model.state_dict()
    for name, value in old.items():
        same = "mask" in name or name in ("1.weight", "1.bias")  # a batch norm starts at 1 and 0
        assert torch.equal(new[name], value) == same, name
    assert prune.sparsity(model) == pytest.approx(0.6, abs=1e-3)
    expected = torch.randn(0)
    torch.manual_seed(5)
    expected = convnet(5)[0].weight  # convnet seeds, then builds its first layer first, as reset does
    assert torch.equal(model[0].parametrizations["weight"].original, expected)

    def glorot(net: nn.Module) -> None:
        for module in net.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.constant_(module.weight, 0.25)

    prune.random_reinit(model, init=glorot)
    assert set(model[10].weight.unique().tolist()) == {0.0, 0.25}


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.fc = nn.Linear(3, 3)


def test_random_reinit_names_a_module_it_cannot_reset() -> None:
    model = nn.Sequential(nn.Linear(3, 3), Scaled())
    before = state(model)
    with pytest.raises(ValueError, match=r"1 \(Scaled\) has parameters but no reset_parameters"):
        prune.random_reinit(model)
    assert state(model) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rounds": -1}, "rounds"),
        ({"rounds": 1, "rewind_step": -1}, "rewind_step"),
        ({"rounds": 1, "rate": 1.0}, "rate of 0"),
        ({"rounds": 1, "output_rate": 2.0}, "rate of 3"),
        ({"rounds": 1, "rate": {"fc": 0.2}}, "rate: no .* fc; there are 0, 3"),
        ({"rounds": 1, "output": "fc"}, "output: no .* fc; there are 0, 3"),
    ],
)
def test_lottery_refuses_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    model = mlp()
    before = state(model)
    with pytest.raises(ValueError, match=message):
        prune.lottery_ticket(model, jiggle, **arguments)
    assert state(model) == before


def test_lottery_puts_the_model_back_when_training_fails() -> None:
    model = mlp()
    before = state(model)
    calls = []

    def fail(net: nn.Module) -> None:
        jiggle(net)
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        prune.lottery_ticket(model, fail, 5)
    assert state(model) == before
