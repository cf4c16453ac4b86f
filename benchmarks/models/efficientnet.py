"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-excite, with ReLU6 and TensorFlow's padding.

Parameter names are those of the weights converted from TensorFlow, so they load strictly.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-3


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "SAME": the padding that gives ceil(size / stride), the odd pixel at the end."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = self._missing(x, 0), self._missing(x, 1)
        if height or width:
            x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return super().forward(x)

    def _missing(self, x: Tensor, axis: int) -> int:
        size, stride, kernel = x.shape[2 + axis], self.stride[axis], self.kernel_size[axis]
        return max((-(-size // stride) - 1) * stride + kernel - size, 0)


class MBConv(nn.Module):
    def __init__(self, channels: int, out: int, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = channels * expand
        self.expand = expand != 1
        if self.expand:
            self._expand_conv = nn.Conv2d(channels, hidden, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(hidden, eps=NORM_EPS)
        self._depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self._bn1 = nn.BatchNorm2d(hidden, eps=NORM_EPS)
        self._project_conv = nn.Conv2d(hidden, out, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(out, eps=NORM_EPS)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expand else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """Stem and head keep their width in the Lite models, so `width` scales the blocks only."""

    # expansion, kernel, stride of the first, channels, repeats (Tan & Le, 2019, table 1)
    STAGES = (
        (1, 3, 1, 16, 1),
        (6, 3, 2, 24, 2),
        (6, 5, 2, 40, 2),
        (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    )

    def __init__(self, num_classes: int = 1000, width: float = 1.0) -> None:
        super().__init__()
        channels = 32
        self._conv_stem = SameConv2d(3, channels, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(channels, eps=NORM_EPS)
        blocks = []
        for expand, kernel, stride, full, repeats in self.STAGES:
            out = max(4, int(full * width))
            for i in range(repeats):
                blocks.append(MBConv(channels, out, expand, kernel, stride if i == 0 else 1))
                channels = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(channels, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=NORM_EPS)
        self._dropout = nn.Dropout(0.2)
        self._fc = nn.Linear(1280, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = F.relu6(self._bn1(self._conv_head(x)))
        return self._fc(self._dropout(F.adaptive_avg_pool2d(x, 1).flatten(1)))
