"""Low rank, weight sharing, binary and ternary weights, and their sizes."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from prune_nets import WEIGHTED, convnet, images, lenet_300_100, mlp, state, toy
from torch import nn

import sparsenet
from sparsenet import prune

torch.set_num_threads(1)


def pointwise(seed: int = 0) -> nn.Sequential:
    """x[N, 6, 9, 9] -> [N, 5]; strided and padded 1x1 convolutions."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(6, 24, 1, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(24, 20, 1, bias=False),
        nn.Conv2d(20, 20, 3),
        nn.Flatten(),
        nn.Linear(20 * 16, 5),
    ).eval()


def deep(x: torch.Tensor) -> np.ndarray:
    return x.detach().double().numpy()


def test_full_energy_leaves_full_rank_layers_and_low_rank_is_exact_where_the_weight_has_it() -> None:
    model = pointwise()
    before = state(model)
    assert prune.low_rank(model, energy=1.0) is model
    assert state(model) == before  # the full rank has more weights than the layer itself
    with torch.no_grad():
        model[0].weight.copy_((torch.randn(24, 2) @ torch.randn(2, 6)).view(24, 6, 1, 1))
        model[5].weight.copy_(torch.randn(5, 1) @ torch.randn(1, 320))
    x = torch.randn(2, 6, 9, 9)
    expected = model(x)
    prune.low_rank(model, energy=1 - 1e-9, layers=["0", "5"])
    assert [tuple(model[i].reduce.weight.shape[:2]) for i in (0, 5)] == [(2, 6), (1, 320)]
    assert [tuple(model[i].expand.weight.shape[:2]) for i in (0, 5)] == [(24, 2), (5, 1)]
    torch.testing.assert_close(model(x), expected)
    assert not any(module.training for module in model.modules())
    y = sparsenet.compile(sparsenet.from_torch(model, (x,)), tune=False)(x)
    torch.testing.assert_close(y, expected.detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("energy", [0.3, 0.6, 0.9])
def test_the_rank_is_the_smallest_that_keeps_the_energy_and_the_product_is_the_best_of_its_rank(energy: float) -> None:
    model = lenet_300_100()
    before = copy.deepcopy(model)
    prune.low_rank(model, energy, skip=["4"])
    assert isinstance(model[4], nn.Linear)
    for i in (0, 2):
        weight = deep(before[i].weight)
        s = np.linalg.svd(weight, compute_uv=False)
        rank = model[i].reduce.out_features
        share = (s**2).cumsum() / (s**2).sum()
        assert share[rank - 1] >= energy > share[rank - 2]
        product = deep(model[i].expand.weight) @ deep(model[i].reduce.weight)
        # Eckart and Young: no matrix of that rank is nearer.
        assert np.linalg.norm(weight - product) == pytest.approx(math.sqrt((s[rank:] ** 2).sum()), rel=1e-5)
        assert torch.equal(model[i].expand.bias, before[i].bias)
        assert sum(p.numel() for p in model[i].parameters()) < sum(p.numel() for p in before[i].parameters())


def test_ranks_by_name_and_trainable_factors() -> None:
    model = mlp()
    prune.low_rank(model, rank={"0": 3})
    assert model[0].reduce.out_features == 3
    assert isinstance(model[3], nn.Linear)
    history = prune.finetune(model, toy(), epochs=2)
    assert history.losses[1] < history.losses[0]


def test_the_rank_that_meets_a_latency() -> None:
    model = lenet_300_100()
    calls: list[int] = []

    def weights(net: nn.Module, example: Any) -> float:
        assert example == "example"
        calls.append(sum(p.numel() for p in net.parameters()))
        return calls[-1] / 1e5

    before = state(model)
    with pytest.raises(ValueError, match=r"even the smallest ranks take 0\.\d+ ms, the target is 0\.01 ms"):
        prune.low_rank(model, target_ms=0.01, example="example", measure=weights)
    assert state(model) == before
    prune.low_rank(model, target_ms=1.5, example="example", measure=weights)
    size = sum(p.numel() for p in model.parameters())
    assert size <= 1.5e5
    assert size == max(count for count in calls if count <= 1.5e5)
    assert len(calls) <= 6  # bisection: compiling and timing takes seconds each


def test_the_latency_is_our_engines() -> None:
    model, x = lenet_300_100(), torch.randn(1, 784)
    prune.low_rank(copy.deepcopy(model), target_ms=1e6, example=x)
    with pytest.raises(ValueError, match=r"even the smallest ranks take \d"):
        prune.low_rank(model, target_ms=1e-6, example=x)


BAD_RANKS: list[tuple[dict[str, Any], str]] = [
    ({"energy": 0.0}, "energy"),
    ({"energy": 1.5}, "energy"),
    ({"rank": 0}, "rank of 0 is from 1 to 6, not 0"),
    ({"rank": {"2": 21}}, "rank of 2 is from 1 to 20, not 21"),
    ({"rank": {"fc": 2}}, "layers: no .* fc; there are 0, 2, 3, 5"),
    ({"layers": ["3"]}, "'3' is Conv2d.*only linear layers and 1x1"),
    ({"skip": ["x"]}, "skip"),
    ({"target_ms": 1.0}, "needs example="),
    ({"target_ms": 1.0, "rank": 3}, "not both"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_RANKS)
def test_low_rank_refuses_and_changes_nothing(arguments: dict[str, Any], message: str) -> None:
    model = pointwise()
    before = state(model)
    with pytest.raises(ValueError, match=message):
        prune.low_rank(model, **arguments)
    assert state(model) == before


@pytest.mark.parametrize("init", ["linear", "density", "random"])
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_shared_weights_take_few_values_and_each_the_nearest(init: str, bits: int) -> None:
    model = prune.magnitude(convnet(), 0.6)
    before = {name: deep(model.get_submodule(name).weight) for name in WEIGHTED}
    prune.share_weights(model, bits, init=init)
    for name, old in before.items():
        new = deep(model.get_submodule(name).weight)
        assert np.array_equal(new == 0, old == 0)
        values = np.unique(new[new != 0])
        assert len(values) <= 2**bits
        old, new = old[old != 0], new[new != 0]
        distance = abs(old[:, None] - values[None]).min(1)
        assert (abs(old - new) <= distance + 1e-6).all()
        for value in values:  # a fixed point of Lloyd's algorithm: each value is the mean of those that share it
            assert value == pytest.approx(old[new == value].mean(), abs=1e-6)


def test_linear_init_spans_the_large_weights_and_few_values_are_kept_exactly() -> None:
    model = nn.Sequential(nn.Linear(100, 10))
    before = model[0].weight.detach().clone()
    before[0, 0] = 9.0  # far out: an even spread has an entry of its own for it
    with torch.no_grad():
        model[0].weight.copy_(before)
    prune.share_weights(model, 3)
    assert float(model[0].weight[0, 0].detach()) == 9.0
    exact = nn.Sequential(nn.Linear(4, 4))
    with torch.no_grad():
        exact[0].weight.copy_(torch.tensor([-1.5, 0.0, 0.25, 3.0]).expand(4, 4))
    prune.share_weights(exact, 2)
    assert torch.equal(exact[0].weight[0].detach(), torch.tensor([-1.5, 0.0, 0.25, 3.0]))


def test_training_moves_the_shared_values_by_the_sum_of_their_gradients() -> None:
    model = prune.share_weights(prune.magnitude(mlp(), 0.5), 2)
    plain = prune.bake(copy.deepcopy(model))
    x, y = next(iter(toy()))
    for net in (model, plain):
        net.eval()
        nn.functional.cross_entropy(net(x), y).backward()
    old = model[0].weight.detach()
    codebook = model[0].parametrizations["weight"].original
    assert codebook.shape == (4,)
    for entry, gradient in zip(codebook.detach(), codebook.grad, strict=True):
        torch.testing.assert_close(gradient, plain[0].weight.grad[old == entry].sum())
    prune.finetune(model, toy(), epochs=2)
    assert torch.equal(model[0].weight == 0, old == 0)
    assert len(model[0].weight.detach().unique()) == 5
    assert not torch.equal(model[0].weight, old)


QUANTIZED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "shared": lambda m: prune.share_weights(prune.magnitude(m, 0.7), 4),
    "binary": lambda m: prune.binarize(m, skip=["0"]),
    "ternary": lambda m: prune.ternarize(m, skip=["0"]),
    "pruned binary": lambda m: prune.binarize(prune.magnitude(m, 0.5)),
    "low rank": lambda m: prune.magnitude(prune.low_rank(m, 0.5), 0.5),
}


@pytest.mark.parametrize("how", list(QUANTIZED))
def test_copies_state_dicts_exports_and_the_engine_agree(how: str) -> None:
    model = QUANTIZED[how](convnet())
    other = QUANTIZED[how](convnet(3))
    if how == "low rank":  # ranks depend on the weights
        other = copy.deepcopy(model)
    x = images()
    expected = model(x)
    other.load_state_dict(model.state_dict())
    for same in (copy.deepcopy(model), other, prune.bake(copy.deepcopy(model))):
        assert torch.equal(same(x), expected)
    assert torch.equal(torch.export.export(model, (x,)).module()(x), expected)
    graph = sparsenet.from_torch(model, (x,))
    weights = [graph.constant(node.inputs[1]) for node in graph.nodes if node.op in ("Conv", "ConvTranspose", "Linear")]
    layers = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear, nn.ConvTranspose2d))]
    for weight, module in zip(weights, layers, strict=True):
        assert weight is not None
        assert np.array_equal(weight, module.weight.detach().numpy())
    np.testing.assert_allclose(sparsenet.compile(graph, tune=False)(x).numpy(), expected.detach().numpy(), atol=1e-4)
    buffer = io.BytesIO()
    torch.save(prune.bake(copy.deepcopy(model)), buffer)


