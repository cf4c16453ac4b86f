"""The control that every structured result needs: the small architecture, trained from scratch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

Result = TypeVar("Result")


def from_scratch(model: nn.Module, train: Callable[[nn.Module], Result], seed: int = 0) -> tuple[nn.Module, Result]:
    """Draws a copy of ``model`` anew and trains it; returns it with what ``train`` returned.

    Liu et al. 2019, "Rethinking the Value of Network Pruning": where this does as well as fine-tuning, pruning has
    found an architecture, not weights. Give ``train`` the budget that training and pruning had together; that is their
    Scratch-B.

    Args:
        model: a `shrink`-ed network; it is not changed. With masks it would be the dense one, so they are refused.
        train: takes the module and trains it in place.
        seed: for the initial weights. torch's global generator is put back after drawing them.

    Raises:
        ValueError: the model has masks, or a module holds parameters and has no ``reset_parameters()``.

    Example:
        >>> control, history = prune.from_scratch(small, lambda m: prune.finetune(m, loader, epochs=40), seed=1)
    """
    if any(hasattr(module, "parametrizations") for module in model.modules()):
        raise ValueError("from_scratch trains a smaller architecture, and this model has masks: shrink it first")
    fresh = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, module in fresh.named_modules():
            reset: Any = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
            elif any(True for _ in module.parameters(recurse=False)):
                raise ValueError(
                    f"{name or type(module).__name__} holds parameters and has no reset_parameters() to draw them "
                    "anew; write one that does"
                )
    return fresh, train(fresh)
