"""Networks of branches and concatenation: SqueezeNet, ShuffleNetV2, DenseNet-121 and an Inception-style net.

The first three use torchvision's parameter names, so its state_dicts load.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Fire(nn.Module):
    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """Iandola et al., 2016, version 1.1 (the one with a 3x3 stem); its max pools use ceil mode."""

    def __init__(self, num_classes: int = 1000, width: float = 1.0) -> None:
        super().__init__()

        def fire(channels: int, squeeze: int, expand: int) -> Fire:
            return Fire(int(channels * width), int(squeeze * width), int(expand * width))

        def pool() -> nn.MaxPool2d:
            return nn.MaxPool2d(3, stride=2, ceil_mode=True)

        self.features = nn.Sequential(
            nn.Conv2d(3, int(64 * width), 3, stride=2),
            nn.ReLU(inplace=True),
            pool(),
            fire(64, 16, 64),
            fire(128, 16, 64),
            pool(),
            fire(128, 32, 128),
            fire(256, 32, 128),
            pool(),
            fire(256, 48, 192),
            fire(384, 48, 192),
            fire(384, 64, 256),
            fire(512, 64, 256),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Conv2d(int(512 * width), num_classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).flatten(1)


def conv_norm(channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out)]


class ShuffleUnit(nn.Module):
    """Half of the channels pass by untouched (stride 1), or both branches are strided (stride 2); then a shuffle."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        half = out // 2
        self.stride = stride
        self.branch1 = nn.Sequential()
        if stride > 1:
            self.branch1 = nn.Sequential(
                *conv_norm(channels, channels, 3, stride, channels), *conv_norm(channels, half), nn.ReLU(inplace=True)
            )
        self.branch2 = nn.Sequential(
            *conv_norm(channels if stride > 1 else half, half),
            nn.ReLU(inplace=True),
            *conv_norm(half, half, 3, stride, half),
            *conv_norm(half, half),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            kept, changed = x.chunk(2, dim=1)
            y = torch.cat((kept, self.branch2(changed)), 1)
        else:
            y = torch.cat((self.branch1(x), self.branch2(x)), 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


class ShuffleNetV2(nn.Module):
    """Ma et al., 2018; channels of the stem, the three stages and the last convolution (table 5), default x1.0."""

    def __init__(
        self,
        channels: tuple[int, int, int, int, int] = (24, 116, 232, 464, 1024),
        repeats: tuple[int, int, int] = (4, 8, 4),
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        stem, *stages, last = channels
        self.conv1 = nn.Sequential(*conv_norm(3, stem, 3, 2), nn.ReLU(inplace=True))
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        before = stem
        for i, (out, repeat) in enumerate(zip(stages, repeats, strict=True)):
            units = [ShuffleUnit(before, out, 2)] + [ShuffleUnit(out, out, 1) for _ in range(repeat - 1)]
            self.add_module(f"stage{i + 2}", nn.Sequential(*units))
            before = out
        self.conv5 = nn.Sequential(*conv_norm(before, last), nn.ReLU(inplace=True))
        self.fc = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.conv1(x))
        x = self.stage4(self.stage3(self.stage2(x)))
        return self.fc(self.conv5(x).mean([2, 3]))


class DenseLayer(nn.Module):
    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.conv1(F.relu(self.norm1(torch.cat(features, 1))))
        return self.conv2(F.relu(self.norm2(x)))


class DenseBlock(nn.ModuleDict):
    def __init__(self, channels: int, growth: int, depth: int) -> None:
        super().__init__({f"denselayer{i + 1}": DenseLayer(channels + i * growth, growth) for i in range(depth)})

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.values():
            features.append(layer(features))
        return torch.cat(features, 1)


class DenseNet(nn.Module):
    """Huang et al., 2017; the default is DenseNet-121. Batch norm comes before each convolution."""

    def __init__(
        self, growth: int = 32, depths: tuple[int, ...] = (6, 12, 24, 16), stem: int = 64, num_classes: int = 1000
    ) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(stem),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        channels = stem
        for i, depth in enumerate(depths):
            layers[f"denseblock{i + 1}"] = DenseBlock(channels, growth, depth)
            channels += depth * growth
            if i < len(depths) - 1:
                layers[f"transition{i + 1}"] = nn.Sequential(
                    OrderedDict(
                        norm=nn.BatchNorm2d(channels),
                        relu=nn.ReLU(inplace=True),
                        conv=nn.Conv2d(channels, channels // 2, 1, bias=False),
                        pool=nn.AvgPool2d(2),
                    )
                )
                channels //= 2
        layers["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(layers)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.features(x))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Branch(nn.Sequential):
    """Convolutions of the given kernel heights and widths, each with batch norm and ReLU."""

    def __init__(self, channels: int, out: int, *kernels: tuple[int, int], stride: int = 1) -> None:
        layers: list[nn.Module] = []
        for i, (h, w) in enumerate(kernels):
            last = i == len(kernels) - 1
            padding = (h // 2, w // 2) if stride == 1 or not last else (0, 0)
            layers += [
                nn.Conv2d(channels, out, (h, w), stride if last else 1, padding, bias=False),
                nn.BatchNorm2d(out, eps=1e-3),
                nn.ReLU(inplace=True),
            ]
            channels = out
        super().__init__(*layers)


class InceptionNet(nn.Module):
    """Blocks in the manner of Inception-v3 (Szegedy et al., 2016): factored 7x7, pooled branches, grid reduction."""

    def __init__(self, num_classes: int = 1000, width: int = 32) -> None:
        super().__init__()
        w = width
        self.stem = nn.Sequential(Branch(3, w, (3, 3), stride=2), Branch(w, w, (3, 3)), nn.MaxPool2d(3, stride=2))
        self.a1 = Branch(w, w, (1, 1))
        self.a5 = Branch(w, w, (1, 1), (5, 5))
        self.a3 = Branch(w, w, (1, 1), (3, 3), (3, 3))
        self.apool = nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), Branch(w, w, (1, 1)))
        self.reduce3 = Branch(4 * w, 2 * w, (1, 1), (3, 3), stride=2)
        self.reduce_pool = nn.MaxPool2d(3, stride=2)
        self.b1 = Branch(6 * w, 2 * w, (1, 1))
        self.b7 = Branch(6 * w, 2 * w, (1, 1), (1, 7), (7, 1))
        self.b77 = Branch(6 * w, 2 * w, (7, 1), (1, 7), (7, 1), (1, 7))
        self.bpool = nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1), Branch(6 * w, 2 * w, (1, 1)))
        self.dropout = nn.Dropout()
        self.fc = nn.Linear(8 * w, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([self.a1(x), self.a5(x), self.a3(x), self.apool(x)], 1)
        x = torch.cat([self.reduce3(x), self.reduce_pool(x)], 1)
        x = torch.cat([self.b1(x), self.b7(x), self.b77(x), self.bpool(x)], 1)
        return self.fc(self.dropout(F.adaptive_avg_pool2d(x, 1).flatten(1)))