def test_binary_weights_are_the_sign_times_the_mean_magnitude_of_the_filter() -> None:
    model = convnet()
    before = deep(model[4].weight).reshape(24, -1)
    prune.magnitude(model, {"10": 0.5})
    pruned = deep(model[10].weight)
    prune.binarize(model)
    assert deep(model[4].weight).reshape(24, -1) == pytest.approx(np.sign(before) * abs(before).mean(1, keepdims=True))
    scale = abs(pruned).sum(1, keepdims=True) / (pruned != 0).sum(1, keepdims=True)
    assert deep(model[10].weight) == pytest.approx(np.sign(pruned) * scale)
    assert all(len(np.unique(row)) == 2 for row in deep(model[4].weight).reshape(24, -1))


def test_ternary_weights_are_near_the_best_approximation() -> None:
    model = lenet_300_100()
    nn.init.normal_(model[0].weight)
    before = deep(model[0].weight)
    prune.ternarize(model, skip=["4"])
    after = deep(model[0].weight)
    kept = abs(before) > 0.7 * abs(before).mean()
    assert after == pytest.approx(np.sign(before) * kept * abs(before)[kept].mean(), abs=1e-5)
    # By trial: no threshold approximates Gaussian weights better by more than the paper's 2 percent.
    error = ((before - after) ** 2).sum()
    for threshold in np.linspace(0.2, 1.2, 21):
        keep = abs(before) > threshold
        best = ((before - np.sign(before) * keep * abs(before)[keep].mean()) ** 2).sum()
        assert error <= 1.02 * best


