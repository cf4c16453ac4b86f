"""Groups against the couplings read off the code by hand, and shrink against the masked module and the engine."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from structured_nets import Counting, Dense, Residual, images, plain, seeded
from torch import nn

import sparsenet
from benchmarks.models import create_small, input_shape, seeded_init
from sparsenet import prune, reference
from sparsenet.errors import GraphError

torch.set_num_threads(1)


def together(model: nn.Module, x: torch.Tensor) -> dict[str, list[str]]:
    return {group.name: sorted(group.layers) for group in prune.groups(model, x)}


def test_groups_of_a_residual_network() -> None:
    groups = prune.groups(seeded(Residual()), images())
    assert {g.name: sorted(g.layers) for g in groups} == {
        "stem": ["stem"],
        "a1": ["a1", "n1"],
        "a2": ["a2", "b2", "depthwise", "n2", "ns", "shortcut"],
        "b1": ["b1"],
        "head": ["head"],
    }
    block = next(g for g in groups if g.name == "a2")
    assert block.judged_by == ("shortcut",)
    assert {m.layer: m.kind for m in block.members}["depthwise"] == "depthwise"
    assert groups[-1].held == "the network's output"
    assert not block.held


def test_groups_of_a_concatenation_share_the_norm_but_not_the_filters() -> None:
    one, two, mix, grouped, head = prune.groups(seeded(Dense()), images())
    assert one.layers == ["one", "norm"]
    assert two.layers == ["two", "norm"]
    assert one.members[1].units.tolist() == [0, 1, 2, 3] + [-1] * 6
    assert two.members[1].units.tolist() == [-1] * 4 + [0, 1, 2, 3, 4, 5]
    # The groups of a convolution lose the same places of their inputs and of their outputs.
    assert (mix.name, mix.size) == ("mix", 4)
    assert mix.members[0].units.tolist() == [0, 1, 2, 3] * 2
    assert (grouped.size, head.held) == (6, "the network's output")


def test_a_layer_that_runs_twice_has_one_set_of_channels() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.conv, self.head = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(F.relu(self.conv(F.relu(self.conv(F.relu(self.stem(x)))))).mean((2, 3)))

    model, x = seeded(Twice()), images()
    assert together(model, x) == {"stem": ["conv", "stem"], "head": ["head"]}
    small = prune.shrink(prune.filters(model, 0.5, example=x), x)
    assert tuple(small.conv.weight.shape) == (3, 3, 3, 3)


def same_as_engine(masked: nn.Module, x: torch.Tensor) -> nn.Module:
    """shrink()s, and holds the result to the masked module, in double, and to the engine's own smaller network."""
    before = {name: tensor.clone() for name, tensor in masked.state_dict().items()}
    small = prune.shrink(masked, x)
    assert all(torch.equal(tensor, before[name]) for name, tensor in masked.state_dict().items())
    graphs = [sparsenet.from_torch(module, (x,)) for module in (masked, small)]
    for graph in graphs:
        graph.run_passes()
    weights = [
        sorted((n.op, graph.shape(n.inputs[1])) for n in graph.nodes if n.op in ("Conv", "Linear")) for graph in graphs
    ]
    assert weights[0] == weights[1]
    with torch.no_grad():
        exact = copy.deepcopy(masked).double()(x.double()).numpy()
        got = copy.deepcopy(small).double()(x.double()).numpy()
    # In double the two differ only by weights that were folded and then rounded to float once.
    assert np.abs(exact - got).max() <= 1e-6 * np.abs(exact).max()
    reference.assert_close(sparsenet.compile(graphs[1], tune=False)(x.numpy()), graphs[1], [x.numpy()])
    return small


@pytest.mark.parametrize("ratio", [0.5, 0.9])
def test_shrunk_layers_are_as_wide_as_their_live_filters(ratio: float) -> None:
    model, x = plain(), images()
    prune.filters(model, ratio, example=x)
    prune.units(model, ratio)
    small = same_as_engine(model, x)
    widths = [max(1, int(n * (1 - ratio) + 1e-9)) for n in (8, 10, 6, 12)]
    assert [small[i].out_channels for i in (0, 3, 6)] + [small[10].out_features] == widths
    assert [small[i].num_features for i in (1, 4, 7)] == widths[:3]
    assert [small[3].in_channels, small[6].in_channels] == widths[:2]
    assert [small[10].in_features, small[12].in_features] == [64 * widths[2], widths[3]]
    assert not any(hasattr(module, "parametrizations") for module in small.modules())
    F.cross_entropy(small.train()(x), torch.zeros(2, dtype=torch.long)).backward()  # it trains
    assert small[3].weight.grad is not None


