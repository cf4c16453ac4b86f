"""Targets met, by the smallest ratio that does; the from-scratch control; the agent. Nothing hangs on a clock."""

from __future__ import annotations

import copy
import math
from functools import partial

import pytest
import torch
from structured_nets import images, plain
from torch import nn

import sparsenet
from sparsenet import prune
from sparsenet.prune import agent, budget

torch.set_num_threads(1)


def by_definition(model: nn.Module, ratio: float | dict[str, float]) -> nn.Module:
    return prune.filters(model, ratio)


def saved(model: nn.Module) -> sparsenet.Graph:
    graph = sparsenet.from_torch(model, images())
    graph.run_passes()
    return graph


def test_flops_and_parameters_meet_their_targets_with_little_to_spare() -> None:
    for search, cost in (
        (prune.to_flops, lambda graph: budget.graph_macs(graph, zeros=False)),
        (prune.to_parameters, budget._nonzeros),
    ):
        model, x = plain(), images()
        found = search(model, x, 0.5, method=by_definition, steps=5)
        assert found.cost == cost(saved(model)) <= 0.5 * found.dense
        assert found.dense == cost(saved(plain()))
        less = plain()
        assert isinstance(found.ratio, float)
        by_definition(less, found.ratio - 0.95 / 2**5)  # the next ratio below misses
        assert cost(saved(less)) > 0.5 * found.dense


def test_bytes_are_those_of_the_file_and_weights_may_be_the_method(tmp_path: object) -> None:
    model, x = plain(), images()
    found = prune.to_bytes(model, x, 0.6, method=prune.magnitude, steps=4)
    saved(model).save(f"{tmp_path}/m.snet")
    with open(f"{tmp_path}/m.snet", "rb") as file:
        size = len(file.read())
    assert size == found.cost <= 0.6 * found.dense
    assert prune.sparsity(model) == pytest.approx(found.ratio, abs=0.01)


def test_a_profile_sets_the_proportions() -> None:
    model = plain()
    found = prune.to_flops(model, images(), 0.7, method=by_definition, profile={"0": 0.2, "3": 0.4}, steps=4)
    assert isinstance(found.ratio, dict)
    assert found.ratio["3"] == pytest.approx(2 * found.ratio["0"])
    assert prune.mask_of(model[6]) is None


def test_latency_search_asks_the_compiled_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[sparsenet.Graph] = []

    def timed(graph: sparsenet.Graph, inputs: list[object], threads: int, seconds: float) -> float:
        asked.append(graph)
        return budget.graph_macs(graph, zeros=False) / 1e4

    monkeypatch.setattr(budget, "graph_latency", timed)
    model = plain()
    dense = budget.graph_macs(saved(model), zeros=False) / 1e4
    found = prune.to_latency(model, images(), target_ms=0.6 * dense, method=by_definition, steps=4)
    assert found.cost <= 0.6 * dense
    assert found.dense == dense
    assert [cost for _, cost in found.trials] == [budget.graph_macs(g, zeros=False) / 1e4 for g in asked]
    assert budget.graph_macs(saved(model), zeros=False) / 1e4 == found.cost


def test_latency_is_measured_in_milliseconds() -> None:
    assert 0 < prune.measure_latency(plain(), images(), seconds=0.01) < 1000
    found = prune.to_latency(plain(), images(), target_ms=1e6, seconds=0.01)
    assert found.ratio == 0.0  # met as it is


def test_a_target_out_of_reach_leaves_the_model_and_says_how_far_it_gets() -> None:
    model = plain()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"target of 10 multiply-adds is out of reach: the model takes \d+, and \d+"):
        prune.to_flops(model, images(), 10, method=by_definition)
    with pytest.raises(ValueError, match="highest"):
        prune.to_flops(model, images(), 0.5, highest=1.0)
    with pytest.raises(ValueError, match="profile has a share"):
        prune.to_flops(model, images(), 0.5, profile={"0": 1.5})
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_method_that_refuses_the_highest_ratio_says_which_to_lower() -> None:
    model, x = plain(), images()
    slim = partial(prune.filters, criterion="bn_scale", example=x, scope="global", max_per_layer=0.5)
    with pytest.raises(ValueError, match=r"at most 12 of 24 filters .*up to highest=0.95: lower it"):
        prune.to_flops(model, x, 0.7, method=slim)
    found = prune.to_flops(model, x, 0.7, method=slim, highest=0.5)
    assert found.cost <= 0.7 * found.dense


def test_from_scratch_draws_anew_by_the_seed_and_trains_a_copy() -> None:
    model = plain()
    before = model[0].weight.detach().clone()
    seen = []

    def train(fresh: nn.Module) -> str:
        seen.append(fresh[0].weight.detach().clone())
        return "history"

    fresh, result = prune.from_scratch(model, train, seed=1)
    assert result == "history"
    assert torch.equal(model[0].weight, before)
    assert fresh[0].weight.shape == before.shape
    assert not torch.equal(seen[0], before)
    assert bool((fresh[1].weight == 1).all())
    assert bool((fresh[1].running_mean == 0).all())
    prune.from_scratch(model, train, seed=1)
    prune.from_scratch(model, train, seed=2)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    with pytest.raises(ValueError, match="shrink it first"):
        prune.from_scratch(prune.filters(model, 0.5), train)


def test_the_reward_weighs_accuracy_against_what_is_kept() -> None:
    assert agent.reward(0.9, dense=0.9, bound=0.02, kept=5, total=10) == pytest.approx(math.log(2))
    assert agent.reward(0.88, dense=0.9, bound=0.02, kept=5, total=10) == pytest.approx(0)
    assert agent.reward(0.86, dense=0.9, bound=0.02, kept=5, total=10) == pytest.approx(-math.log(2))
    assert agent.reward(0.9, dense=0.9, bound=0.02, kept=10, total=10) == 0


def test_an_agent_learns_which_filters_matter() -> None:
    """Half of the filters are large, and accuracy falls by 4 points for each of those that is gone."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 4, 3))
    with torch.no_grad():
        model[0].weight[::2] += 1.5
    dense = copy.deepcopy(model)

    def evaluate(net: nn.Module) -> float:
        lost = (net[0].weight[::2].flatten(1) == 0).all(1).sum()
        return 0.95 - 0.04 * float(lost)

    (record,) = prune.learn_filters(model, evaluate, images(), bound=0.05, episodes=150, layers=["0"])
    assert (record.layer, record.total, len(record.rewards)) == ("0", 12, 150)
    first, last = (sum(part) / 30 for part in (record.rewards[:30], record.rewards[-30:]))
    assert last > first + 0.1  # it does learn
    gone = (model[0].weight.flatten(1) == 0).all(1)
    assert 12 - int(gone.sum()) == record.kept
    assert int(gone[1::2].sum()) >= 4
    assert int(gone[::2].sum()) <= 1
    assert record.accuracy == pytest.approx(evaluate(model))
    with pytest.raises(ValueError, match="2 <= batch <= episodes"):
        prune.learn_filters(dense, evaluate, images(), episodes=1)

    def fails(net: nn.Module) -> float:
        if prune.mask_of(net[0]) is not None:
            raise RuntimeError("the user's own")
        return 0.9

    with pytest.raises(RuntimeError, match="own"):
        prune.learn_filters(dense, fails, images())
    assert prune.mask_of(dense[0]) is None
