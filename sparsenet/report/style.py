"""How the plots look, and how a figure becomes SVG text for a page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from sparsenet.report.methods import METHODS

# Okabe and Ito's colours, which colour-blind readers can tell apart; gray for what is dense.
_PALETTE = ("#0072b2", "#56b4e9", "#999999", "#009e73", "#cc79a7", "#d55e00", "#e69f00")
_MARKERS = ("o", "v", "x", "s", "D", "^", "P")
COLOURS = {"dense": "#222222"} | dict(zip(METHODS, _PALETTE, strict=True))
MARKERS = {"dense": "*"} | dict(zip(METHODS, _MARKERS, strict=True))

_RC: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, sharp, can be searched
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
}


def draw(name: str, size: tuple[float, float], paint: Callable[[Any], None]) -> str:
    """An <svg> element: ``paint`` is given the axes. ``name`` keeps ids apart on one page."""
    import matplotlib

    # The figure is drawn by hand, without pyplot, whose global state is the user's.
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_RC | {"svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{name}-", text)
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', f'role="img" aria-label="{name}"', text, count=1)
