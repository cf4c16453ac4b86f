"""MobileNet V1, V2 and V3. V2 and V3 use torchvision's parameter names, so its state_dicts load."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from sparsenet.demo.mobilenet import MobileNetV2, divisible

__all__ = ["MobileNetV1", "MobileNetV2", "MobileNetV3"]


def conv_norm(
    channels: int,
    out: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    act: type[nn.Module] | None = nn.ReLU6,
    norm: type[nn.Module] | partial[nn.BatchNorm2d] = nn.BatchNorm2d,
) -> nn.Sequential:
    layers = [nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False), norm(out)]
    return nn.Sequential(*layers) if act is None else nn.Sequential(*layers, act(inplace=True))


class MobileNetV1(nn.Module):
    """Howard et al., 2017: a 3x3 stem and 13 depthwise-separable blocks."""

    # (output channels at width 1, stride of the depthwise convolution)
    BLOCKS = (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
        (1024, 2), (1024, 1),
    )  # fmt: skip

    def __init__(self, num_classes: int = 1000, width: float = 1.0) -> None:
        super().__init__()
        channels = divisible(32 * width)
        layers = [conv_norm(3, channels, 3, 2, act=nn.ReLU)]
        for full, stride in self.BLOCKS:
            out = divisible(full * width)
            layers.append(conv_norm(channels, channels, 3, stride, groups=channels, act=nn.ReLU))
            layers.append(conv_norm(channels, out, act=nn.ReLU))
            channels = out
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class SqueezeExcitation(nn.Module):
    """Scales each channel by hard_sigmoid(fc2(relu(fc1(mean over pixels))))."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeeze, 1)
        self.fc2 = nn.Conv2d(squeeze, channels, 1)
        self.activation = nn.ReLU()
        self.scale_activation = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x))))) * x


# kernel, expanded, out, squeeze-excite, hard-swish, stride (Howard et al., 2019, tables 1 and 2)
V3_LARGE = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
V3_SMALL = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)


class V3Block(nn.Module):
    def __init__(
        self, channels: int, kernel: int, expanded: int, out: int, squeeze: bool, hard_swish: bool, stride: int
    ) -> None:
        super().__init__()
        act = nn.Hardswish if hard_swish else nn.ReLU
        norm = partial(nn.BatchNorm2d, eps=1e-3)
        layers: list[nn.Module] = []
        if expanded != channels:
            layers.append(conv_norm(channels, expanded, act=act, norm=norm))
        layers.append(conv_norm(expanded, expanded, kernel, stride, groups=expanded, act=act, norm=norm))
        if squeeze:
            layers.append(SqueezeExcitation(expanded, divisible(expanded / 4)))
        layers.append(conv_norm(expanded, out, act=None, norm=norm))
        self.block = nn.Sequential(*layers)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.residual else self.block(x)


class MobileNetV3(nn.Module):
    """Howard et al., 2019; `size` is "large" or "small"."""

    def __init__(self, size: str = "large", num_classes: int = 1000, width: float = 1.0) -> None:
        super().__init__()
        table, hidden = {"large": (V3_LARGE, 1280), "small": (V3_SMALL, 1024)}[size]
        norm = partial(nn.BatchNorm2d, eps=1e-3)
        channels = divisible(16 * width)
        layers: list[nn.Module] = [conv_norm(3, channels, 3, 2, act=nn.Hardswish, norm=norm)]
        for kernel, expanded, full, squeeze, hard_swish, stride in table:
            out = divisible(full * width)
            layers.append(V3Block(channels, kernel, divisible(expanded * width), out, squeeze, hard_swish, stride))
            channels = out
        last = 6 * channels
        layers.append(conv_norm(channels, last, act=nn.Hardswish, norm=norm))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        hidden = divisible(hidden * width)
        self.classifier = nn.Sequential(
            nn.Linear(last, hidden), nn.Hardswish(inplace=True), nn.Dropout(0.2), nn.Linear(hidden, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))
