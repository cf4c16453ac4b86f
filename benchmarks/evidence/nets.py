"""The networks of the evidence scripts, in the sizes the papers give or as narrow as one core can train."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.models.classic import LeNet5, mlp
from benchmarks.models.resnet import CifarResNet


class LeNet5Relu(LeNet5):
    """LeNet-5, 20-50-500, with a ReLU after each convolution: there is no share of zeros to count without.

    The ReLU comes behind the pooling, where it costs a quarter; the two commute.
    """

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.pool(self.conv1(x)))
        x = torch.relu(self.pool(self.conv2(x)))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class SmallVGG(nn.Module):
    """Five 3x3 convolutions with batch norm, 16-32-32-64-64 by default, pooling after the 1st, 3rd and 5th."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 32, 64, 64), channels: int = 1, size: int = 28) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, width in enumerate(widths):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)]
            if i % 2 == 0:
                layers.append(nn.MaxPool2d(2))
                size //= 2
            channels = width
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(channels * size * size, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(self.features(x).flatten(1))
        return y


def resnet20(width: int = 8, channels: int = 1) -> nn.Module:
    """ResNet-20 of He et al. 2015, section 4.2, at half its width; zero-padded shortcuts."""
    model = CifarResNet(20, width=width)
    if channels != 3:
        model.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    return model


NETS: dict[str, Callable[[], nn.Module]] = {
    "lenet300": mlp,
    "lenet5": LeNet5Relu,
    "vgg": SmallVGG,
    "resnet20": resnet20,
}


def make(name: str, seed: int) -> nn.Module:
    """A new network with torch's default weights, drawn from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETS[name]()
