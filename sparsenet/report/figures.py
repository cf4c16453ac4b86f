"""The report's figures, in their order; the page and the Markdown show the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparsenet.report import devices, plots, plots_layers
from sparsenet.report.analysis import Point, at_equal_accuracy, fastest_dense_engine

_BETTER = "Up and to the left is better."


@dataclass(frozen=True)
class Figure:
    """``name`` is that of its file, ``svg`` an element."""

    name: str
    title: str
    svg: str
    caption: str


def figures(content: Mapping[str, Any], found: Sequence[Point], loss: float) -> list[Figure]:
    """Those that the runs give rise to; none without runs. The last one is wide."""
    if not found:
        return []
    drawn = []
    if len(found) > 1:
        svg = plots.speedup(found, fastest_dense_engine(content))
        told = "Above 1x pruning pays. Diamonds on the line: break-even, between the measured points."
        drawn.append(Figure("speed-up", "Speed-up against sparsity", svg, told))
    if found[0].accuracy is not None and len(found) > 1:
        label = "ms a call in sparsenet: dense median over speed-up"
        svg = plots.accuracy_against(found, lambda p: p.ms, "accuracy-latency", label)
        told = f"{_BETTER} Accuracy is that of the compiled network on the test data."
        drawn.append(Figure("accuracy-latency", "Accuracy against latency", svg, told))
        svg = plots.accuracy_against(found, lambda p: p.record["snet_bytes"] / 1e3, "accuracy-size", "kB of the .snet")
        drawn.append(Figure("accuracy-size", "Accuracy against file size", svg, _BETTER))
        for number, (target, how, runs) in enumerate(devices.measured_elsewhere(content, found)):
            name = f"device-{number}"
            svg = plots.accuracy_against(runs, lambda p: p.ms, name, "ms a call, median of the rounds")
            drawn.append(Figure(name, f"Accuracy against latency on {target}", svg, f"{how}. {_BETTER}"))
    chosen = shown_in_detail(found, loss)
    svg = plots_layers.roofline(chosen, content["settings"]["threads"])
    told = (
        "A mark a step, as large as its share of the time. Below the roof: what the kernels leave. Above its slope: "
        "data that stays in the caches."
    )
    drawn.append(Figure("roofline", "Roofline", svg, told))
    told = f"The slowest steps with weights of {' and '.join(point.key for point in chosen)}."
    return [*drawn, Figure("layers", "Layers", plots_layers.bars(chosen), told)]


def shown_in_detail(found: Sequence[Point], loss: float) -> list[Point]:
    """The dense run, and the fastest that is as accurate, or the fastest of all."""
    equal = at_equal_accuracy(found, loss)
    pruned = equal or sorted(found[1:], key=lambda point: -point.speedup)
    return [found[0], *pruned[:1]]
