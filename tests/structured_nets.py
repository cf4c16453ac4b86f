"""Small networks for the tests of structured pruning: each is one way in which layers are tied together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def seeded(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights, biases and statistics, so that nothing is zero, one or equal by default."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.4, generator=rng)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0.0, 0.3, generator=rng)
                module.running_var.uniform_(0.5, 2.0, generator=rng)
                module.weight.uniform_(0.3, 1.5, generator=rng)
    return model.eval()


def images(n: int = 2, channels: int = 3, size: int = 8, seed: int = 1) -> Tensor:
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def plain(seed: int = 0, norm: bool = True) -> nn.Sequential:
    """conv0, 3, 6 with batch norm at 1, 4, 7 and ReLU; linear layers at 10 and 12."""
    layers: list[nn.Module] = []
    for c, m in ((3, 8), (8, 10), (10, 6)):
        layers += [nn.Conv2d(c, m, 3, padding=1), nn.BatchNorm2d(m) if norm else nn.Identity(), nn.ReLU(inplace=True)]
    layers += [nn.Flatten(), nn.Linear(6 * 64, 12), nn.ReLU(), nn.Linear(12, 5)]
    return seeded(nn.Sequential(*layers), seed)


class Residual(nn.Module):
    """A stem, a block with a projection shortcut and one with the identity, a depthwise layer and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.a1, self.n1 = nn.Conv2d(6, 5, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(5)
        self.a2, self.n2 = nn.Conv2d(5, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.shortcut, self.ns = nn.Conv2d(6, 8, 1, stride=2, bias=False), nn.BatchNorm2d(8)
        self.b1, self.b2 = nn.Conv2d(8, 7, 1), nn.Conv2d(7, 8, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head = nn.Linear(8 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = self.n2(self.a2(F.relu(self.n1(self.a1(x)))))
        x = F.relu(y + self.ns(self.shortcut(x)))
        x = F.relu(x + self.b2(F.relu(self.b1(x))))
        return self.head(self.depthwise(x).flatten(1))


class Dense(nn.Module):
    """Concatenation, with the batch norm behind it, as in DenseNet; then a grouped convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 6, 1)
        self.norm = nn.BatchNorm2d(10)
        self.mix = nn.Conv2d(10, 8, 1)
        self.grouped = nn.Conv2d(8, 12, 3, groups=2)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(torch.cat([self.one(x), self.two(x)], 1)))
        return self.head(F.relu(self.grouped(F.relu(self.mix(x)))).mean((2, 3)))


class Counting(nn.Module):
    """Its code counts on the channels of `conv`: in the view always, in the slice if `halves`."""

    def __init__(self, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Linear(8 * 64 // (2 if halves else 1), 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        return self.head(x[:, :4].flatten(1) if self.halves else x.view(-1, 8 * 64))
