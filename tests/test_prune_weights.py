"""Weight pruning: exactly which weights go, how many, and that nothing happens on bad arguments."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from prune_nets import WEIGHTED, convnet, images, lenet_300_100, state
from torch import nn

import sparsenet
from sparsenet import prune

torch.set_num_threads(1)

NOMINAL = (0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99)


def zeros(module: nn.Module) -> int:
    return int((module.weight == 0).sum())


def layer(model: nn.Module, name: str) -> nn.Module:
    return model.get_submodule(name)


@pytest.mark.parametrize("method", [prune.magnitude, prune.random])
def test_a_nominal_share_is_what_it_says_whether_reloaded_or_one_after_the_other(
    method: Callable[..., nn.Module],
) -> None:
    dense = lenet_300_100()
    sizes = [235_200, 30_000, 1_000]
    running = copy.deepcopy(dense)
    for k in NOMINAL:
        reloaded = method(copy.deepcopy(dense), k)
        expected = [round(k * size) for size in sizes]
        assert [zeros(reloaded[i]) for i in (0, 2, 4)] == expected
        method(running, k)  # the blog's loop: the pruned weights are pruned on; its shares compounded to 99 % at .8
        assert [zeros(running[i]) for i in (0, 2, 4)] == expected
        assert prune.sparsity(reloaded) == pytest.approx(k, abs=1e-5)


def test_the_compounding_shares_are_those_of_the_printed_code() -> None:
    # Guards the anchor itself: pruning k of what is LEFT gives 62.5, 85, 95.5, 99.1 %, which ours must not.
    left, compounded = 1.0, []
    for k in NOMINAL[:5]:
        left *= 1 - k
        compounded.append(round(100 * (1 - left), 1))
    assert compounded == [25.0, 62.5, 85.0, 95.5, 99.1]
    model = lenet_300_100()
    ours = [round(100 * prune.sparsity(prune.magnitude(model, k)), 1) for k in NOMINAL[:5]]
    assert ours == [25.0, 50.0, 60.0, 70.0, 80.0]


@pytest.mark.parametrize(
    "again",
    [
        lambda m: prune.magnitude(m, 0.7),
        lambda m: prune.magnitude(m, 0.7, scope="global"),
        lambda m: prune.threshold(m, 1.0),
        lambda m: prune.random(m, 0.7, seed=3),
        lambda m: prune.n_m(m, 2, 4, strict=False),
        lambda m: prune.blocks(m, 0.7, strict=False),
        lambda m: prune.blocks(m, 0.7, (3, 5), strict=False),
    ],
)
def test_a_second_call_on_the_same_weights_takes_nothing_more(again: Callable[[nn.Module], nn.Module]) -> None:
    model = again(convnet())
    once = {name: layer(model, name).weight.detach().clone() for name in WEIGHTED}
    assert prune.sparsity(model) > 0.3
    again(model)
    for name, weight in once.items():
        assert torch.equal(layer(model, name).weight, weight)


def test_a_dict_prunes_the_layers_it_names() -> None:
    model = convnet()
    prune.magnitude(model, {"0": 0.5, "10": 0.9})
    assert zeros(layer(model, "0")) == round(0.5 * 576)
    assert zeros(layer(model, "10")) == round(0.9 * 8192)
    assert all(zeros(layer(model, name)) == 0 for name in ("3", "4", "6", "7"))


def test_no_layer_loses_its_last_weight() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 64, 1))
    with torch.no_grad():
        model[0].weight.mul_(1e-6)
    for scope in ("layer", "global"):
        pruned = prune.magnitude(copy.deepcopy(model), 0.98, scope=scope)
        assert zeros(pruned[0]) == 1
        assert abs(pruned[0].weight).max() == abs(model[0].weight).max()
    assert zeros(prune.random(model, 0.99)[0]) == 1


def test_threshold_is_q_standard_deviations_of_each_layer() -> None:
    model = lenet_300_100()
    nn.init.normal_(model[0].weight, std=0.02)
    nn.init.normal_(model[2].weight, std=3.0)
    before = {i: model[i].weight.detach().clone() for i in (0, 2, 4)}
    prune.threshold(model, 1.0, skip=["4"])
    for i in (0, 2):
        keep = before[i].abs() >= before[i].std(correction=0)
        assert torch.equal(model[i].weight, before[i] * keep)
        # Gaussian weights: erf(1 / sqrt(2)) of them lie within a standard deviation, whatever it is.
        assert zeros(model[i]) / keep.numel() == pytest.approx(math.erf(1 / math.sqrt(2)), abs=0.01)
    assert zeros(model[4]) == 0


def test_threshold_by_layer_and_again_with_a_larger_one() -> None:
    model = lenet_300_100()
    prune.threshold(model, {"0": 1.0})
    first = model[0].weight == 0
    share = prune.sparsity(model)
    kept = model[0].weight.detach().clone()
    prune.threshold(model, {"0": 1.6})
    assert bool((model[0].weight == 0)[first].all())
    assert prune.sparsity(model) > share
    still = model[0].weight != 0
    assert torch.equal(model[0].weight[still], kept[still])
    assert zeros(model[2]) == 0


def test_the_deviation_of_survivors_cuts_deeper_with_each_call() -> None:
    model = lenet_300_100()
    prune.threshold(model, 0.5)
    left = model[0].weight.detach().clone()
    deviation = float(left[left != 0].std(correction=0))
    prune.threshold(model, {"0": 0.9}, survivors=True)
    expected = left * (left.abs() >= 0.9 * deviation)
    assert torch.equal(model[0].weight, expected)
    assert not torch.equal(expected, left)
    untouched = prune.threshold(copy.deepcopy(model), {"0": 0.9})[0].weight
    assert torch.equal(untouched, expected)  # with zeros counted the deviation has shrunk


def test_random_depends_on_seed_and_layer_alone() -> None:
    a, b = prune.random(convnet(), 0.6), prune.random(convnet(5), 0.6, skip=["0"])
    c = prune.random(convnet(), 0.6, seed=1)
    assert torch.equal(a[10].weight == 0, b[10].weight == 0)
    assert not torch.equal(a[10].weight == 0, c[10].weight == 0)
    weights = convnet()[10].weight.detach().abs()
    assert float(weights[a[10].weight != 0].mean()) == pytest.approx(float(weights.mean()), rel=0.05)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8), (2, 3)])
def test_n_m_keeps_the_largest_n_of_every_m_inputs(n: int, m: int) -> None:
    model = nn.Sequential(nn.Conv2d(24, 48, 3), nn.Conv2d(48, 8, (1, 3), groups=2), nn.Flatten(), nn.Linear(48, 5))
    before = copy.deepcopy(model)
    prune.n_m(model, n, m)
    for i in (0, 1, 3):
        old, new = before[i].weight.detach().numpy(), model[i].weight.detach().numpy()
        old, new = (w.reshape(w.shape[0], w.shape[1], -1) for w in (old, new))
        for o, c, t in np.ndindex(old.shape[0], old.shape[1] // m, old.shape[2]):
            group, pruned = old[o, c * m : (c + 1) * m, t], new[o, c * m : (c + 1) * m, t]
            largest = np.sort(np.argsort(-abs(group))[:n])
            assert np.array_equal(np.flatnonzero(pruned), largest)
            assert np.array_equal(pruned[largest], group[largest])


def test_n_m_names_the_layers_it_does_not_fit() -> None:
    model = convnet()
    before = state(model)
    with pytest.raises(ValueError, match=r"multiples of 8, and 0 has 4, 3 has 1, 6 has 12, 7 has 4; pass skip=\['0'"):
        prune.n_m(model, 4, 8)
    assert state(model) == before
    prune.n_m(model, 4, 8, strict=False)
    assert [zeros(layer(model, name)) for name in WEIGHTED] == [0, 0, 24 * 16 // 2, 0, 0, 8192 // 2]
    assert zeros(prune.n_m(convnet(), 4, 8, skip=["0", "3", "6", "7"])[10]) == 4096


def grid(weight: np.ndarray, height: int, width: int) -> dict[tuple[int, int], np.ndarray]:
    rows, columns = weight.shape
    return {
        (r, c): weight[r : r + height, c : c + width]
        for r in range(0, rows, height)
        for c in range(0, columns, width)
    }


@pytest.mark.parametrize("block", [(4, 1), (1, 4), (2, 1), (3, 5), (1, 1)])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_blocks_go_whole_and_the_weakest_first(block: tuple[int, int], share: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 16, 3), nn.Flatten(), nn.Linear(30, 20))
    before = copy.deepcopy(model)
    prune.blocks(model, share, block)
    for i in (0, 2):
        old = before[i].weight.detach().flatten(1).numpy()
        new = model[i].weight.detach().flatten(1).numpy()
        before_blocks = grid(old, *block)
        means: dict[bool, list[float]] = {True: [], False: []}
        for (r, c), part in grid(new, *block).items():
            assert part.all() or not part.any()
            means[bool(part.any())].append(abs(before_blocks[r, c]).mean())
        assert abs((new == 0).mean() - share) * new.size <= block[0] * block[1] / 2 + 1e-6
        assert not means[False] or max(means[False]) <= min(means[True])
        assert np.array_equal(new[new != 0], old[new != 0])


def test_blocks_stay_inside_a_group_and_follow_the_outputs_of_transposed_convolutions() -> None:
    model = nn.Sequential(nn.Conv2d(8, 12, 1, groups=2), nn.ConvTranspose2d(12, 8, 1))
    prune.blocks(model, 0.5, (4, 1))
    conv = model[0].weight.detach().flatten(1).numpy()  # 6 outputs a group: blocks of 4 and 2, then a new group
    for r0, r1 in ((0, 4), (4, 6), (6, 10), (10, 12)):
        for c in range(4):
            assert len(set((conv[r0:r1, c] == 0).tolist())) == 1
    transposed = model[1].weight.detach().flatten(1).numpy().T  # [outputs, inputs]
    assert all(part.all() or not part.any() for part in grid(transposed, 4, 1).values())
    assert (transposed == 0).mean() == 0.5


def test_blocks_name_the_layers_that_are_smaller() -> None:
    model = convnet()
    before = state(model)
    with pytest.raises(ValueError, match=r"4x1, and a group of 3 has 1x9; pass skip=\['3'\]"):
        prune.blocks(model, 0.5)
    assert state(model) == before
    prune.blocks(model, 0.5, strict=False)
    assert [zeros(layer(model, name)) > 0 for name in WEIGHTED] == [True, False, True, True, True, True]


METHODS: dict[str, Callable[[nn.Module], object]] = {
    "magnitude": lambda m: prune.magnitude(m, 0.8),
    "global": lambda m: prune.magnitude(m, 0.8, scope="global"),
    "threshold": lambda m: prune.threshold(m, 1.2),
    "random": lambda m: prune.random(m, 0.8),
    "2:4": lambda m: prune.n_m(m, 2, 4, strict=False),
    "1:4": lambda m: prune.n_m(m, 1, 4, strict=False),
    "4x1": lambda m: prune.blocks(m, 0.8, (4, 1), strict=False),
    "1x4": lambda m: prune.blocks(m, 0.8, (1, 4), strict=False),
    "erk": lambda m: prune.magnitude(m, prune.erk(m, 0.8)),
}


@pytest.mark.parametrize("how", list(METHODS))
def test_the_engine_sees_the_zeros_where_they_are(how: str) -> None:
    model = convnet()
    METHODS[how](model)
    x = images()
    expected = model(x)
    program = torch.export.export(model, (x,))
    assert torch.equal(program.module()(x), expected)
    graph = sparsenet.from_torch(model, (x,))
    weights = [graph.constant(node.inputs[1]) for node in graph.nodes if node.op in ("Conv", "ConvTranspose", "Linear")]
    assert len(weights) == len(WEIGHTED)
    for name, weight in zip(WEIGHTED, weights, strict=True):
        assert weight is not None
        assert np.array_equal(weight, layer(model, name).weight.detach().numpy())
    y = sparsenet.compile(graph, tune=False)(x)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), atol=1e-4)


@pytest.mark.parametrize("how", list(METHODS))
def test_masks_survive_copies_state_dicts_and_momentum(how: str) -> None:
    model = convnet()
    METHODS[how](model)
    twin = copy.deepcopy(model)
    other = convnet(7)
    METHODS[how](other)
    other.load_state_dict(model.state_dict())
    assert torch.equal(twin(images()), model(images()))
    assert torch.equal(other(images()), model(images()))
    for net in (twin, other):
        pruned = {name: layer(net, name).weight == 0 for name in WEIGHTED}
        optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9, weight_decay=0.1, nesterov=True)
        for step in range(3):
            optimizer.zero_grad()
            net(images(seed=step)).square().mean().backward()
            optimizer.step()
        for name, was in pruned.items():
            assert torch.equal(layer(net, name).weight == 0, was)
    assert not torch.equal(twin[10].weight, model[10].weight)


BAD: dict[str, tuple[Callable[[nn.Module], object], str]] = {
    "percent": (lambda m: prune.magnitude(m, 90), "for 90 % give 0.9"),
    "share of a layer": (lambda m: prune.magnitude(m, {"0": 0.5, "4": 1.5}), "sparsity of 4"),
    "layer": (lambda m: prune.magnitude(m, {"0": 0.5, "conv": 0.5}), "layer conv; there are 0, 3, 4, 6, 7, 10"),
    "norm": (lambda m: prune.random(m, {"1": 0.5}), "sparsity: no convolution or linear layer 1;"),
    "dict, global": (lambda m: prune.magnitude(m, {"0": 0.5}, scope="global"), "scope='layer'"),
    "string": (lambda m: prune.magnitude(m, 0.5, skip="10"), r"write \['10'\]"),
    "random": (lambda m: prune.random(m, -0.1), "sparsity"),
    "q": (lambda m: prune.threshold(m, {"0": 1.0, "4": -1.0}), "q of 4"),
    "q too large": (lambda m: prune.threshold(m, {"0": 1.0, "4": 99.0}), "nothing of 4.*lower q or skip"),
    "q's layer": (lambda m: prune.threshold(m, {"x": 1.0}), "q: no convolution or linear layer x"),
    "n of m": (lambda m: prune.n_m(m, 4, 4), "1 <= n < m, not 4:4"),
    "block": (lambda m: prune.blocks(m, 0.5, (0, 4)), "at least 1 each"),
    "block share": (lambda m: prune.blocks(m, 1.0), "sparsity"),
    "erk": (lambda m: prune.magnitude(m, prune.erk(m, 1.0)), "sparsity"),
    "erk skip": (lambda m: prune.magnitude(m, prune.erk(m, 0.9, skip=["no"])), "skip: no .* no;"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_arguments_say_what_to_do_and_change_nothing(case: str) -> None:
    call, message = BAD[case]
    model = prune.magnitude(convnet(), {"0": 0.3})
    before = state(model)
    with pytest.raises(ValueError, match=message):
        call(model)
    assert state(model) == before


@pytest.mark.parametrize(
    "method",
    [
        lambda m: prune.magnitude(m, 0.5),
        lambda m: prune.threshold(m, 1.0),
        prune.n_m,
        prune.blocks,
        lambda m: prune.erk(m, 0.5),
        lambda m: prune.lottery_ticket(m, lambda net: None, 1),
    ],
)
def test_a_model_without_weights_to_prune_is_an_error(method: Callable[[nn.Module], object]) -> None:
    with pytest.raises(ValueError, match="Sequential has no convolution or linear layer to prune"):
        method(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()))


def test_uniform_names_every_layer() -> None:
    assert prune.uniform(convnet(), 0.7, skip=["0"]) == dict.fromkeys(WEIGHTED[1:], 0.7)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.8, 0.95])
def test_erk_meets_the_total_and_is_proportional_to_the_papers_rule(sparsity: float) -> None:
    model = convnet()
    shares = prune.erk(model, sparsity)
    shapes = {name: layer(model, name).weight.shape for name in WEIGHTED}
    total = sum(shape.numel() for shape in shapes.values())
    nonzeros = sum((1 - shares[name]) * shape.numel() for name, shape in shapes.items())
    assert nonzeros == pytest.approx((1 - sparsity) * total)
    sparse = [name for name in WEIGHTED if shares[name] > 0]
    scales = [(1 - shares[name]) * shapes[name].numel() / sum(shapes[name]) for name in sparse]
    assert len({round(scale, 9) for scale in scales}) <= 1
    for name in set(WEIGHTED) - set(sparse):  # dense because the rule asks for more than all
        assert not scales or scales[0] * sum(shapes[name]) >= shapes[name].numel() * (1 - 1e-9)
    assert prune.sparsity(prune.magnitude(model, shares)) == pytest.approx(sparsity, abs=2e-3)


def test_erk_of_a_known_network() -> None:
    # LeNet-300-100: dimensions sum to 1084, 400 and 110, so at 90 % zeros 26620 weights split as 1084 : 400 : 110,
    # until the last layer, which has only 1000, is full.
    shares = prune.erk(lenet_300_100(), 0.9)
    assert shares["4"] == 0.0
    scale = (26620 - 1000) / 1484
    assert shares["0"] == pytest.approx(1 - scale * 1084 / 235200)
    assert shares["2"] == pytest.approx(1 - scale * 400 / 30000)
