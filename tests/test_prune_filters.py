"""Which filters each criterion takes, checked against its formula written out; and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from structured_nets import Residual, images, plain, seeded
from torch import Tensor, nn

from sparsenet import prune
from sparsenet.errors import GraphError

torch.set_num_threads(1)


def dead(layer: nn.Module) -> list[int]:
    """The filters whose weights are all zero."""
    return (layer.weight.flatten(1) == 0).all(1).nonzero().flatten().tolist()


def smallest(scores: Any, count: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda i: float(scores[i]))[:count]


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def batches(count: int = 2, seed: int = 3) -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(5, 3, 8, 8, generator=rng), torch.randint(0, 5, (5,), generator=rng)) for _ in range(count)
    ]


def test_weight_criteria_take_what_their_formula_says() -> None:
    dense = plain()
    with torch.no_grad():
        dense[3].weight.pow_(3)  # a few large weights, so that the norms rank filters differently
    w = dense[3].weight.detach()
    distances = [sum(float((a - b).square().sum().sqrt()) for b in w) for a in w]
    expected = {
        "l1": [float(f.abs().sum()) for f in w],
        "l2": [float(f.square().sum()) for f in w],
        "fpgm": distances,
        "bn_scale": dense[4].weight.detach().abs().tolist(),
    }
    taken = {}
    for criterion, scores in expected.items():
        model = prune.filters(copy.deepcopy(dense), 0.4, criterion)
        taken[criterion] = dead(model[3])
        assert taken[criterion] == sorted(smallest(scores, 4)), criterion
        assert dead(model[0]) != []
    assert len({tuple(t) for t in taken.values()}) > 2  # the criteria do differ on this layer


def test_fpgm_takes_the_filter_that_others_replace_where_norms_take_the_small_one() -> None:
    layer = nn.Conv2d(1, 5, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 8.0, 9.0, 10.0, 30.0]).view(5, 1, 1, 1))
    assert dead(prune.filters(nn.Sequential(copy.deepcopy(layer)), 0.2, "l1")[0]) == [0]
    assert dead(prune.filters(nn.Sequential(layer), 0.2, "fpgm")[0]) == [2]  # the median: 31 in all, against 57


def test_random_filters_follow_the_seed() -> None:
    taken = [dead(prune.filters(plain(), 0.5, "random", seed=seed)[3]) for seed in (1, 1, 2)]
    assert taken[0] == taken[1] != taken[2]
    assert len(taken[2]) == 5


def test_a_function_judges_layers_and_its_mistakes_are_told() -> None:
    model = prune.filters(plain(), {"3": 0.5}, lambda layer: -layer.weight.flatten(1).abs().amax(1))
    largest = plain()[3].weight.detach().flatten(1).abs().amax(1)
    assert dead(model[3]) == sorted(smallest(-largest, 5))
    before = state(model)
    with pytest.raises(ValueError, match=r"each of the 8 filters of 0; got shape \(1,\)"):
        prune.filters(model, 0.5, lambda layer: torch.zeros(1))
    with pytest.raises(ValueError, match="not finite"):
        prune.filters(model, 0.5, lambda layer: torch.full((len(layer.weight),), torch.nan))
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


def test_apoz_counts_the_zeros_behind_the_relu() -> None:
    model, loader = plain(), batches()
    with torch.no_grad():
        zeros = torch.cat([model[:6](x) == 0 for x, _ in loader]).float().mean((0, 2, 3))
    prune.filters(model, {"3": 0.4}, "apoz", loader=loader)
    assert dead(model[3]) == sorted(smallest(-zeros, 4))
    assert dead(model[0]) == []


def test_activation_mean_is_over_samples_and_positions() -> None:
    model, loader = plain(), batches()
    with torch.no_grad():
        means = torch.cat([model[:6](x) for x, _ in loader]).mean((0, 2, 3))
    prune.filters(model, {"3": 0.3}, "activation_mean", loader=[x for x, _ in loader])
    assert dead(model[3]) == sorted(smallest(means, 3))


def taylor_by_hand(model: nn.Sequential, loader: list[tuple[Tensor, Tensor]], per_sample: bool) -> Tensor:
    """One sample at a time, through the batch norm of layer 3."""
    changes = []
    samples = [(xs[i : i + 1], ys[i : i + 1]) for xs, ys in loader for i in range(len(xs))]
    for x, y in samples:
        z = model[:5](x).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model[6:](F.relu(z)), y), z)
        changes.append((gradient * z.detach()).mean((0, 2, 3)))
    stacked = torch.stack(changes)
    return stacked.abs().mean(0) if per_sample else stacked.mean(0).abs()


def test_taylor_takes_magnitudes_sample_by_sample() -> None:
    model, loader = plain(), batches(3)
    expected = smallest(taylor_by_hand(model, loader, True), 5)
    assert sorted(expected) != sorted(smallest(taylor_by_hand(model, loader, False), 5))  # the mistake would show
    before = state(model)
    model.train()
    prune.filters(model, {"3": 0.5}, "taylor", loader=loader)
    assert dead(model[3]) == sorted(expected)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(model[4].running_mean, before["4.running_mean"])


def test_global_ranking_divides_by_each_layers_norm() -> None:
    model = plain()
    with torch.no_grad():
        model[6].weight.mul_(1e-3)  # a layer of small weights must not go first for that
    scores = {i: model[i].weight.detach().flatten(1).abs().sum(1) for i in (0, 3, 6)}
    ranked = [(float(s), i, j) for i, all_ in scores.items() for j, s in enumerate(all_ / all_.norm())]
    prune.filters(model, 0.5, scope="global")
    expected = sorted(ranked)[:12]
    for i in (0, 3, 6):
        assert dead(model[i]) == sorted(j for _, layer, j in expected if layer == i)


def test_global_slimming_deletes_no_layer_and_goes_on_in_passes() -> None:
    model = plain()
    with torch.no_grad():
        model[4].weight.mul_(1e-4)  # slimming would delete the layer whole
    once = prune.filters(copy.deepcopy(model), 0.5, "bn_scale", scope="global")
    assert len(dead(once[3])) == 9
    prune.filters(model, 0.4, "bn_scale", scope="global", max_per_layer=0.5)
    assert len(dead(model[3])) == 5
    assert sum(len(dead(model[i])) for i in (0, 3, 6)) == 24 - int(24 * 0.6)
    with pytest.raises(ValueError, match=r"ratio 0.8 cannot be reached: max_per_layer=0.5 .* again after"):
        prune.filters(model, 0.8, "bn_scale", scope="global", max_per_layer=0.5)
    prune.filters(model, 0.6, "bn_scale", scope="global", max_per_layer=0.5)
    assert sum(len(dead(model[i])) for i in (0, 3, 6)) == 24 - int(24 * 0.4)


def test_greedy_leaves_out_kernels_that_read_what_is_gone() -> None:
    first, second = nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 3, 1, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([1.0, 5.0]).view(2, 1, 1, 1))  # filter 0 goes
        second.weight.copy_(torch.tensor([[9.0, 1.0], [0.0, 2.0], [4.0, 4.0]]).view(3, 2, 1, 1))
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Conv2d(3, 1, 1))
    x = torch.randn(2, 1, 4, 4)
    ratios = {"0": 0.5, "2": 0.3}
    independent = prune.filters(copy.deepcopy(model), ratios, example=x)
    greedy = prune.filters(copy.deepcopy(model), ratios, example=x, greedy=True)
    assert dead(independent[0]) == dead(greedy[0]) == [0]
    assert dead(independent[2]) == [1]  # sums 10, 2, 8
    assert dead(greedy[2]) == [0]  # sums 1, 2, 4 without the first column
    with pytest.raises(ValueError, match="needs example="):
        prune.filters(model, 0.5, greedy=True)


def test_a_residual_branch_takes_the_indices_of_its_projection() -> None:
    model = seeded(Residual())
    norms = model.shortcut.weight.detach().flatten(1).abs().sum(1)
    own = model.a2.weight.detach().flatten(1).abs().sum(1)
    expected = sorted(smallest(norms, 4))
    assert expected != sorted(smallest(own, 4))
    prune.filters(model, {"shortcut": 0.5}, example=images())
    for layer in (model.shortcut, model.a2, model.b2, model.depthwise):
        assert dead(layer) == expected
    assert dead(model.a1) == dead(model.stem) == []
    for norm in (model.ns, model.n2):
        assert (norm.weight == 0).nonzero().flatten().tolist() == expected
        assert bool((norm.bias[expected] == 0).all())


def test_rounds_go_on_from_what_is_gone() -> None:
    model = prune.filters(plain(), 0.3)
    first = dead(model[3])
    prune.filters(model, 0.5)
    assert set(first) < set(dead(model[3]))
    assert len(dead(model[3])) == 5
    prune.filters(model, 0.2)  # nothing comes back
    assert len(dead(model[3])) == 5


@pytest.mark.parametrize(
    ("kept", "count", "ratio"),
    [(14, 16, 0.1), (57, 64, 0.1), (41, 50, 9 / 50), (57, 100, 0.43), (1, 3, 0.99), (5, 5, 0)],
)
def test_the_published_tables_count_kept_filters_down(kept: int, count: int, ratio: float) -> None:
    model = prune.filters(nn.Sequential(nn.Conv2d(1, count, 1)), ratio)
    assert count - len(dead(model[0])) == kept


def test_units_go_by_the_norm_of_their_weights_with_their_biases() -> None:
    model = plain()
    norms = model[10].weight.detach().norm(dim=1)
    prune.units(model, 0.5)
    assert dead(model[10]) == sorted(smallest(norms, 6))
    assert bool((model[10].bias[dead(model[10])] == 0).all())
    assert dead(model[12]) == []  # the network's outputs
    assert len(dead(prune.units(plain(), 0.4, layers=["12"])[12])) == 2
    by_name = prune.units(plain(), {"10": 0.25})
    assert len(dead(by_name[10])) == 3


@pytest.mark.parametrize(("criterion", "power"), [("l1", 1.0), ("l2", 2.0)])
def test_units_take_a_criterion(criterion: str, power: float) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():  # L1 norms 4, 3, 5; L2 norms 2, 3, 5: the smallest of one is not that of the other
        model[0].weight.copy_(torch.tensor([[1.0, 1, 1, 1], [3, 0, 0, 0], [5, 0, 0, 0]]))
    norms = model[0].weight.detach().norm(power, dim=1)
    assert dead(prune.units(model, 0.3, criterion=criterion)[0]) == [int(norms.argmin())]
    assert int(norms.argmin()) == {"l1": 1, "l2": 0}[criterion]


def test_bad_arguments_name_the_layer_and_the_remedy() -> None:
    model, bare, x = plain(), plain(norm=False), images()
    before = state(model)
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="ratio"):
            prune.filters(model, share)
        with pytest.raises(ValueError, match="ratio of 3"):
            prune.filters(model, {"0": 0.5, "3": share})
        with pytest.raises(ValueError, match="ratio"):
            prune.units(model, share)
    with pytest.raises(ValueError, match=r"no filters to prune in conv9; there are 0, 3, 6"):
        prune.filters(model, {"conv9": 0.5})
    with pytest.raises(ValueError, match="conv9"):
        prune.filters(model, 0.5, skip=["conv9"])
    with pytest.raises(ValueError, match="criterion is one of l1, l2, fpgm; not 'apoz'"):
        prune.units(model, 0.5, criterion="apoz")
    with pytest.raises(ValueError, match="no linear layer 3; there are 10, 12"):
        prune.units(model, 0.5, layers=["3"])
    with pytest.raises(ValueError, match=r"bn_scale .* 0 has none: put skip=\['0'\]"):
        prune.filters(bare, 0.5, "bn_scale")
    with pytest.raises(ValueError, match="and this model has none"):
        prune.Slimming(bare)
    with pytest.raises(ValueError, match="loader is empty"):
        prune.filters(model, 0.5, "apoz", loader=[])
    with pytest.raises(ValueError, match="give it loader="):
        prune.filters(model, 0.5, "taylor")
    with pytest.raises(ValueError, match=r"taylor needs .* \(inputs, targets\)"):
        prune.filters(model, 0.5, "taylor", loader=[x])
    with pytest.raises(ValueError, match="not 'l3'"):
        prune.filters(model, 0.5, "l3")
    with pytest.raises(GraphError, match=r"of 14 cannot be cut: the network's output"):
        prune.filters(nn.Sequential(*model, nn.Unflatten(1, (5, 1, 1)), nn.Conv2d(5, 5, 1)), {"14": 0.5}, example=x)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


def test_ratios_of_layers_that_go_together_must_agree() -> None:
    model = seeded(Residual())
    with pytest.raises(ValueError, match=r"shortcut has 0\.5 and a2 has 0\.3, but their channels go together"):
        prune.filters(model, {"shortcut": 0.5, "a2": 0.3}, example=images())
    assert not any(dead(module) for module in model.modules() if isinstance(module, nn.Conv2d))


def test_slimming_adds_the_subgradient_of_the_l1_norm() -> None:
    model = plain()
    prune.filters(model, 0.3)  # the parameter below the mask is meant
    slimming = prune.Slimming(model, strength=0.01)
    x, y = batches(1)[0]
    F.cross_entropy(model(x), y).backward()
    scales = [model[i].parametrizations["weight"].original for i in (1, 4, 7)]
    with torch.no_grad():
        scales[1][0] = -0.5
    before = [scale.grad.clone() for scale in scales]
    others = model[12].bias.grad.clone()
    slimming.add_gradient()
    for scale, old in zip(scales, before, strict=True):
        torch.testing.assert_close(scale.grad - old, 0.01 * scale.detach().sign(), atol=1e-6, rtol=0)
    assert torch.equal(model[12].bias.grad, others)
    assert slimming.penalty() == pytest.approx(0.01 * sum(float(s.detach().abs().sum()) for s in scales))
    slimming.start(0.5)
    assert all(bool((scale == 0.5).all()) for scale in scales)


def test_slimming_shrinks_the_scales_that_the_loss_does_not_need() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(24, 1))
    with torch.no_grad():
        model[4].weight[:, 12:] = 0.0  # channels 3..5 do nothing
    model[4].requires_grad_(False)
    slimming = prune.Slimming(model, strength=0.05)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    for step in range(40):
        x = torch.randn(8, 1, 2, 2, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        F.mse_loss(model(x), x.flatten(1).sum(1, keepdim=True)).backward()
        slimming.add_gradient()
        optimiser.step()
    scales = model[1].weight.detach().abs()
    assert float(scales[3:].max()) < 0.81 < float(scales[:3].max())