@pytest.mark.parametrize("make", [prune.binarize, prune.ternarize])
def test_training_goes_through_signs_to_the_weights_underneath(make: Callable[..., nn.Module]) -> None:
    model = make(mlp())
    under = model[0].parametrizations["weight"].original
    before = under.detach().clone()
    history = prune.finetune(model, toy(), epochs=8, optimizer=partial(torch.optim.Adam, lr=1e-2))
    assert not torch.equal(under, before)
    assert history.losses[-1] < 0.8 * history.losses[0]
    assert all(len(row.unique()) <= (2 if make is prune.binarize else 3) for row in model[0].weight.detach())


def test_quantising_twice_is_refused() -> None:
    for first, again in (
        (prune.binarize, prune.ternarize),
        (prune.ternarize, prune.ternarize),
        (prune.share_weights, prune.share_weights),
    ):
        model = first(convnet())
        before = state(model)
        with pytest.raises(ValueError, match=r"^0 .* already: bake\(\) the model first, or skip it"):
            again(model)
        assert state(model) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 0}, "bits of 0 is from 1 to 8, not 0"),
        ({"bits": {"4": 9}}, "bits of 4"),
        ({"bits": {"x": 4}}, "bits: no .* x;"),
        ({"init": "best"}, "init is one of linear, density, random"),
        ({"skip": ["x"]}, "skip"),
    ],
)
def test_sharing_refuses_and_changes_nothing(arguments: dict[str, Any], message: str) -> None:
    model = prune.magnitude(convnet(), 0.5)
    before = state(model)
    with pytest.raises(ValueError, match=message):
        prune.share_weights(model, **arguments)
    assert state(model) == before


