"""How much accuracy each layer costs on its own: the scan that proposes a ratio for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from sparsenet.errors import GraphError
from sparsenet.prune.evaluate import Score, scorer
from sparsenet.prune.magnitude import magnitude
from sparsenet.prune.masks import check_names, weighted
from sparsenet.prune.progress import progress_line
from sparsenet.prune.shares import check_share
from sparsenet.prune.snapshot import Snapshot

_RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Sensitivity:
    """``scores[layer][i]`` is the score with ``ratios[i]`` of that layer alone pruned; ``baseline`` with nothing."""

    baseline: float
    ratios: tuple[float, ...]
    scores: dict[str, tuple[float, ...]]

    def propose(self, max_drop: float) -> dict[str, float]:
        """For each layer the largest ratio that, like all smaller ones, costs at most ``max_drop`` of the score.

        Layers that bear none are left out. Drops add up over layers, about: retrain, or ask for less.
        """
        if max_drop < 0:
            raise ValueError(f"max_drop is how much score may be lost, 0 or more, not {max_drop}")
        shares = {}
        for name, scores in self.scores.items():
            borne = 0.0
            for ratio, score in zip(self.ratios, scores, strict=True):
                if self.baseline - score > max_drop:
                    break
                borne = ratio
            if borne > 0:
                shares[name] = borne
        return shares

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        width = max([len("layer"), *map(len, self.scores)])
        head = " ".join(f"{ratio:>7.0%}" for ratio in self.ratios)
        lines = [f"{'layer':<{width}} {head}   (nothing pruned: {self.baseline:.4f})"]
        for name, scores in self.scores.items():
            lines.append(f"{name:<{width}} " + " ".join(f"{score:7.4f}" for score in scores))
        return "\n".join(lines)


def sensitivity(
    model: nn.Module,
    evaluate: Score | Iterable[Any],
    ratios: Sequence[float] = _RATIOS,
    *,
    method: Callable[[nn.Module, dict[str, float]], Any] = magnitude,
    layers: Sequence[str] | None = None,
    progress: bool | None = None,
) -> Sensitivity:
    """Prunes one layer at a time at each ratio, without retraining, and scores the model; it is put back every time.

    Li et al. 2017 ("Pruning filters for efficient ConvNets", section 3.2 and figure 2b) with ``method=prune.filters``.

    Args:
        model: as it is, it is the baseline.
        evaluate: a function of the model, the higher the better, or a loader to take the accuracy on.
        ratios: shares to try, 0 <= ratio < 1; sorted.
        method: takes the model and ``{layer: ratio}``: :func:`magnitude`, :func:`filters`, :func:`blocks`, ...
        layers: names to scan; None: all convolutions and linear layers that ``method`` takes.
        progress: a bar on stderr; None: where stderr is a terminal.

    Raises:
        ValueError: a ratio out of range, none at all, or a name that is no layer.

    Example:
        >>> scan = prune.sensitivity(model, validation_loader)
        >>> prune.magnitude(model, scan.propose(max_drop=0.01))
    """
    score, ratios = scorer(evaluate), tuple(sorted(ratios))
    if not ratios:
        raise ValueError("ratios is empty: give shares to try, such as (0.5, 0.9)")
    for ratio in ratios:
        check_share("ratio", ratio)
    if layers is not None:
        check_names(model, "layers", layers)
    snapshot = Snapshot(model)
    refusals: dict[str, Exception] = {}
    for name, _ in weighted(model):  # all of them first: an evaluation may take minutes
        if layers is None or name in layers:
            try:
                method(model, {name: ratios[0]})
            except (ValueError, GraphError) as refusal:
                refusals[name] = refusal
            finally:
                snapshot.restore()
    names = [name for name, _ in weighted(model) if (layers is None or name in layers) and name not in refusals]
    if refusals and (layers is not None or not names):
        raise next(iter(refusals.values()))
    scores: dict[str, tuple[float, ...]] = {}
    with progress_line(progress, len(names) * len(ratios)) as advance:
        try:
            baseline = float(score(model))
            for name in names:
                row = []
                for ratio in ratios:
                    snapshot.restore()
                    method(model, {name: ratio})
                    row.append(float(score(model)))
                    advance(f"{name} {ratio:.0%}: {row[-1]:.4f}")
                scores[name] = tuple(row)
        finally:
            snapshot.restore()
    return Sensitivity(baseline, ratios, scores)
