"""From scores to what goes: counts, not thresholds, so that equal scores do not overshoot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sparsenet.prune.shares import check_share


def ratios_by_layer(ratio: float | Mapping[str, float], layers: Sequence[str]) -> dict[str, float]:
    """The share of each layer, checked. ``layers`` is what a single number stands for."""
    shares = dict(ratio) if isinstance(ratio, Mapping) else dict.fromkeys(layers, ratio)
    check_share("ratio", 0.0 if isinstance(ratio, Mapping) else ratio)
    for name, share in shares.items():
        check_share(f"ratio of {name}", share)
    return shares


def kept(count: int, ratio: float) -> int:
    """int(count * (1 - ratio)), which is what published tables count with, but at least one."""
    # 1e-9: 100 * (1 - 0.43) is 56.99... in binary, and 57 is meant.
    return max(1, int(count * (1 - ratio) + 1e-9))


def dropped_by(scores: Tensor, dead: Tensor, ratio: float) -> Tensor:
    """bool, [units]: those with the smallest scores, the dead ones first, the first of equals first."""
    drop = dead.clone()
    order = torch.argsort(scores.masked_fill(dead, -torch.inf), stable=True)
    drop[order[: len(scores) - kept(len(scores), ratio)]] = True
    return drop


def drop_globally(
    names: Sequence[str], scores: Sequence[Tensor], dead: Sequence[Tensor], ratio: float, max_per_layer: float
) -> list[Tensor]:
    """dropped_by() over all layers together; no layer loses more than ``max_per_layer`` of what it has left, or all."""
    sizes = [len(s) for s in scores]
    total = sum(sizes)
    if total == 0:
        return []
    drops = [d.clone() for d in dead]
    spare = [min(int(max_per_layer * int((~d).sum()) + 1e-9), int((~d).sum()) - 1) for d in dead]
    left = total - kept(total, ratio) - sum(int(d.sum()) for d in dead)
    if left > sum(max(n, 0) for n in spare):
        gone = sum(int(d.sum()) for d in dead) + sum(max(n, 0) for n in spare)
        raise ValueError(
            f"ratio {ratio} cannot be reached: max_per_layer={max_per_layer} and one filter in each layer leave "
            f"at most {gone} of {total} filters ({gone / total:.3f}) to drop in {', '.join(names)}. "
            "Prune less, or again after training: each call takes its share of what is left"
        )
    flat = torch.cat([s.masked_fill(d, torch.inf) for s, d in zip(scores, dead, strict=True)])
    layer = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    for index in torch.argsort(flat, stable=True).tolist():
        if left <= 0:
            break
        at = int(layer[index])
        if spare[at] > 0:
            drops[at][index - starts[at]] = True
            spare[at] -= 1
            left -= 1
    return drops
