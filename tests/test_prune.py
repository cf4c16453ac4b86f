"""Masks: how many zeros, which ones, and that they stay through training, saving and exporting."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sparsenet import prune

torch.set_num_threads(1)


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 10, 1),
        nn.Flatten(),
        nn.Linear(10 * 4 * 4, 7),
    ).eval()


def data(seed: int = 1) -> torch.Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def zeros(module: nn.Module) -> int:
    return int((module.weight == 0).sum())


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
def test_magnitude_by_layer_zeroes_the_smallest_of_each(sparsity: float) -> None:
    model = net()
    before = {i: model[i].weight.detach().clone() for i in (0, 3, 4, 6)}
    assert prune.magnitude(model, sparsity) is model
    for i, weight in before.items():
        count = round(sparsity * weight.numel())
        assert zeros(model[i]) == count
        kept = model[i].weight != 0
        assert torch.equal(model[i].weight[kept], weight[kept])
        if count:
            assert weight[~kept].abs().max() <= weight[kept].abs().min()


def test_global_magnitude_ranks_all_weights_together() -> None:
    model = net()
    with torch.no_grad():
        model[6].weight.mul_(1e-3)
    prune.magnitude(model, 0.5, scope="global")
    total = sum(model[i].weight.numel() for i in (0, 3, 4, 6))
    assert sum(zeros(model[i]) for i in (0, 3, 4, 6)) == round(0.5 * total)
    assert zeros(model[0]) == zeros(model[3]) == zeros(model[4]) == 0
    assert prune.sparsity(model) == pytest.approx(0.5, abs=1e-3)


def test_equal_weights_do_not_overshoot() -> None:
    model = nn.Sequential(nn.Linear(10, 10))
    nn.init.ones_(model[0].weight)
    prune.magnitude(model, 0.3)
    assert zeros(model[0]) == 30


def test_steps_in_turn_end_at_the_last_share_and_only_add_zeros() -> None:
    model = net()
    prune.magnitude(model, 0.5)
    first = model[6].weight == 0
    prune.magnitude(model, 0.8)
    assert zeros(model[6]) == round(0.8 * model[6].weight.numel())
    assert bool((model[6].weight == 0)[first].all())
    assert len(model[6].parametrizations["weight"]) == 1


def test_skip_spares_a_layer_and_a_misspelt_name_is_refused() -> None:
    model = net()
    prune.magnitude(model, 0.9, skip=["0"])
    assert zeros(model[0]) == 0
    assert zeros(model[4]) > 0
    with pytest.raises(ValueError, match=r"no convolution or linear layer conv9; there are 0, 3, 4, 6"):
        prune.magnitude(model, 0.9, skip=["conv9"])


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_shares_out_of_range_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match="sparsity"):
        prune.magnitude(net(), share)
    with pytest.raises(ValueError, match="ratio"):
        prune.filters(net(), share)
    with pytest.raises(ValueError, match="scope"):
        prune.magnitude(net(), 0.5, scope="network")


def test_filters_silence_whole_channels() -> None:
    model = net()
    norms = model[0].weight.detach().abs().flatten(1).sum(1)
    prune.filters(model, 0.5)
    dead = (model[0].weight == 0).flatten(1).all(1)
    assert int(dead.sum()) == 4
    assert norms[dead].max() <= norms[~dead].min()
    assert int((model[4].weight == 0).flatten(1).all(1).sum()) == 5
    assert zeros(model[3]) == 0  # depthwise
    assert zeros(model[6]) == 0
    y = model[2](model[1](model[0](data())))
    assert bool((y[:, dead] == 0).all())
    assert bool((y[:, ~dead] != 0).flatten(2).any(2).all())


def test_filters_keep_at_least_one() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Conv2d(3, 1, 1))
    prune.filters(model, 0.99)
    assert int((model[0].weight != 0).sum()) == 1
    assert int((model[1].weight != 0).sum()) == 3


def test_filters_count_is_not_cut_short_in_binary() -> None:
    model = nn.Sequential(nn.Conv2d(1, 100, 1))
    prune.filters(model, 0.57)  # 100 * (1 - 0.57) is just above 43 in binary, 0.57 * 100 just below 57
    assert int((model[0].weight == 0).sum()) == 57


@pytest.mark.parametrize("how", ["magnitude", "filters"])
def test_zeros_survive_training_with_momentum_and_decay(how: str) -> None:
    model = net().train()
    prune.magnitude(model, 0.8) if how == "magnitude" else prune.filters(model, 0.5)
    before = {i: (model[i].weight == 0) for i in (0, 4, 6)}
    start = model[6].weight.detach().clone()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)
    for step in range(5):
        optimiser.zero_grad()
        model(data(step)).square().mean().backward()
        optimiser.step()
    assert not torch.equal(model[6].weight, start)
    for i, was_zero in before.items():
        assert bool((model[i].weight == 0)[was_zero].all())


def test_bake_leaves_a_plain_module_that_computes_the_same() -> None:
    model = prune.filters(prune.magnitude(net(), 0.8), 0.3)
    expected = model(data())
    baked = prune.bake(copy.deepcopy(model))
    assert torch.equal(baked(data()), expected)
    assert set(baked.state_dict()) == set(net().state_dict())
    assert prune.mask_of(model[0]) is not None
    assert prune.mask_of(baked[0]) is None
    # The original, whose class torch lets the copy share, is still whole and can be baked in its turn.
    assert torch.equal(model(data()), expected)
    assert torch.equal(prune.bake(model)(data()), expected)


def test_state_dict_carries_the_masks() -> None:
    model = prune.magnitude(net(), 0.9)
    other = prune.magnitude(net(seed=5), 0.9)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(data()), model(data()))
    assert torch.equal(other[4].weight == 0, model[4].weight == 0)


def test_export_sees_the_masked_weights() -> None:
    model = prune.magnitude(net(), 0.9)
    program = torch.export.export(model, (data(),))
    assert torch.equal(program.module()(data()), model(data()))


def test_a_mask_of_the_wrong_shape_is_refused() -> None:
    model = net()
    with pytest.raises(ValueError, match=r"shape \(3,\), the parameter \(8,\)"):
        prune.set_mask(model[0], "bias", torch.ones(3, dtype=torch.bool))
