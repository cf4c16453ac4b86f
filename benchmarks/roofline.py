"""The roofline picture (Williams et al., 2009): what a layer reaches against what its bytes and FLOPs allow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .machine import Peaks

_COLORS = ("#0b7285", "#e67700", "#862e9c", "#2b8a3e", "#c92a2a", "#495057")


def draw(points: Sequence[tuple[float, float, float]], machine: Peaks, title: str, path: Path) -> None:
    """Writes an SVG. A point is (share of zeros, useful FLOPs a byte, GFLOP/s); each share has its colour."""
    intensities = [intensity for _, intensity, _ in points]
    low, high = min([*intensities, 0.5]) / 2, max([*intensities, 50.0]) * 2
    x = np.geomspace(low, high, 200)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sparsenet", "font.size": 10}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for name, rate, style in (("memory", machine.memory_gbs, "-"), ("L2", machine.l2_gbs, "--")):
            axes.plot(x, np.minimum(rate * x, machine.gflops), style, color="#868e96", linewidth=1)
            axes.annotate(
                f"{name} {rate:.0f} GB/s", (low, rate * low), xytext=(4, 4), textcoords="offset points", fontsize=8,
                color="#495057", rotation_mode="anchor",
            )  # fmt: skip
        axes.annotate(
            f"FMA peak {machine.gflops:.0f} GFLOP/s", (high, machine.gflops), xytext=(-4, 4),
            textcoords="offset points", ha="right", fontsize=8, color="#495057",
        )  # fmt: skip
        for color, zeros in zip(_COLORS, sorted({zeros for zeros, _, _ in points}), strict=False):
            mine = [(i, rate) for z, i, rate in points if z == zeros]
            axes.scatter(*zip(*mine, strict=True), s=18, color=color, label=f"{zeros:.0%} zeros", zorder=3)
        axes.set(xscale="log", yscale="log", xlabel="useful FLOPs a byte that has to travel", ylabel="useful GFLOP/s")
        axes.set_title(title, fontsize=9)
        axes.set_ylim(top=machine.gflops * 1.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="lower right")
        figure.savefig(path, metadata={"Date": None}, format="svg")
