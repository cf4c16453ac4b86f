"""What a report is about: a network, its data, and which prunings to try."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from sparsenet.report.methods import METHODS

__all__ = ["Study"]


@dataclass(frozen=True)
class Study:
    """One network and how it is to be pruned.

    Args:
        name: for headings.
        architecture: makes the network, new each time; trained, unless ``train_dense`` is given.
        example: an input of batch 1; its shape is what latency is measured on.
        train: batches (x, y) to fine-tune on, read once an epoch; None: nothing is fine-tuned.
        test: batches (x, y), y labels, to take the accuracy on; None: only speed is measured, and the report says so.
        methods: method -> ratios, see `sparsenet.report.methods`.
        epochs: of fine-tuning after each pruning.
        learning_rate: of Adam, for that.
        skip: names of layers to leave whole, such as the first convolution.
        train_dense: trains a new network in place.
        seed: of everything random.
        note: where network and data come from, in a sentence.
    """

    name: str
    architecture: Callable[[], nn.Module]
    example: torch.Tensor
    train: Iterable[Any] | None = None
    test: Iterable[Any] | None = None
    methods: Mapping[str, tuple[float, ...]] = field(
        default_factory=lambda: {name: method.ratios for name, method in METHODS.items()}
    )
    epochs: int = 5
    learning_rate: float = 1e-3
    skip: tuple[str, ...] = ()
    train_dense: Callable[[nn.Module], object] | None = None
    seed: int = 0
    note: str = ""

    def settings(self) -> dict[str, Any]:
        """What a stored result depends on, as JSON can hold it; a run is only continued under the same settings."""
        return {
            "name": self.name,
            "example": list(self.example.shape),
            "epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "skip": list(self.skip),
            "seed": self.seed,
            "fine_tuned": self.train is not None,
            "scored": self.test is not None,
        }
