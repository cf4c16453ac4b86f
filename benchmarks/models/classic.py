"""The networks before residuals: perceptrons, LeNets, AlexNet, VGG, and a 1-D convolution net.

Parameter names of AlexNet and VGG are torchvision's, so its state_dicts load.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparsenet.report import builtin


def mlp(sizes: Sequence[int] = (784, 300, 100, 10)) -> nn.Sequential:
    """A perceptron with ReLU between its layers; the default is LeNet-300-100 (LeCun et al., 1998)."""
    layers: list[nn.Module] = [nn.Flatten()]
    for i, (k, m) in enumerate(itertools.pairwise(sizes)):
        layers += [nn.Linear(k, m)] if i == len(sizes) - 2 else [nn.Linear(k, m), nn.ReLU()]
    return nn.Sequential(*layers)


class LeNet5(builtin.LeNet5):
    """LeNet-5 as Caffe has it: no activation after a convolution."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.conv2(self.pool(self.conv1(x))))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class AlexNet(nn.Module):
    """The one-tower AlexNet (Krizhevsky, 2014); `width` scales channels and hidden units."""

    def __init__(self, num_classes: int = 1000, width: float = 1.0) -> None:
        super().__init__()
        a, b, c, d, h = (int(n * width) for n in (64, 192, 384, 256, 4096))
        self.features = nn.Sequential(
            nn.Conv2d(3, a, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(a, b, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(b, c, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(c, d, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(d, d, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(d * 36, h),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(h, h),
            nn.ReLU(inplace=True),
            nn.Linear(h, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


# Output channels of each 3x3 convolution, stage by stage (Simonyan & Zisserman, 2015, configurations A and D).
VGG_STAGES: dict[int, tuple[tuple[int, ...], ...]] = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
}


class VGG(nn.Module):
    """VGG-11 or VGG-16, with or without batch norm; `width` scales channels and hidden units."""

    def __init__(self, depth: int = 16, batch_norm: bool = False, num_classes: int = 1000, width: float = 1.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in VGG_STAGES[depth]:
            for full in stage:
                out = int(full * width)
                layers.append(nn.Conv2d(channels, out, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(out))
                layers.append(nn.ReLU(inplace=True))
                channels = out
            layers.append(nn.MaxPool2d(2))
        hidden = int(4096 * width)
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(channels * 49, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class Conv1dNet(nn.Module):
    """A net over sequences, [N, channels, length]: strided, dilated and depthwise convolutions, two kinds of pool."""

    def __init__(self, channels: int = 4, width: int = 32, num_classes: int = 6) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(channels, width, 7, stride=2, padding=3), nn.BatchNorm1d(width), nn.ReLU())
        self.dilated = nn.Sequential(
            nn.Conv1d(width, width, 3, padding="same", dilation=2), nn.BatchNorm1d(width), nn.LeakyReLU(0.1)
        )
        self.pool = nn.MaxPool1d(2)
        self.depthwise = nn.Conv1d(width, width, 5, padding=2, groups=width)
        self.pointwise = nn.Conv1d(width, 2 * width, 1)
        self.act = nn.GELU()
        self.avgpool = nn.AdaptiveAvgPool1d(1)
        self.fc = nn.Linear(2 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.pool(x + self.dilated(x))
        x = self.act(self.pointwise(self.depthwise(x)))
        return self.fc(self.avgpool(x).flatten(1))
