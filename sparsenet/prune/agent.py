"""A learned pruner, in the manner of Huang et al. 2018, "Learning to Prune Filters in CNNs" (WACV)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsenet.prune.criteria import rows
from sparsenet.prune.evaluate import Score, scorer
from sparsenet.prune.filters import select
from sparsenet.prune.groups import Group, Structure
from sparsenet.prune.masking import mask_units
from sparsenet.prune.snapshot import Snapshot, undone_on_error


@dataclass(frozen=True)
class LayerRecord:
    """One layer's training: rewards of all episodes, in order, and what was kept.

    `accuracy` is that of the model once the layer is pruned, before any fine-tuning.
    """

    layer: str
    rewards: tuple[float, ...]
    kept: int
    total: int
    accuracy: float


class PruningAgent(nn.Module):
    """The policy of one layer: from the filters' weights to the probability of keeping each.

    Every filter goes through the same two linear layers, so the probabilities follow from the weights alone. Weights
    are scaled by the layer's standard deviation. The last bias starts at 1, hence near 0.73: keeping most.
    """

    def __init__(self, weights: int, hidden: int = 24) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(weights, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        last = self.body[2]
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias, 1.0)

    def forward(self, filters: Tensor) -> Tensor:
        """[filters, weights] -> logits, [filters]."""
        logits: Tensor = self.body(filters / filters.std().clamp_min(1e-12)).squeeze(1)
        return logits


def reward(accuracy: float, dense: float, bound: float, kept: int, total: int) -> float:
    """(1 - (dense - accuracy) / bound) * log(total / kept): the paper's equations 3 to 5.

    The first factor turns negative once accuracy drops by more than ``bound``; the second grows with what is pruned.

    >>> round(reward(0.90, dense=0.90, bound=0.02, kept=5, total=10), 3)
    0.693
    """
    return (1 - (dense - accuracy) / bound) * math.log(total / kept)


def learn_filters(
    model: nn.Module,
    evaluate: Score | Iterable[Any],
    example: Any,
    *,
    bound: float = 0.02,
    episodes: int = 60,
    batch: int = 5,
    lr: float = 0.03,
    layers: Sequence[str] | None = None,
    finetune: Callable[[nn.Module], Any] | None = None,
    seed: int = 0,
) -> list[LayerRecord]:
    """Prunes filters, layer by layer and in place, as a policy decides that REINFORCE trains on the accuracy itself.

    For each layer an agent draws which filters to keep; `reward` of the accuracy that is left tells it how good that
    was. Unlike the criteria of `filters` it finds each layer's share itself, and it pays for that: ``episodes``
    evaluations a layer, so let ``evaluate`` take a small validation set, not the test set. In the end the most probable
    filters are kept, or, if a draw had a better reward, that one's.

    Args:
        model: pruned in place; layers go together as in `groups`.
        evaluate: a function of the model, its accuracy from 0 to 1, or a loader to take it on.
        example: as for `sparsenet.from_torch`.
        bound: the drop of accuracy, for each layer, at which the reward turns negative (the paper's b), > 0.
        episodes: draws a layer.
        batch: draws for each step of the policy; their mean reward is the baseline.
        lr: of the policy's Adam.
        layers: names of the convolutions to prune, by default all whose channels can be cut.
        finetune: called with the model after each layer, as the paper does.
        seed: for policies and draws.

    Raises:
        ValueError: an unknown layer, or a number out of range. The model is then as it was.

    Example:
        >>> records = prune.learn_filters(model, validation_loader, x, bound=0.02)
        >>> [(r.layer, r.kept, r.total) for r in records]
    """
    if not bound > 0 or batch < 2 or episodes < batch:
        raise ValueError(f"bound > 0 and 2 <= batch <= episodes, not {bound}, {batch} and {episodes}")
    structure = Structure(model, example)
    ratio: Any = 0.0 if layers is None else dict.fromkeys(layers, 0.0)
    groups = [group for group, _ in select(model, structure, ratio, ())]
    rng = torch.Generator().manual_seed(seed)
    records = []
    with undone_on_error(model):
        for group in groups:
            records.append(_learn_layer(model, scorer(evaluate), group, bound, episodes, batch, lr, rng))
            if finetune is not None:
                finetune(model)
    return records


def _learn_layer(
    model: nn.Module,
    evaluate: Score,
    group: Group,
    bound: float,
    episodes: int,
    batch: int,
    lr: float,
    rng: torch.Generator,
) -> LayerRecord:
    filters = _filters(model, group)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=rng)))
        agent = PruningAgent(filters.shape[1])
    optimiser = torch.optim.Adam(agent.parameters(), lr)
    before = Snapshot(model)
    dense = evaluate(model)

    def play(keep: Tensor) -> tuple[float, float]:
        mask_units(model, [group], [~keep], keep_shift=False)
        accuracy = evaluate(model)
        before.restore()
        return reward(accuracy, dense, bound, int(keep.sum()), group.size), accuracy

    rewards: list[float] = []
    best, best_keep = -math.inf, torch.ones(group.size, dtype=torch.bool)
    while len(rewards) < episodes:
        logits = agent(filters)
        draws = [_draw(logits.detach(), rng) for _ in range(batch)]
        got = torch.tensor([play(keep)[0] for keep in draws])
        rewards += got.tolist()
        if float(got.max()) > best:
            best, best_keep = float(got.max()), draws[int(got.argmax())]
        advantage = (got - got.mean()) / got.std().clamp_min(1e-6)
        actions = torch.stack(draws).float()
        log_likelihood = -nn.functional.binary_cross_entropy_with_logits(
            logits.expand_as(actions), actions, reduction="none"
        ).mean(1)
        optimiser.zero_grad()
        (-(advantage * log_likelihood).mean()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        logits = agent(filters)
    likely = logits > 0
    likely[logits.argmax()] = True
    keep = likely if play(likely)[0] >= best else best_keep
    mask_units(model, [group], [~keep], keep_shift=False)
    return LayerRecord(group.name, tuple(rewards), int(keep.sum()), group.size, evaluate(model))


def _filters(model: nn.Module, group: Group) -> Tensor:
    """[units, weights]: of the layers that judge, side by side; a unit of several channels has their mean."""
    parts = []
    for member in group.producers:
        if member.layer in group.judged_by:
            weights = rows(model.get_submodule(member.layer)).cpu()
            mine = torch.from_numpy(member.units)
            total = torch.zeros(group.size, weights.shape[1]).index_add_(0, mine[mine >= 0], weights[mine >= 0])
            parts.append(total / torch.bincount(mine[mine >= 0], minlength=group.size)[:, None].clamp_min(1))
    return torch.cat(parts, 1)


def _draw(logits: Tensor, rng: torch.Generator) -> Tensor:
    keep = torch.rand(logits.shape, generator=rng) < logits.sigmoid()
    keep[int(logits.argmax())] |= not bool(keep.any())  # a layer without filters would cut the network
    return keep
