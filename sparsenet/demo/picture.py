"""The demo's table as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

_OURS, _THEIRS = "#0b7285", "#ced4da"


def draw(rows: list[dict[str, Any]], path: Path, caption: str) -> None:
    """Writes an SVG: for each network its latency in torch and sparsenet, and its file beside its accuracy."""
    # Text stays text and ids are fixed: a small file, the same for the same numbers.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sparsenet", "font.size": 9}):
        figure = Figure(figsize=(9, 0.55 * len(rows) + 1.4), layout="constrained")
        latency, file = figure.subplots(1, 2, sharey=True)
        places = list(range(len(rows)))
        theirs = latency.barh([p - 0.2 for p in places], [r["torch_ms"] for r in rows], 0.38, color=_THEIRS)
        ours = latency.barh([p + 0.2 for p in places], [r["sparsenet_ms"] for r in rows], 0.38, color=_OURS)
        latency.bar_label(ours, [f" {r['speedup']:.1f}x" for r in rows])
        latency.set(xscale="log", xlabel="ms a sample (log), one thread", title="latency")
        latency.set_yticks(places, [r["name"] for r in rows])
        latency.invert_yaxis()
        latency.margins(x=0.12)
        latency.legend([theirs, ours], ["torch", "sparsenet"], fontsize=8, frameon=False)
        sizes = file.barh(places, [r["file_bytes"] / 1e3 for r in rows], 0.6, color=_OURS)
        labels = ["" if r["accuracy"] is None else f" {r['accuracy']:.1%}" for r in rows]
        file.bar_label(sizes, labels)
        file.set(xscale="log", xlabel="kB (log)", title="file, and accuracy on held-out digits")
        file.margins(x=0.15)
        for axes in (latency, file):
            axes.spines[["top", "right"]].set_visible(False)
        figure.supxlabel(caption, fontsize=7, color="#868e96")
        figure.savefig(path, metadata={"Date": None})
