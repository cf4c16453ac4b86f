"""The networks that tests and benchmarks run, by name.

    model = create("resnet50")                    # torch defaults; load a torchvision state_dict if you have one
    model = seeded_init(create("vgg16", width=0.25), seed=0)
    sparsify(model, 0.9, seed=1)
    x = torch.randn(1, *input_shape("resnet50"))

Each also has a small form, the same architecture narrowed until a test can afford it (DenseNet is shortened, too):
create_small("vgg16").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from .branched import DenseNet, InceptionNet, ShuffleNetV2, SqueezeNet
from .classic import VGG, AlexNet, Conv1dNet, LeNet5, mlp
from .efficientnet import EfficientNetLite0
from .mobilenet import MobileNetV1, MobileNetV2, MobileNetV3
from .prune import PATTERNS, measure_batch_norm, seeded_init, sparsify
from .resnet import CifarResNet, resnet18, resnet50

__all__ = [
    "PATTERNS",
    "create",
    "create_small",
    "input_shape",
    "measure_batch_norm",
    "names",
    "seeded_init",
    "sparsify",
]

IMAGE = (3, 224, 224)
CIFAR = (3, 32, 32)
MNIST = (1, 28, 28)


@dataclass(frozen=True)
class Entry:
    make: Callable[..., nn.Module]
    shape: tuple[int, ...]  # of one sample
    small_shape: tuple[int, ...]
    small: dict[str, Any] = field(default_factory=dict)


_SMALL = {"num_classes": 20}
_REGISTRY: dict[str, Entry] = {
    "lenet300_100": Entry(mlp, MNIST, MNIST),
    "lenet5": Entry(LeNet5, MNIST, MNIST),
    "mlp": Entry(partial(mlp, (256, 1024, 1024, 512, 10)), (256,), (256,)),
    "conv1d": Entry(Conv1dNet, (4, 256), (4, 64)),
    "alexnet": Entry(AlexNet, IMAGE, (3, 67, 67), {"width": 0.125, **_SMALL}),
    "vgg11": Entry(partial(VGG, 11), IMAGE, CIFAR, {"width": 0.125, **_SMALL}),
    "vgg11_bn": Entry(partial(VGG, 11, True), IMAGE, CIFAR, {"width": 0.125, **_SMALL}),
    "vgg16": Entry(partial(VGG, 16), IMAGE, CIFAR, {"width": 0.125, **_SMALL}),
    "vgg16_bn": Entry(partial(VGG, 16, True), IMAGE, CIFAR, {"width": 0.125, **_SMALL}),
    "resnet18": Entry(resnet18, IMAGE, (3, 64, 64), {"width": 0.25, **_SMALL}),
    "resnet50": Entry(resnet50, IMAGE, (3, 64, 64), {"width": 0.25, **_SMALL}),
    "resnet20": Entry(partial(CifarResNet, 20), CIFAR, CIFAR),
    "resnet56": Entry(partial(CifarResNet, 56), CIFAR, (3, 16, 16)),
    "resnet110": Entry(partial(CifarResNet, 110), CIFAR, (3, 16, 16), {"width": 8}),
    "mobilenet_v1": Entry(MobileNetV1, IMAGE, (3, 64, 64), {"width": 0.25, **_SMALL}),
    "mobilenet_v2": Entry(MobileNetV2, IMAGE, (3, 64, 64), {"width": 0.35, **_SMALL}),
    "mobilenet_v3_large": Entry(partial(MobileNetV3, "large"), IMAGE, (3, 64, 64), {"width": 0.35, **_SMALL}),
    "mobilenet_v3_small": Entry(partial(MobileNetV3, "small"), IMAGE, (3, 64, 64), {"width": 0.5, **_SMALL}),
    "efficientnet_lite0": Entry(EfficientNetLite0, IMAGE, (3, 64, 64), {"width": 0.35, **_SMALL}),
    "squeezenet": Entry(SqueezeNet, IMAGE, (3, 66, 66), {"width": 0.5, **_SMALL}),
    "shufflenet_v2": Entry(ShuffleNetV2, IMAGE, (3, 64, 64), {"channels": (24, 48, 96, 192, 256), **_SMALL}),
    "densenet121": Entry(DenseNet, IMAGE, (3, 64, 64), {"growth": 8, "stem": 16, "depths": (3, 6, 8, 4), **_SMALL}),
    "inception": Entry(InceptionNet, IMAGE, (3, 75, 75), {"width": 8, **_SMALL}),
}


def names() -> list[str]:
    """Every network's name."""
    return list(_REGISTRY)


def _entry(name: str) -> Entry:
    if name not in _REGISTRY:
        raise KeyError(f"no network {name!r}; there are {', '.join(_REGISTRY)}")
    return _REGISTRY[name]


def input_shape(name: str, small: bool = False) -> tuple[int, ...]:
    """The shape of one input sample, without the batch axis."""
    return _entry(name).small_shape if small else _entry(name).shape


def create(name: str, **kwargs: Any) -> nn.Module:
    """A new network in eval mode with torch's default weights; `kwargs` go to its constructor (num_classes, width)."""
    entry = _entry(name)
    return _noted(entry.make(**kwargs), entry.shape)


def create_small(name: str) -> nn.Module:
    """The small form of a network, for inputs of `input_shape(name, small=True)`."""
    entry = _entry(name)
    return _noted(entry.make(**entry.small), entry.small_shape)


def _noted(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    model.input_shape = shape
    return model.eval()
