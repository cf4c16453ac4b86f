"""What the numbers say: speed-ups that hold on a noisy machine, break-even points, the Pareto front, the answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparsenet.report.methods import METHODS

DENSE = "dense"
OURS = "sparsenet"


@dataclass(frozen=True)
class Point:
    """One measured run. ``gone`` is the share of the dense network's nonzero weights that it no longer has; ``ms`` is
    the dense network's median over the speed-up, which compares runs that were timed an hour apart."""

    key: str
    method: str
    ratio: float
    accuracy: float | None
    gone: float
    ms: float
    speedup: float  # over sparsenet on the dense network, both in turn in one process
    overall: float  # over the fastest engine on the dense network
    record: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The method, for legends."""
        return "dense" if self.method == DENSE else METHODS[self.method].title


def points(content: Mapping[str, Any]) -> list[Point]:
    """The runs that were measured, the dense one first, each method by rising ratio; empty if that one was not."""
    records: Mapping[str, Any] = content["records"]
    dense = records.get(DENSE, {})
    if "engines" not in dense:
        return []
    # Ratios within one process: the fastest engine is to ours as 1 to this.
    best = min(engine["times_ours"] for engine in dense["engines"].values())
    dense_ms = dense["engines"][OURS]["median_ms"]
    found = []
    for key, record in records.items():
        if "engines" not in record:
            continue
        speedup = 1.0 if key == DENSE else record["speedup_over_dense"]
        found.append(
            Point(
                key,
                record["method"],
                record["ratio"],
                record["accuracy"],
                1 - record["nonzeros"] / dense["nonzeros"],
                dense_ms / speedup,
                speedup,
                speedup * best,
                record,
            )
        )
    methods = [DENSE, *dict.fromkeys(point.method for point in found)]
    return sorted(found, key=lambda point: (methods.index(point.method), point.ratio))


def by_method(found: Iterable[Point]) -> dict[str, list[Point]]:
    """The pruned runs of each method, by the share that is gone."""
    methods: dict[str, list[Point]] = {}
    for point in found:
        if point.method != DENSE:
            methods.setdefault(point.method, []).append(point)
    return {method: sorted(runs, key=lambda point: point.gone) for method, runs in methods.items()}


def fastest_dense_engine(content: Mapping[str, Any]) -> str:
    """The engine that runs the dense network in the least time."""
    engines: Mapping[str, Any] = content["records"][DENSE]["engines"]
    return min(engines, key=lambda name: engines[name]["times_ours"])


def break_even(runs: Sequence[Point], dense: Point) -> float | None:
    """The share gone from which on sparsenet beats the fastest engine on the dense network, between measured points by
    a straight line in the logarithm of the speed-up. 0 if always, None if never up to the largest measured."""
    before = dense
    if all(point.overall >= 1 for point in (dense, *runs)):
        return 0.0
    crossing: float | None = None
    for point in runs:
        if point.overall >= 1 and before.overall < 1:
            low, high = math.log(before.overall), math.log(point.overall)
            crossing = before.gone + (point.gone - before.gone) * (-low / (high - low) if high > low else 1.0)
        elif point.overall < 1:
            crossing = None
        before = point
    return crossing


def pareto(found: Iterable[Point], cost: Callable[[Point], float] = lambda point: point.ms) -> list[Point]:
    """Those that no other beats in both accuracy and cost (the time of a call), the cheapest first."""
    front: list[Point] = []
    best = -math.inf
    for point in sorted(found, key=lambda point: (cost(point), -(point.accuracy or 0.0))):
        if point.accuracy is not None and point.accuracy > best:
            front.append(point)
            best = point.accuracy
    return front


def at_equal_accuracy(found: Sequence[Point], loss: float) -> list[Point]:
    """The fastest run of each method that loses at most ``loss`` (0.01: a point) of the dense accuracy, best first."""
    dense = found[0]
    if dense.accuracy is None:
        return []
    good = [p for p in found[1:] if p.accuracy is not None and p.accuracy >= dense.accuracy - loss]
    best = [max(runs, key=lambda point: point.speedup) for runs in by_method(good).values()]
    return sorted(best, key=lambda point: -point.speedup)


def answer(content: Mapping[str, Any], loss: float = 0.01) -> list[str]:
    """The report in a few sentences."""
    found = points(content)
    if not found:
        return ["The dense network was not measured: " + content["records"].get(DENSE, {}).get("error", "not run yet")]
    dense, name = found[0], fastest_dense_engine(content)
    sentences = []
    equal = at_equal_accuracy(found, loss)
    if equal:
        best = equal[0]
        what = f"{best.title} at {best.ratio:.0%}"
        speeds = [f"{best.speedup:.2f} times as fast as the dense network in sparsenet"]
        speeds += [f"{best.overall:.2f} times as fast as that in {name}"] if name != OURS else []
        smaller = f"in a file {dense.record['snet_bytes'] / best.record['snet_bytes']:.1f} times smaller"
        told = f"{what} is fastest: {', '.join(speeds)}"
        if best.overall < 1:
            told = f"nothing is faster than the dense network in {name}; {what} comes closest: {', '.join(speeds)}"
        sentences.append(
            f"Within {100 * loss:g} point of the dense accuracy ({dense.accuracy:.1%}), {told}, {smaller}."
            + _elsewhere(best)
        )
    elif dense.accuracy is not None:
        sentences.append(f"No pruned network stays within {100 * loss:g} point of the dense accuracy.")
    else:
        sentences.append("Speed only: there was no test data, so nothing is said about accuracy.")
    shares = []
    for runs in by_method(found).values():
        share = break_even(runs, dense)
        what = "always" if share == 0 else f"from {share:.0%}" if share is not None else "never here"
        shares.append(f"{runs[0].title} {what}")
    if shares:
        sentences.append(
            f"Share of the weights that must go before sparsenet beats the dense network in {name}, the fastest engine "
            f"for it here: {'; '.join(shares)}."
        )
    return sentences


def _elsewhere(best: Point) -> str:
    """Which peer runs that very network faster, as one may if it has fewer filters."""
    times: dict[str, float] = {name: engine["times_ours"] for name, engine in best.record["engines"].items()}
    peer = min(times, key=lambda name: times[name])
    return f" {peer} runs that network {1 / times[peer]:.2f} times as fast as sparsenet." if times[peer] < 1 else ""
