"""The lottery ticket hypothesis: sparse networks that train as well as the dense one, from its own first weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sparsenet.prune.evaluate import Score, scorer
from sparsenet.prune.masks import check_maskable, check_names, mask_of, set_mask, weight_of, weighted
from sparsenet.prune.shares import check_share, keep_largest, prunable
from sparsenet.prune.snapshot import Snapshot, undone_on_error

Masks = dict[str, torch.Tensor]


@dataclass(frozen=True)
class TicketRound:
    """A network that was trained: ``remaining`` weights (share of all), score, what ``train`` returned, its masks."""

    remaining: float
    score: float | None
    result: Any
    masks: Masks


class Lottery:
    """What :func:`lottery_ticket` found: ``rounds[0]`` is the dense network, ``rounds[i]`` was pruned i times."""

    def __init__(self, model: nn.Module, start: Snapshot) -> None:
        self.model = model
        self.rounds: list[TicketRound] = []
        self._start = start

    def ticket(self, number: int) -> nn.Module:
        """The model with the masks of a round and the weights it started from (of all, also the masked ones).

        It is changed in place: deepcopy it if tickets are to live side by side. Make a new optimiser and schedule for
        it: momentum of another run is not part of the ticket.
        """
        masks = self.rounds[number].masks
        self._start.restore()
        _apply(self.model, masks)
        return self.model


def lottery_ticket(
    model: nn.Module | Callable[[], nn.Module],
    train: Callable[..., Any],
    rounds: int,
    *,
    rate: float | Mapping[str, float] = 0.2,
    output_rate: float = 0.1,
    output: str | None = None,
    rewind_step: int = 0,
    evaluate: Score | Iterable[Any] | None = None,
) -> Lottery:
    """Trains, prunes, resets to the first weights, and repeats, in place.

    Frankle & Carbin 2019 ("The lottery ticket hypothesis"): each round prunes ``rate`` of the weights that are left in
    each layer by magnitude, of the output layer ``output_rate``, so that 51 / 21 / 7 / 3.6 % remain of LeNet-300-100
    after 3 / 7 / 12 / 15 rounds. Deep networks find no tickets at their first weights and are rewound to those of an
    early step instead (Frankle et al. 2019, "Stabilizing the lottery ticket hypothesis"). Compare with
    :func:`random_mask` and :func:`random_reinit`: at a large learning rate tickets may have no advantage over them
    (Liu et al. 2019, "Rethinking the value of network pruning").

    Args:
        model: freshly initialised, or as it is to be reset to; or a function that makes one.
        train: called as ``train(model)`` for each round. It makes its own optimiser and schedule, each time anew.
            With ``rewind_step`` k it is called as ``train(model, begin, end)``: first ``(model, 0, k)``, then for each
            round ``(model, k, None)``, which is from step k to the last, the schedule where it is at step k.
        rounds: how often to prune; there is one training more than that.
        rate: share of the remaining weights that a round prunes, 0 <= rate < 1, or one for each layer, by name; layers
            without one stay dense. The paper has 0.1 to 0.15 for convolutions.
        output_rate: the output layer's, if ``rate`` is a number.
        output: name of the output layer; None: the last one defined.
        rewind_step: 0 resets to the first weights, k to those after step k.
        evaluate: a function of the trained model, the higher the better, or a loader to take the accuracy on; for the
            records.

    Returns:
        A :class:`Lottery`: a record and the ticket of each round. The model has the last round's trained weights.

    Raises:
        ValueError: a number out of range, or a name that is no layer. After any error the model is as it was.

    Example:
        >>> found = prune.lottery_ticket(LeNet, train, rounds=7, evaluate=test_loader)
        >>> [f"{r.remaining:.1%}: {r.score:.4f}" for r in found.rounds]
        >>> control = prune.random_mask(found.ticket(7))
        >>> train(control)
    """
    if rounds < 0 or rewind_step < 0:
        raise ValueError(f"rounds and rewind_step are 0 or more, not {rounds} and {rewind_step}")
    if not isinstance(model, nn.Module):
        model = model()
    rates = _rates(model, rate, output_rate, output)
    with undone_on_error(model):
        if rewind_step:
            train(model, 0, rewind_step)
        lottery = Lottery(model, Snapshot(model))
        masks = _masks(model)
        for number in range(rounds + 1):
            result = train(model, rewind_step, None) if rewind_step else train(model)
            score = None if evaluate is None else float(scorer(evaluate)(model))
            total = sum(mask.numel() for mask in masks.values())
            kept = sum(int(mask.sum()) for mask in masks.values())
            lottery.rounds.append(TicketRound(kept / total, score, result, masks))
            if number < rounds:
                masks = {
                    name: _prune_remaining(weight_of(module), masks[name], rates.get(name, 0.0))
                    for name, module in weighted(model)
                }
                lottery._start.restore()
                _apply(model, masks)
    return lottery


def _rates(
    model: nn.Module, rate: float | Mapping[str, float], output_rate: float, output: str | None
) -> dict[str, float]:
    names = [name for name, _ in prunable(model)]
    check_maskable(model, names)
    if isinstance(rate, Mapping):
        check_names(model, "rate", rate)
        rates = dict(rate)
    else:
        if output is not None:
            check_names(model, "output", [output])
        rates = {**dict.fromkeys(names, rate), output or names[-1]: output_rate}
    for name, share in rates.items():
        check_share(f"rate of {name}", share)
    return rates


def _masks(model: nn.Module) -> Masks:
    masks = {}
    for name, module in weighted(model):
        mask = mask_of(module)
        masks[name] = torch.ones_like(weight_of(module), dtype=torch.bool) if mask is None else mask.bool()
    return masks


def _apply(model: nn.Module, masks: Masks) -> None:
    for name, module in weighted(model):
        set_mask(module, "weight", masks[name])


def _prune_remaining(weight: torch.Tensor, mask: torch.Tensor, rate: float) -> torch.Tensor:
    scores = weight.abs().masked_fill(~mask, -1)  # a survivor may be zero, and still is none of the pruned
    remaining = int(mask.sum())
    drop = min(round(rate * remaining), remaining - 1)
    return keep_largest(scores, mask.numel() - remaining + drop)
