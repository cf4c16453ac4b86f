"""Published tables that need no training: parameters and multiply-adds of pruned architectures, recomputed by pruning.

Sources: Li et al. 2017, "Pruning Filters for Efficient ConvNets", tables 1 and 2 and section 4; Hu et al. 2016,
"Network Trimming", table of LeNet.
"""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from benchmarks.models import create
from sparsenet import prune

torch.set_num_threads(1)


def vgg16_cifar() -> nn.Sequential:
    """VGG-16 for CIFAR-10 as in the paper: 13 convolutions and a hidden layer of 512, with biases and batch norm."""
    layers: list[nn.Module] = []
    channels = 3
    for stage in ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3):
        for out in stage:
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
            channels = out
        layers.append(nn.MaxPool2d(2))
    head = [nn.Flatten(), nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*layers, *head).eval()


def test_vgg16_a_loses_half_of_its_first_and_its_last_six_convolutions() -> None:
    torch.manual_seed(0)
    model, x = vgg16_cifar(), torch.zeros(1, 3, 32, 32)
    assert prune.parameters(model) == 14_991_946
    assert prune.macs(model, x) == 313_463_808
    convs = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    prune.filters(model, {name: 0.5 for i, name in enumerate(convs, 1) if i == 1 or i >= 8})
    small = prune.shrink(model, x)
    assert prune.parameters(small) == 5_399_690
    assert prune.macs(small, x) / 1e8 == pytest.approx(2.063, abs=5e-4)
    assert 1 - prune.macs(small, x) / 313_463_808 == pytest.approx(0.342, abs=5e-4)


def cifar_ratios(depth: int, ratios: tuple[float, float, float], skip: tuple[int, ...]) -> dict[str, float]:
    """Of each block's first convolution; layers count from 1, as the paper's `skip` does."""
    n = (depth - 2) // 6
    firsts = {2 + 2 * (stage * n + i): f"layer{stage + 1}.{i}.conv1" for stage in range(3) for i in range(n)}
    shares = {name: ratios[(number - 2) // (2 * n)] for number, name in firsts.items() if number not in skip}
    return {name: share for name, share in shares.items() if share}


@functools.cache
def dense_macs(depth: int) -> int:
    return prune.macs(create(f"resnet{depth}"), torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("depth", "dense", "ratios", "skip", "parameters", "fewer", "flops"),
    [
        (56, 848_954, (0.1, 0.1, 0.1), (16, 20, 38, 54), 769_466, 9.4, 10.4),
        (56, 848_954, (0.6, 0.3, 0.1), (16, 18, 20, 34, 38, 54), 732_026, 13.8, 27.6),
        (110, 1_719_866, (0.5, 0.0, 0.0), (36,), None, 2.3, 15.9),
        (110, 1_719_866, (0.5, 0.4, 0.3), (36, 38, 74), None, 32.5, 38.7),
    ],
    ids=["56-A", "56-B", "110-A", "110-B"],
)
def test_cifar_resnets(
    depth: int,
    dense: int,
    ratios: tuple[float, float, float],
    skip: tuple[int, ...],
    parameters: int | None,
    fewer: float,
    flops: float,
) -> None:
    torch.manual_seed(0)
    model, x = create(f"resnet{depth}").eval(), torch.zeros(1, 3, 32, 32)
    assert prune.parameters(model, norms=False) == dense
    small = prune.shrink(prune.filters(model, cifar_ratios(depth, ratios, skip)), x)
    if parameters is not None:
        assert prune.parameters(small, norms=False) == parameters
    assert 100 * (1 - prune.parameters(small, norms=False) / dense) == pytest.approx(fewer, abs=0.06)
    assert 100 * (1 - prune.macs(small, x) / dense_macs(depth)) == pytest.approx(flops, abs=0.06)


@pytest.mark.parametrize(
    ("conv2", "fc1", "compression"), [(41, 426, 1.412), (31, 349, 2.234), (26, 293, 3.109), (24, 252, 3.846)]
)
def test_lenet_trims(conv2: int, fc1: int, compression: float) -> None:
    torch.manual_seed(0)
    model = create("lenet5").eval()
    assert prune.parameters(model) == 431_080
    prune.filters(model, {"conv2": 1 - conv2 / 50})
    prune.units(model, {"fc1": 1 - fc1 / 500})
    small = prune.shrink(model, torch.zeros(1, 1, 28, 28))
    assert (small.conv2.out_channels, small.fc1.out_features) == (conv2, fc1)
    assert 431_080 / prune.parameters(small) == pytest.approx(compression, abs=5e-4)


def test_macs_count_each_use_of_a_weight() -> None:
    x = torch.zeros(1, 4, 6, 6)
    assert prune.macs(nn.Conv2d(4, 8, 3, padding=1), x) == 4 * 8 * 9 * 36
    assert prune.macs(nn.Conv2d(4, 8, 3, stride=2, groups=4), x) == 8 * 9 * 4
    assert prune.macs(nn.ConvTranspose2d(4, 5, 2, stride=2), x) == 4 * 5 * 4 * 36
    assert prune.macs(nn.Linear(6, 7), x) == 6 * 7 * 24  # at each of 4 x 6 places
