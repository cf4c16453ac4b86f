"""A training loop for those who need none of their own: retraining what pruning left."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sized
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from sparsenet.prune.evaluate import Score, device_of, scorer
from sparsenet.prune.masks import mask_of, weighted
from sparsenet.prune.progress import progress_line
from sparsenet.prune.snapshot import Snapshot, modes_kept, undone_on_error


@dataclass
class History:
    """What happened, epoch by epoch. ``best`` is the epoch (from 0) whose weights the model has, None for the last."""

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best: int | None = None
    stopped_early: bool = False


def finetune(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    epochs: int,
    optimizer: Optimizer | Callable[[Any], Optimizer] | None = None,
    loss: Callable[[Any, Any], torch.Tensor] | None = None,
    scheduler: Any = None,
    evaluate: Score | Iterable[Any] | None = None,
    patience: int | None = None,
    before_step: Callable[[], Any] | None = None,
    after_step: Callable[[], Any] | None = None,
    seed: int | None = 0,
    progress: bool | None = None,
) -> History:
    """Trains ``model`` in place. Masks hold: a pruned weight stays zero under every optimiser.

    Han et al. 2015 retrain at a tenth to a hundredth of the first learning rate; the default is Adam at 1e-3. Ctrl-C
    leaves a model that works, with the weights of the best epoch if ``patience`` is given, and goes on up as usual.

    Args:
        model: the network; its modules are put in training mode meanwhile, then back into the mode they had.
        loader: of batches (x, y), moved to the model's device. A loader with a generator of its own, or with workers
            that draw random numbers, is the caller's to seed.
        epochs: passes over the loader, at least 1.
        optimizer: of the model's parameters, or a function that makes one from them, as
            ``lambda p: torch.optim.SGD(p, 0.01, momentum=0.9)``.
        loss: of (output, y); cross entropy if None.
        scheduler: with a ``step()`` called after each epoch, or a function that makes one from the optimizer.
        evaluate: a function of the model, the higher the better, or a loader to take the accuracy on; after each epoch.
        patience: stop after this many epochs without a better score, and end with the weights of the best. Pruning
            meanwhile (:class:`Gradual` in ``after_step``) starts the comparison anew: a denser net is no rival.
        before_step: called between backward and the optimizer's step, for terms added to gradients.
        after_step: called after each step of the optimizer, such as ``pruner.step``.
        seed: of dropout and the loader's order. The caller's random state is put back. None: draw from that state.
        progress: a bar on stderr; None: where stderr is a terminal.

    Returns:
        Mean loss of each epoch, and its score if ``evaluate`` is given.

    Raises:
        ValueError: an empty loader, a number out of range, an optimizer of another model's parameters.
        FloatingPointError: the loss is not finite. As after any other error, the model is as it was.

    Example:
        >>> prune.magnitude(model, 0.9)
        >>> history = prune.finetune(model, train_loader, epochs=10, evaluate=validation_loader, patience=3)
    """
    if epochs < 1:
        raise ValueError(f"epochs is a number of passes over the loader, at least 1, not {epochs}")
    if patience is not None and (patience < 1 or evaluate is None):
        raise ValueError("patience is a number of epochs, at least 1, and needs evaluate= to compare them")
    batches = len(loader) if isinstance(loader, Sized) else None
    if batches == 0:
        raise ValueError("the loader is empty: nothing to train on")
    if not isinstance(optimizer, Optimizer):
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not trained:
            raise ValueError("all parameters are frozen: nothing to train; call requires_grad_() on some of them")
        optimizer = optimizer(trained) if optimizer else torch.optim.Adam(trained, 1e-3)
    _check_owner(optimizer, model)
    if scheduler is not None and not hasattr(scheduler, "step"):
        scheduler = scheduler(optimizer)
    score = None if evaluate is None else scorer(evaluate)
    history = History()
    best = _Best(model, patience)
    total = None if batches is None else epochs * batches
    epoch = _Epoch(model, optimizer, loss or nn.functional.cross_entropy, before_step, after_step)
    random_state = nullcontext() if seed is None else torch.random.fork_rng(devices=[])
    with undone_on_error(model), modes_kept(model), random_state, progress_line(progress, total) as advance:
        if seed is not None:
            torch.manual_seed(seed)
        try:
            for number in range(epochs):
                history.losses.append(epoch.run(loader, advance, f"epoch {number + 1}/{epochs}"))
                if scheduler is not None:
                    scheduler.step()
                if score is not None:
                    history.scores.append(score(model))
                    if best.is_enough(history.scores[-1], number):
                        history.stopped_early = number + 1 < epochs
                        break
        finally:
            history.best = best.restore()
    return history


class _Epoch:
    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        loss: Callable[[Any, Any], torch.Tensor],
        before: Callable[[], Any] | None,
        after: Callable[[], Any] | None,
    ) -> None:
        self._model, self._optimizer, self._loss = model, optimizer, loss
        self._before, self._after = before, after
        self._device = device_of(model)

    def run(self, loader: Iterable[Any], advance: Callable[[str], None], title: str) -> float:
        self._model.train()
        total, samples = 0.0, 0
        for x, y in loader:
            self._optimizer.zero_grad()
            loss = self._loss(self._model(x.to(self._device)), y.to(self._device))
            value = float(loss.detach())
            if not math.isfinite(value):
                raise FloatingPointError(f"the loss is {value} after {samples} samples: lower the learning rate")
            loss.backward()  # type: ignore[no-untyped-call]
            if self._before is not None:
                self._before()
            self._optimizer.step()
            if self._after is not None:
                self._after()
            total += value * len(y)
            samples += len(y)
            advance(f"{title} loss {total / samples:.4f}")
        if samples == 0:
            raise ValueError("the loader is empty: nothing to train on")
        return total / samples


class _Best:
    """The best epoch so far and its weights, among those with the same masks."""

    def __init__(self, model: nn.Module, patience: int | None) -> None:
        self._model, self._patience = model, patience
        self._score, self._epoch = -math.inf, -1
        self._kept = -1
        self._snapshot: Snapshot | None = None

    def is_enough(self, score: float, epoch: int) -> bool:
        """Takes an epoch's score in; True if there was none better for as long as patience lasts."""
        if self._patience is None:
            return False
        masks = [mask_of(module) for _, module in weighted(self._model)]
        kept = sum(int(mask.sum()) for mask in masks if mask is not None)
        if score > self._score or kept != self._kept or self._snapshot is None:
            self._score, self._epoch, self._kept, self._snapshot = score, epoch, kept, Snapshot(self._model)
            return False
        return epoch - self._epoch >= self._patience

    def restore(self) -> int | None:
        """Gives the model the best epoch's weights; which epoch that was."""
        if self._snapshot is None:
            return None
        self._snapshot.restore()
        return self._epoch


def _check_owner(optimizer: Optimizer, model: nn.Module) -> None:
    owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not any(id(parameter) in owned for parameter in model.parameters()):
        raise ValueError(
            "the optimizer holds none of the model's parameters: make it from this model, or pass a function that "
            "makes it, such as lambda p: torch.optim.SGD(p, 0.01)"
        )
