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


NETS: dict[str, Callable[[], nn.Module]] = {
    "lenet300": mlp,
    "lenet5": LeNet5,
    "vgg": SmallVGG,
    "resnet20": resnet20,
}


def make(name: str, seed: int) -> nn.Module:
    """A new network with torch's default weights, drawn from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETS[name]()
