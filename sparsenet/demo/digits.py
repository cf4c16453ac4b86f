"""A small CNN on the 8x8 handwritten digits that scikit-learn ships: training, pruning, fine-tuning, scoring."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from sparsenet import prune


@dataclass(frozen=True)
class Digits:
    """Images [n, 1, 8, 8] in [0, 1] and labels [n] in 0..9; 1347 to train on, 450 held out."""

    x: torch.Tensor
    y: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor


def load(seed: int = 0) -> Digits:
    """The data set, split once, with every digit in proportion."""
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    parts = train_test_split(images, labels, test_size=450, stratify=labels, random_state=seed)
    x, x_test, y, y_test = (torch.from_numpy(np.ascontiguousarray(part)) for part in parts)
    return Digits(x, y, x_test, y_test)


class DigitsNet(nn.Module):
    """x[N, 1, 8, 8] -> logits[N, 10]: three convolutions with batch norm, two linear layers, 150 k parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 64, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.conv3 = nn.Conv2d(64, 128, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(128)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(128 * 2 * 2, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.pool(torch.relu(self.bn2(self.conv2(x))))
        x = self.pool(torch.relu(self.bn3(self.conv3(x))))
        y: torch.Tensor = self.fc2(torch.relu(self.fc1(x.flatten(1))))
        return y


def train(model: nn.Module, data: Digits, epochs: int, lr: float, seed: int = 0) -> nn.Module:
    """Adam with a one-cycle learning rate, batches of 64; in place. Masks stay; ``model`` ends in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    batches = -(-len(data.x) // 64)
    optimiser = torch.optim.Adam(model.parameters(), lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=epochs * batches)
    model.train()
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(data.x), generator=generator), 64):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(data.x[rows]), data.y[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return model.eval()


def variants(data: Digits, epochs: int = 12, tune_epochs: int = 6) -> dict[str, nn.Module]:
    """The dense network, and copies pruned by weights (80, 90, 95 %) and by filters (30, 50 %), each fine-tuned."""
    torch.manual_seed(0)
    dense = train(DigitsNet(), data, epochs, 3e-3)
    models: dict[str, nn.Module] = {"dense": dense}
    for sparsity in (0.8, 0.9, 0.95):
        model = prune.magnitude(copy.deepcopy(dense), sparsity, skip=["conv1"])
        models[f"weights {sparsity:.0%}"] = train(model, data, tune_epochs, 3e-3)
    for ratio in (0.3, 0.5):
        model = prune.filters(copy.deepcopy(dense), ratio)
        models[f"filters {ratio:.0%}"] = train(model, data, tune_epochs, 3e-3)
    return models
