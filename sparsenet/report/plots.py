"""Plots over all runs: speed-up against what is gone, accuracy against time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sparsenet.report.analysis import DENSE, Point, break_even, by_method, pareto
from sparsenet.report.style import COLOURS, MARKERS, draw


def speedup(found: Sequence[Point], engine: str) -> str:
    """Speed-up over the fastest engine on the dense network; a diamond on the line of 1 marks each break-even."""
    dense = found[0]

    def paint(axes: Any) -> None:
        from matplotlib.ticker import FuncFormatter, NullLocator

        for method, runs in by_method(found).items():
            x, y = [100 * dense.gone] + [100 * p.gone for p in runs], [dense.overall] + [p.overall for p in runs]
            axes.plot(x, y, color=COLOURS[method], marker=MARKERS[method], label=runs[0].title, markersize=5, lw=1.5)
            share = break_even(runs, dense)
            if share:
                axes.plot([100 * share], [1], marker="d", color="white", markeredgecolor=COLOURS[method], markersize=9)
        axes.axhline(1, color="#222222", lw=1)
        axes.set_yscale("log")
        values = [p.overall for p in found]
        axes.set_ylim(0.85 * min(*values, 1), 1.15 * max(*values, 1))
        steps = [0.1, 0.15, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100]
        axes.set_yticks([s for s in steps if 0.85 * min(*values, 1) <= s <= 1.15 * max(*values, 1)])
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("weights gone, % (for filters: of the whole network)")
        axes.set_ylabel(f"speed-up over the dense network in {engine}")
        axes.set_xlim(0, 100)
        axes.legend(fontsize=8)

    return draw("speed-up", (6.4, 4.2), paint)


def accuracy_against(found: Sequence[Point], cost: Callable[[Point], float], name: str, label: str) -> str:
    """Every run by accuracy and a cost, and the front of those that no other beats in both."""

    def paint(axes: Any) -> None:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        for method in (DENSE, *by_method(found)):
            runs = [p for p in found if p.method == method and p.accuracy is not None]
            x, y = [cost(p) for p in runs], [100 * (p.accuracy or 0) for p in runs]
            size = 130 if method == DENSE else 36
            axes.scatter(x, y, size, color=COLOURS[method], marker=MARKERS[method], label=runs[0].title, zorder=3)
        front = pareto(found, cost)
        # To the right edge: nothing more accurate costs more.
        x = [*(cost(p) for p in front), 1.15 * max(cost(p) for p in found)]
        y = [100 * (p.accuracy or 0) for p in [*front, front[-1]]]
        axes.plot(x, y, color="#222222", lw=1, ls="--", drawstyle="steps-post", label="Pareto front", zorder=2)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7), numticks=12))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(label)
        axes.set_ylabel("accuracy, %")
        lowest = min(100 * (p.accuracy or 0) for p in found)
        highest = max(100 * (p.accuracy or 0) for p in found)
        margin = max(0.5, 0.06 * (highest - lowest))
        axes.set_ylim(lowest - margin, min(highest + margin, 100 + 0.2 * margin))
        axes.legend(loc="lower right", fontsize=8)

    return draw(name, (6.4, 4.2), paint)