def linear(values: list[float]) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(len(values), 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([values]))
    return model


def test_sizes_counted_by_hand() -> None:
    dense = prune.compressed_size(lenet_300_100())
    assert dense.bytes == dense.huffman_bytes == dense.dense == 4 * (266_200 + 410)
    assert dense.ratio == 1
    # Nonzeros at 0, 5 and 19 of 24: gaps of 0, 4 and 13 zeros. In 2 bits a gap is at most 3, so 4 takes one padding
    # zero and 13 takes three: 7 entries of 32 + 2 bits.
    values = [0.0] * 24
    values[0], values[5], values[19] = 1.0, 2.0, 3.0
    size = prune.compressed_size(linear(values), index_bits=2)
    assert (size.layers[0].values, size.layers[0].positions, size.rest) == (7 * 32, 7 * 2, 0)
    assert size.bytes == math.ceil(7 * 34 / 8)
    # In 4 bits no gap is too long.
    assert prune.compressed_size(linear(values), index_bits=4).layers[0].bits == 3 * 36
    # Shared: 3 entries in 2 bits, a codebook of 3 floats. As one of 4 values each, zeros among them, it is 24 * 3 bits.
    shared = prune.compressed_size(prune.share_weights(linear(values), 2), index_bits=4).layers[0]
    assert (shared.values, shared.positions, shared.codebook) == (3 * 2, 3 * 4, 3 * 32)
    assert prune.compressed_size(prune.share_weights(linear(values), 2), index_bits=30).layers[0].values == 24 * 3
    with pytest.raises(ValueError, match="index_bits"):
        prune.compressed_size(linear(values), index_bits=0)


def test_sizes_of_binary_and_ternary_weights() -> None:
    model = lenet_300_100()
    rest = 4 * 410
    binary = prune.compressed_size(prune.binarize(copy.deepcopy(model)))
    assert binary.bytes == rest + (266_200 + 32 * 410) // 8
    assert binary.dense == 4 * 266_610
    assert 25 < binary.ratio < 32
    ternary = prune.compressed_size(prune.ternarize(copy.deepcopy(model)))
    assert ternary.bytes == rest + (2 * 266_200 + 3 * 32) // 8
    # Entropy: three about equally frequent symbols take log2(3) bits, Huffman's whole ones 5/3; and a table.
    assert ternary.huffman_bytes == pytest.approx(rest + 266_200 * 5 / 3 / 8, rel=0.05)


def test_huffman_beats_fixed_widths_on_skewed_codes_and_never_loses() -> None:
    values = [1.0] * 96 + [2.0, 3.0, 4.0, 5.0]
    size = prune.compressed_size(prune.share_weights(linear(values), 3))
    # Frequencies 96, 1, 1, 1, 1: code lengths 1, 3, 3, 3, 3, and 5 bytes of table.
    assert (size.layers[0].values, size.layers[0].huffman) == (300, 96 + 4 * 3 + 5 * 8)
    for model in (convnet(), prune.share_weights(prune.magnitude(convnet(), 0.9), 5)):
        size = prune.compressed_size(model)
        assert size.huffman_bytes <= size.bytes <= size.dense


def test_deep_compression_of_lenet_is_in_the_papers_range() -> None:
    # 8 % of the weights at 6 bits with 5-bit gaps: the paper's LeNet-300-100 goes 40x with Huffman, 32x without.
    model = lenet_300_100()
    for i in (0, 2, 4):
        nn.init.normal_(model[i].weight)
    size = prune.compressed_size(prune.share_weights(prune.magnitude(model, {"0": 0.92, "2": 0.91, "4": 0.74}), 6))
    assert 25 < size.ratio < 36
