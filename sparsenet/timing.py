"""Fair timing on a shared machine: the candidates take turns within one process, and medians are compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sparsenet.apart import at


@dataclass(frozen=True)
class Timing:
    """Seconds of each timed call in order, and the median of each turn: round by round, when others were timed too."""

    seconds: tuple[float, ...]
    turns: tuple[float, ...] = ()

    def percentile(self, percent: float) -> float:
        """Seconds below which this share of the calls stays; 50 is the median."""
        return float(np.percentile(self.seconds, percent))

    @property
    def median(self) -> float:
        return self.percentile(50)

    def over(self, other: Timing) -> float:
        """How many times as long as `other` this takes: the median over the rounds of the ratio of their turns.

        Turns of one round are close in time, so a machine that changes its speed between rounds changes no ratio.
        """
        return float(np.median(np.divide(self.turns, other.turns)))

    def summary(self) -> dict[str, float]:
        """Milliseconds: median, p10, p99; and the number of calls."""
        return {
            "median_ms": 1e3 * self.median,
            "p10_ms": 1e3 * self.percentile(10),
            "p99_ms": 1e3 * self.percentile(99),
            "calls": len(self.seconds),
        }


def interleave(
    candidates: Mapping[str, Callable[[], object]], seconds: float = 2.0, min_rounds: int = 5
) -> dict[str, Timing]:
    """Times the candidates in turn, round after round, until ``seconds`` have gone by.

    A turn is one call that is not counted, to bring the candidate's own data back into the caches, then as many
    counted ones as fit in 10 ms, at least one. The order rotates, so that no candidate always follows the same other.

    Args:
        candidates: name -> a call to time.
        seconds: for all candidates together; at least ``min_rounds`` rounds are made however long they take.

    Example:
        >>> times = interleave({"ours": lambda: engine(x), "torch": lambda: module(t)})
        >>> times["torch"].over(times["ours"])
    """
    names = list(candidates)
    calls = {}
    for name in names:
        at(name, "timed")
        candidates[name]()
        calls[name] = max(1, min(100, int(0.01 / _quickest(candidates[name]))))
    samples: dict[str, list[float]] = {name: [] for name in names}
    turns: dict[str, list[float]] = {name: [] for name in names}
    begin = time.perf_counter()
    rounds = 0
    while rounds < min_rounds or time.perf_counter() - begin < seconds:
        first = rounds % len(names)
        for name in names[first:] + names[:first]:
            call, turn = candidates[name], []
            at(name, "timed")
            call()
            for _ in range(calls[name]):
                start = time.perf_counter()
                call()
                turn.append(time.perf_counter() - start)
            samples[name] += turn
            turns[name].append(float(np.median(turn)))
        rounds += 1
    return {name: Timing(tuple(samples[name]), tuple(turns[name])) for name in names}


def _quickest(call: Callable[[], object]) -> float:
    """Seconds of the fastest of three calls, so that one interruption does not count; of one if it is slow anyway."""
    least = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        call()
        least = min(least, max(time.perf_counter() - start, 1e-9))
        if least > 0.05:
            break
    return least


def cpu_model() -> str:
    """The CPU's name as the system tells it, for reports."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith(("model name", "Model")):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    import platform

    return platform.processor() or platform.machine()
