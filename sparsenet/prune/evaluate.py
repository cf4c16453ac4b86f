"""Accuracy of a classifier on a loader."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from sparsenet.prune.snapshot import modes_kept

Score = Callable[[nn.Module], float]


@torch.no_grad()
def evaluate(model: nn.Module, loader: Iterable[Any]) -> float:
    """The share of samples, 0 to 1, whose label has the largest output, in eval mode; every mode is put back.

    Args:
        model: outputs [N, classes].
        loader: of batches (x, y) with y integer labels [N].

    Raises:
        ValueError: the loader is empty, or outputs and labels do not fit together.

    Example:
        >>> prune.evaluate(model, test_loader)
        0.9864
    """
    device = device_of(model)
    right = total = 0
    with modes_kept(model):
        model.eval()
        for x, y in loader:
            output = model(x.to(device))
            if output.dim() != 2 or y.shape != output.shape[:1]:
                raise ValueError(
                    f"evaluate takes outputs [N, classes] and labels [N], not {list(output.shape)} and "
                    f"{list(y.shape)}; write your own function of the model for another measure"
                )
            right += int((output.argmax(1) == y.to(device)).sum())
            total += len(y)
    if total == 0:
        raise ValueError("the loader is empty: no sample to evaluate on")
    return right / total


def scorer(judge: Score | Iterable[Any]) -> Score:
    """``judge`` itself if it is a function of the model; of a loader, the accuracy on it."""
    return judge if callable(judge) else lambda model: evaluate(model, judge)


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters are; the CPU if it has none."""
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def call(model: nn.Module, inputs: Any) -> Any:
    """``model`` of a tensor, of several, or of several by name: what `sparsenet.from_torch` takes as an example."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)
