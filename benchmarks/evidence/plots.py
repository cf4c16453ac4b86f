"""Curves as SVG, in one style: text stays text, the same numbers give the same file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from sparsenet.cli.common import replacing

# Okabe & Ito's palette, told apart by the colour-blind too; black is for the baseline.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
MARKERS = "osD^vPX"


def picture(
    path: Path, caption: str, panels: int, draw: Callable[[Any], None], width: float = 4.2, columns: int | None = None
) -> None:
    """Writes an SVG of ``panels`` axes, all in a row unless there are fewer ``columns``; ``draw`` gets their list."""
    columns = columns or panels
    rows = -(-panels // columns)
    style = {"svg.fonttype": "none", "svg.hashsalt": "sparsenet", "font.size": 9}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width * columns, 3.4 * rows), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        draw(axes)
        for ax in axes:
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(alpha=0.25)
        figure.supxlabel(caption, fontsize=7, color="#868e96")
        with replacing(path) as temporary:
            figure.savefig(temporary, metadata={"Date": None})


def curve(ax: Any, number: int, x: Sequence[float], y: Sequence[float], label: str, spread: Any = None) -> None:
    """One line in the style of its number, with half ranges as bars."""
    color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
    ax.errorbar(x, y, yerr=spread, color=color, marker=marker, ms=4, lw=1.2, capsize=2, label=label)


def times_axis(ax: Any, values: Sequence[float]) -> None:
    """A logarithmic axis of compressions, with plain numbers at these."""
    ax.set_xscale("log")
    ax.set_xticks(values, [f"{value:.0f}" for value in values])
    ax.minorticks_off()


def log_axis(ax: Any) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5 of each decade; powers of ten take seconds to typeset."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.minorticks_off()
