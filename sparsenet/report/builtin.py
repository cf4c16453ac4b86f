"""The built-in studies: real data, networks that one core trains in minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sparsenet import prune
from sparsenet.report import data
from sparsenet.report.study import Study


class LeNet5(nn.Module):
    """x[N, 1, 28, 28] -> logits[N, 10]: LeNet-5 as pruning papers use it, Caffe's 20-50-500, with ReLUs behind the
    pooling, where they cost a quarter."""

    def __init__(self, widths: tuple[int, int, int] = (20, 50, 500)) -> None:
        super().__init__()
        a, b, c = widths
        self.conv1 = nn.Conv2d(1, a, 5)
        self.conv2 = nn.Conv2d(a, b, 5)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(b * 16, c)
        self.fc2 = nn.Linear(c, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.pool(self.conv1(x)))
        x = torch.relu(self.pool(self.conv2(x)))
        y: Tensor = self.fc2(torch.relu(self.fc1(x.flatten(1))))
        return y


class SmallVGG(nn.Module):
    """x[N, channels, size, size] -> logits[N, 10]: five 3x3 convolutions with batch norm, pooling after the 1st, 3rd
    and 5th."""

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


@dataclass(frozen=True)
class _Images:
    """A study on one of `data.NAMES`; ``stem`` is the layer that is left whole."""

    dataset: str
    architecture: Callable[[], nn.Module]
    stem: str
    note: str
    epochs: int = 3
    learning_rate: float = 2e-3

    def __call__(self, name: str, seed: int, folder: Path | None) -> Study:
        found = data.load(self.dataset, folder)
        train = data.Batches(found.train, seed=seed)
        return Study(
            name=name,
            architecture=self.architecture,
            example=found.test.x[:1],
            train=train,
            test=data.Batches(found.test, 500),
            epochs=1,
            learning_rate=self.learning_rate / 2,
            skip=(self.stem,),
            train_dense=lambda model: self._train(model, train, seed),
            seed=seed,
            note=f"{self.note}; {len(found.train)} images to train on, {len(found.test)} to test",
        )

    def _train(self, model: nn.Module, train: data.Batches, seed: int) -> None:
        adam = torch.optim.Adam(model.parameters(), self.learning_rate)
        falling = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.2, self.epochs - 1)
        prune.finetune(model, train, epochs=self.epochs, optimizer=adam, scheduler=falling, seed=seed)


def _digits(name: str, seed: int, folder: Path | None) -> Study:
    """scikit-learn's: ``folder`` is not looked at."""
    from sparsenet.demo import digits

    found = digits.load(seed)
    return Study(
        name=name,
        architecture=digits.DigitsNet,
        example=found.x_test[:1],
        train=data.Batches(data.Split(found.x, found.y), 64, seed),
        test=data.Batches(data.Split(found.x_test, found.y_test), 450),
        epochs=8,
        learning_rate=2e-3,
        skip=("conv1",),
        train_dense=lambda model: digits.train(model, found, 12, 3e-3, seed),
        seed=seed,
        note="a CNN of 150 k parameters on scikit-learn's 8x8 digits; 1347 to train on, 450 held out",
    )


_STUDIES: dict[str, Callable[[str, int, Path | None], Study]] = {
    "digits": _digits,
    "lenet5": _Images("mnist", LeNet5, "conv1", "LeNet-5, 431 k parameters, on MNIST"),
    "vgg": _Images("fashion", SmallVGG, "features.0", "five 3x3 convolutions, 75 k parameters, on Fashion-MNIST"),
}
NAMES = tuple(_STUDIES)


def study(name: str, seed: int = 0, folder: Path | None = None) -> Study:
    """One of `NAMES`; ``folder`` holds the data set of those that need one, see `data.load`, whose errors are raised.

    Example:
        >>> study("digits").example.shape
        torch.Size([1, 1, 8, 8])
    """
    return _STUDIES[name](name, seed, folder)
