"""From which share of zeros on is it worth it? One line out of a sweep's ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence


def break_even(points: Sequence[tuple[float, float]]) -> float | None:
    """The share of zeros from which on we are the faster one, or None if that is not so even at the last.

    Args:
        points: (share of zeros, their time over ours), by rising share. Between two points the logarithm of the ratio
            is taken for linear.

    >>> break_even([(0.0, 0.5), (0.5, 1.0), (0.9, 4.0)])
    0.5
    >>> break_even([(0.0, 1.2), (0.9, 4.0)])
    0.0
    """
    if not points or points[-1][1] < 1:
        return None
    last = points[-1]
    for share, ratio in reversed(points[:-1]):
        if ratio < 1:
            below, above = math.log(ratio), math.log(last[1])
            return share - (last[0] - share) * below / (above - below)
        last = (share, ratio)
    return last[0]


def answer(points: Sequence[tuple[float, float]], rival: str) -> str:
    """The line that says it. `rival` is who we are compared with.

    >>> answer([(0.0, 0.5), (0.5, 1.0), (0.9, 4.0)], "onnxruntime")
    'worth it from about 50 % zeros on: then sparsenet is faster than onnxruntime; at 90 % by 4.0x'
    """
    share = break_even(points)
    if not points:
        return "nothing to compare with"
    end, ratio = points[-1]
    if share is None:
        return f"not worth it up to {end:.0%} zeros: {rival} is {1 / ratio:.2f}x faster there".replace("%", " %")
    if share == points[0][0]:
        text = f"worth it at every share measured, {share:.0%} to {end:.0%}: sparsenet is faster than {rival} by"
        return f"{text} {points[0][1]:.1f}x to {ratio:.1f}x".replace("%", " %")
    text = f"worth it from about {share:.0%} zeros on: then sparsenet is faster than {rival}"
    return f"{text}; at {end:.0%} by {ratio:.1f}x".replace("%", " %")
