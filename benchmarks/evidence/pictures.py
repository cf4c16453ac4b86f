"""The picture of `benchmarks.evidence.criteria`: a row a network, a column a kind of cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.evidence.plots import COLORS, MARKERS, log_axis, picture

COSTS = (("macs", "million multiply-adds", 1e-6), ("bytes", ".snet, kB", 1e-3), ("latency_ms", "ms an image", 1.0))


def criteria_picture(means: list[dict[str, Any]], path: Path, caption: str) -> None:
    """Points of test accuracy lost, after retraining, against each cost; a column that was not measured is left out."""
    nets = list(dict.fromkeys(row["net"] for row in means))
    costs = [cost for cost in COSTS if all(row[cost[0]] is not None for row in means)]
    methods = list(dict.fromkeys(row["method"] for row in means))
    controls = [method for method in methods if method.startswith("scratch")]

    def draw(axes: list[Any]) -> None:
        panels = iter(axes)
        for net in nets:
            for key, label, unit in costs:
                ax = next(panels)
                for number, method in enumerate(methods):
                    points = sorted((unit * row[key], -row["lost"]) for row in means
                                    if row["net"] == net and row["method"] == method)
                    hollow = method in controls
                    style = {"mfc": "none"} if hollow else {}
                    color = "#000000" if hollow or method == "dense" else COLORS[number % len(COLORS)]
                    line = ":" if hollow else "-"
                    turn = controls.index(method) if hollow else number + number // len(COLORS)  # no two alike
                    marker = MARKERS[turn % len(MARKERS)]
                    ax.plot(*zip(*points, strict=True), line, marker=marker, color=color, ms=5, lw=1, label=method,
                            **style)
                log_axis(ax)
                ax.set(xlabel=label, ylabel="test accuracy against dense, points", title=net)
        axes[-1].legend(fontsize=6, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

    picture(path, caption, len(nets) * len(costs), draw, 3.6, columns=len(costs))
