"""The prunings that a report compares, by name: each drops a share of the network, the report measures what it buys."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from torch import nn

from sparsenet import prune

__all__ = ["METHODS", "Method"]


@dataclass(frozen=True)
class Job:
    """What a method is given beside the model. ``retrain`` fine-tunes between two prunings."""

    ratio: float
    example: Any
    skip: Collection[str]
    seed: int
    retrain: Callable[[nn.Module], None]


@dataclass(frozen=True)
class Method:
    """``apply`` prunes a model, in place or as a new one, and returns it."""

    title: str
    apply: Callable[[nn.Module, Job], nn.Module]
    ratios: tuple[float, ...]
    share_of: str = "weights"  # what the ratio counts


def _blocks(model: nn.Module, job: Job) -> nn.Module:
    return prune.blocks(model, job.ratio, (4, 1), skip=job.skip, strict=False)


def _n_m(model: nn.Module, job: Job) -> nn.Module:
    """The shortest pattern with this share of zeros: 0.5 is 2:4, 0.875 is 1:8."""
    for m in (4, 8, 16):
        n = round(m * (1 - job.ratio))
        if n >= 1 and abs(n - m * (1 - job.ratio)) < 1e-9:
            return prune.n_m(model, n, m, skip=job.skip, strict=False)
    raise ValueError(f"no n:m pattern of 4, 8 or 16 inputs has a share of {job.ratio} zeros")


def _filters(model: nn.Module, job: Job) -> nn.Module:
    return prune.filters(model, job.ratio, example=job.example, skip=job.skip)


def _filters_then_weights(model: nn.Module, job: Job) -> nn.Module:
    """A third of the filters, fine-tuned, taken out; then weights, until the ratio of all parameters is gone."""
    whole = prune.parameters(model)
    prune.filters(model, 1 / 3, example=job.example, skip=job.skip)
    job.retrain(model)
    small = prune.shrink(model, job.example)
    share = 1 - (1 - job.ratio) * whole / prune.parameters(small)
    if share <= 0:
        raise ValueError(f"a third of the filters is more than a share of {job.ratio} of the parameters")
    return prune.magnitude(small, share, skip=job.skip)


METHODS: dict[str, Method] = {
    "weights": Method(
        "weights, by magnitude", lambda m, j: prune.magnitude(m, j.ratio, skip=j.skip), (0.5, 0.7, 0.8, 0.9, 0.95)
    ),
    "global": Method(
        "weights, ranked globally",
        lambda m, j: prune.magnitude(m, j.ratio, scope="global", skip=j.skip),
        (0.8, 0.9, 0.95),
    ),
    "random": Method(
        "weights, at random", lambda m, j: prune.random(m, j.ratio, seed=j.seed, skip=j.skip), (0.5, 0.8, 0.9)
    ),
    "blocks": Method("blocks of 4x1", _blocks, (0.5, 0.7, 0.8, 0.9)),
    "nm": Method("N:M", _n_m, (0.5, 0.75, 0.875)),
    "filters": Method("filters, by L1", _filters, (0.2, 0.35, 0.5, 0.65), "filters"),
    "filters+weights": Method("filters, then weights", _filters_then_weights, (0.8, 0.9, 0.95), "parameters"),
}
