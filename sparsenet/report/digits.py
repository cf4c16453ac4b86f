"""The built-in study: a small CNN on scikit-learn's digits. Seconds to train, nothing to download."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from sparsenet.demo import digits
from sparsenet.report.study import Study


@dataclass(frozen=True)
class Batches:
    """Batches of (x, y), shuffled anew at each pass by torch's own random state if ``shuffle``."""

    x: torch.Tensor
    y: torch.Tensor
    size: int = 64
    shuffle: bool = False

    def __len__(self) -> int:
        return -(-len(self.x) // self.size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        order = torch.randperm(len(self.x)) if self.shuffle else torch.arange(len(self.x))
        for rows in torch.split(order, self.size):
            yield self.x[rows], self.y[rows]


def study(seed: int = 0) -> Study:
    """The study of `sparsenet report digits`."""
    data = digits.load(seed)
    return Study(
        name="digits",
        architecture=digits.DigitsNet,
        example=data.x_test[:1],
        train=Batches(data.x, data.y, shuffle=True),
        test=Batches(data.x_test, data.y_test, 450),
        epochs=8,
        learning_rate=2e-3,
        skip=("conv1",),
        train_dense=lambda model: digits.train(model, data, 12, 3e-3, seed),
        seed=seed,
        note="a CNN of 150 k parameters on scikit-learn's 8x8 digits; 1347 to train on, 450 held out",
    )
