"""The networks of the evidence scripts, in the sizes the papers give or as narrow as one core can train."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.models.classic import mlp
from benchmarks.models.resnet import CifarResNet
from sparsenet.report.builtin import LeNet5, SmallVGG


def resnet20(width: int = 8, channels: int = 1) -> nn.Module:
    """ResNet-20 of He et al. 2015, section 4.2, at half its width; zero-padded shortcuts."""
    model = CifarResNet(20, width=width)
    if channels != 3:
        model.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    return model


# Of (channels, size) of the images; the LeNets are for MNIST's.
NETS: dict[str, Callable[[int, int], nn.Module]] = {
    "lenet300": lambda _channels, _size: mlp(),
    "lenet5": lambda _channels, _size: LeNet5(),
    "vgg": lambda channels, size: SmallVGG(channels=channels, size=size),
    "resnet20": lambda channels, _size: resnet20(channels=channels),
}


def make(name: str, seed: int, image: tuple[int, ...] = (1, 28, 28)) -> nn.Module:
    """A new network for images [channels, size, size], with torch's default weights, drawn from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETS[name](*image[:2])