def test_residual_and_concatenating_networks_shrink_in_all_members() -> None:
    x = images()
    small = same_as_engine(prune.filters(seeded(Residual()), 0.5, example=x), x)
    assert (small.a2.out_channels, small.shortcut.out_channels, small.b2.out_channels) == (4, 4, 4)
    assert (small.depthwise.groups, small.depthwise.in_channels, small.head.in_features) == (4, 4, 64)
    small = same_as_engine(prune.filters(seeded(Dense()), 0.5, example=x), x)
    assert (small.norm.num_features, small.mix.in_channels) == (5, 5)
    assert (small.grouped.groups, small.grouped.in_channels, small.grouped.out_channels) == (2, 4, 6)


def test_masks_that_do_not_match_in_a_sum_stay_exact() -> None:
    model, x = seeded(Residual()), images()
    prune.filters(model, {"a2": 0.5, "a1": 0.4})  # without an example: a2 by itself
    small = same_as_engine(model, x)
    assert small.a1.out_channels == 3
    assert small.a2.out_channels == 8  # the shortcut needs them


@pytest.mark.parametrize("padding", [0, 1])
def test_a_constant_that_the_norms_shift_leaves_is_kept_exactly(padding: int) -> None:
    model = seeded(nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 4, 3, padding=padding, bias=False), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * (4 + 2 * padding) ** 2, 3),
    ))  # fmt: skip
    with torch.no_grad():
        model[1].bias.abs_().add_(0.5)  # so that the ReLU lets every constant through
    x = images()
    dropped = prune.filters(copy.deepcopy(model), {"0": 0.5}, "bn_scale", example=x)
    kept = prune.filters(model, {"0": 0.5}, "bn_scale", example=x, keep_shift=True)
    assert bool((kept[1].bias != 0).all())
    assert float((kept(x) - dropped(x)).detach().abs().max()) > 0.01  # the constant matters
    small = same_as_engine(kept, x)
    # Without zero padding it moves into the next bias; with it, one channel stands for all that are constant.
    assert small[0].out_channels == 4 + padding
    assert (small[3].bias is not None) == (padding == 0)
    assert same_as_engine(dropped, x)[0].out_channels == 4


@pytest.mark.parametrize("name", ["vgg11_bn", "resnet18", "resnet20", "mobilenet_v2", "densenet121", "shufflenet_v2"])
def test_network_families_shrink_as_the_engine_does(name: str) -> None:
    torch.manual_seed(0)
    model, x = seeded_init(create_small(name), 0), torch.randn(2, *input_shape(name, small=True))
    prune.filters(model, 0.5, example=x)
    small = same_as_engine(model, x)
    shares = {"resnet20": 0.55, "shufflenet_v2": 0.75}  # those whose own code counts on some of their channels
    assert prune.parameters(small) < shares.get(name, 0.6) * prune.parameters(create_small(name))


def test_code_that_counts_on_channels_is_told_apart_from_what_can_be_cut() -> None:
    x = images()
    sliced = seeded(Counting(halves=True))
    (group, _) = prune.groups(sliced, x)
    assert "the model's code counts on the number of its channels (Slice" in group.held
    with pytest.raises(GraphError, match=r"the channels of conv cannot be cut: the model's code .* Leave conv out"):
        prune.filters(sliced, {"conv": 0.5}, example=x)
    assert prune.parameters(prune.filters(sliced, 0.5, example=x)) == prune.parameters(sliced)
    viewed = prune.filters(seeded(Counting(halves=False)), {"conv": 0.5}, example=x)
    with pytest.raises(GraphError, match=r"counts on numbers of channels that are gone.* x.flatten\(1\)"):
        prune.shrink(viewed, x)
    assert prune.mask_of(viewed.conv) is not None


def test_a_layer_with_a_constant_result_is_named() -> None:
    model = seeded(Residual())
    prune.set_mask(model.b2, "weight", torch.zeros_like(model.b2.weight, dtype=torch.bool))
    with pytest.raises(GraphError, match=r"the result of b\d is constant, whatever the input"):
        prune.shrink(model, images())


def test_torch_pruning_finds_the_same_groups() -> None:
    tp = pytest.importorskip("torch_pruning")
    for model in (seeded(Residual()), seeded_init(create_small("resnet18"), 0)):
        x = images(size=8 if isinstance(model, Residual) else 64)
        names = {module: name for name, module in model.named_modules()}
        graph = tp.DependencyGraph().build_dependency(model, x)
        for group in prune.groups(model, x)[:-1]:
            first = model.get_submodule(group.producers[0].layer)
            unit = group.producers[0].units[1]
            theirs = {
                (names[dep.target.module], int(i))
                for dep, indices in graph.get_pruning_group(first, tp.prune_conv_out_channels, idxs=[1])
                if dep.target.module in names and dep.handler.__name__ == "prune_out_channels"
                for i in indices
            }
            ours = {(m.layer, int(c)) for m in group.members for c in np.flatnonzero(m.units == unit)}
            assert ours == theirs, group.name
