"""Prune, retrain, prune more."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from sparsenet.prune.magnitude import magnitude
from sparsenet.prune.masks import sparsity
from sparsenet.prune.snapshot import undone_on_error


@dataclass(frozen=True)
class Round:
    """One round: what was asked for, the share of zeros after it, and what the fine-tuning returned."""

    target: Any
    sparsity: float
    result: Any


def iterative(
    model: nn.Module,
    targets: Iterable[Any],
    finetune: Callable[[nn.Module], Any],
    method: Callable[[nn.Module, Any], Any] = magnitude,
) -> list[Round]:
    """For each target in turn: ``method(model, target)``, then ``finetune(model)``. One target is one-shot pruning.

    Han et al. 2015 (section 3.4) reach 9x on AlexNet this way where one shot reaches 5x. Each round goes on from the
    weights of the last, and the zeros of the last are among its own.

    Args:
        model: pruned and trained in place.
        targets: what ``method`` takes: shares of zeros in rising order, dicts of such shares, or multiples q for
            :func:`threshold`.
        finetune: trains the model, as :func:`prune.finetune` does; what it returns is kept.
        method: :func:`magnitude`, :func:`threshold`, :func:`blocks`, or your own function of (model, target).

    Returns:
        A :class:`Round` for each target.

    Raises:
        ValueError: no targets, or numbers that do not rise. After any error the model is as it was.

    Example:
        >>> rounds = prune.iterative(model, [0.5, 0.75, 0.9], lambda m: prune.finetune(m, loader, epochs=3))
    """
    targets = list(targets)
    if not targets:
        raise ValueError("targets is empty: give at least one share of zeros, such as [0.9]")
    numbers = [target for target in targets if isinstance(target, (int, float))]
    if any(b <= a for a, b in itertools.pairwise(numbers)):
        raise ValueError(f"targets must rise, for what is pruned stays pruned; got {targets}")
    rounds = []
    with undone_on_error(model):
        for target in targets:
            method(model, target)
            rounds.append(Round(target, sparsity(model), finetune(model)))
    return rounds
