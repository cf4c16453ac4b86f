"""Plots of the steps of single runs: bars of time, and the roofline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsenet.report.analysis import Point
from sparsenet.report.style import COLOURS, MARKERS, draw

_MOST = 24  # bars


def bars(chosen: Sequence[Point]) -> str:
    """Time of each step that has weights, the chosen runs side by side, with density, rate and kernel."""
    names: list[str] = []
    for point in chosen:
        names += [row["node"] for row in point.record["layers"] if row["weights"] and row["node"] not in names]
    slowest = {
        name: max(row["ms"] for p in chosen for row in p.record["layers"] if row["node"] == name) for name in names
    }
    kept = set(sorted(names, key=lambda name: -slowest[name])[:_MOST])
    names = [name for name in names if name in kept]
    height = 0.8 / len(chosen)

    def paint(axes: Any) -> None:
        gap = 0.01 * max(slowest.values())
        for i, point in enumerate(chosen):
            rows = {row["node"]: row for row in point.record["layers"]}
            shown = [(at, rows[name]) for at, name in enumerate(names) if name in rows]
            where = [at + (i - (len(chosen) - 1) / 2) * height for at, _ in shown]
            colour = COLOURS[point.method]
            axes.barh(where, [row["ms"] for _, row in shown], 0.9 * height, color=colour, label=point.key)
            for y, (_, row) in zip(where, shown, strict=True):
                rate = "" if row["gflops"] is None else f", {row['gflops']:.1f} GFLOP/s"
                text = f"{row['density']:.0%} dense{rate}, {row['kernel']}"
                axes.text(row["ms"] + gap, y, text, va="center", fontsize=7, color="#444444")
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 1.75 * max(slowest.values()))
        axes.set_xlabel("median ms a call")
        axes.legend(loc="lower right")

    return draw("layers", (9.6, 0.9 + 0.22 * len(names) * len(chosen)), paint)


def roofline(chosen: Sequence[Point], threads: int) -> str:
    """Useful GFLOP/s of each step over useful FLOPs a byte that must move, under FMA peak and copy bandwidth."""
    peak = max(p.record["peak_gflops"] for p in chosen) * threads
    bandwidth = max(p.record["bandwidth"] for p in chosen) / 1e9

    def paint(axes: Any) -> None:
        everything = []
        for point in chosen:
            rows = [row for row in point.record["layers"] if row["gflops"]]
            x = [2 * row["useful_macs"] / row["bytes"] for row in rows]
            y = [row["gflops"] for row in rows]
            total = sum(row["ms"] for row in rows)
            sizes = [15 + 250 * row["ms"] / total for row in rows]
            look = {"color": COLOURS[point.method], "marker": MARKERS[point.method], "alpha": 0.7, "lw": 0.8}
            axes.scatter(x, y, sizes, label=point.key, **look)
            everything += x
        ends = [min(*everything, peak / bandwidth) / 2, max(*everything, peak / bandwidth) * 2]
        ridge = peak / bandwidth
        axes.plot([ends[0], ridge, ends[1]], [ends[0] * bandwidth, peak, peak], color="#222222", lw=1.2)
        near = {"textcoords": "offset points"}
        axes.annotate(f"FMA peak {peak:.0f} GFLOP/s", (ends[1], peak), (0, 4), ha="right", **near)
        axes.annotate(f"memory {bandwidth:.0f} GB/s", (ends[0], ends[0] * bandwidth), (14, 0), **near)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("useful FLOPs a byte (weights as packed, activations in and out)")
        axes.set_ylabel("useful GFLOP/s")
        legend = axes.legend(loc="lower right")
        for handle in legend.legend_handles:
            handle.set_sizes([36])

    return draw("roofline", (6.4, 4.2), paint)
