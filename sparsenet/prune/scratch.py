"""The control that every structured result needs: the small architecture, trained from scratch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

from torch import nn

from sparsenet.prune.lottery_controls import random_reinit

Result = TypeVar("Result")


def from_scratch(
    model: nn.Module,
    train: Callable[[nn.Module], Result],
    seed: int = 0,
    init: Callable[[nn.Module], object] | None = None,
) -> tuple[nn.Module, Result]:
    """Draws a copy of ``model`` anew and trains it; returns it with what ``train`` returned.

    Liu et al. 2019, "Rethinking the Value of Network Pruning": where this does as well as fine-tuning, pruning has
    found an architecture, not weights. Give ``train`` the budget that training and pruning had together; that is their
    Scratch-B.

    Args:
        model: a `shrink`-ed network; it is not changed. With masks it would be the dense one, so they are refused.
        train: takes the module and trains it in place.
        seed: for the initial weights. torch's global generator is put back after drawing them.
        init: initialises a model in place; None: ``reset_parameters()`` of each module.

    Raises:
        ValueError: the model has masks, or ``init`` is None and a module has parameters but no ``reset_parameters()``.

    Example:
        >>> control, history = prune.from_scratch(small, lambda m: prune.finetune(m, loader, epochs=40), seed=1)
    """
    if any(hasattr(module, "parametrizations") for module in model.modules()):
        raise ValueError("from_scratch trains a smaller architecture, and this model has masks: shrink it first")
    fresh = random_reinit(copy.deepcopy(model), seed, init)
    return fresh, train(fresh)
