"""The targets: what is measured, and how much is enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .cases import Case

DENSE_ENGINES = ("onnxruntime", "openvino", "torch", "ncnn")


@dataclass(frozen=True)
class Target:
    """One row. `value` of a measurement is at least (or at most) `enough` to pass; `aim` is what we would like."""

    kind: str  # a function of benchmarks.own, or "peers"
    case: Case
    enough: float | None = None
    aim: float | None = None
    at_most: bool = False
    threads: int = 1

    @property
    def name(self) -> str:
        """Stable: what --only and the JSON know it by."""
        return f"{self.kind}-{self.case}" + (f"-t{self.threads}" if self.threads > 1 else "")

    def passes(self, value: float) -> bool | None:
        """None where there is no target."""
        if self.enough is None:
            return None
        return value <= self.enough if self.at_most else value >= self.enough


WHAT = {
    "peers": "times faster than the best dense peer",
    "threads": "times faster with two threads than with one",
    "batch": "throughput over that of batch 1",
    "dense": "times faster than the same network without zeros, here",
    "peak": "share of the measured FMA peak over the convolutions, packing included, useful FLOPs",
    "compile": "seconds of compile, with tuning",
    "compile_untuned": "seconds of compile, without tuning",
    "load": "load and compile over reading the bytes and compile (packing)",
    "memory": "resident memory while running over packed weights + arena",
}

IMAGE_NETWORKS = ("resnet50", "vgg16", "mobilenet_v1", "mobilenet_v2")
PERCEPTRONS = ("lenet300_100", "vgg16_fc")


def _peers() -> list[Target]:
    def row(network: str, zeros: int, enough: float, aim: float, pattern: str = "unstructured") -> Target:
        return Target("peers", Case(network, pattern, zeros), enough, aim)

    rows = [
        row("resnet50", 0, 0.95, 1.05),
        row("resnet50", 50, 1.05, 1.3),
        row("resnet50", 60, 1.3, 1.7),
        row("resnet50", 70, 1.9, 2.4),
        row("resnet50", 80, 2.6, 3.3),
        row("resnet50", 90, 4.2, 5.5),
        row("resnet50", 95, 5.5, 8),
        row("vgg16", 0, 0.9, 1.1),
        row("vgg16", 90, 2.8, 4),
        row("mobilenet_v1", 90, 2.2, 3.2),
        row("mobilenet_v2", 85, 1.6, 2.2),
        *(row(network, 90, 3, 6) for network in PERCEPTRONS),
    ]
    for network in (*IMAGE_NETWORKS, *PERCEPTRONS):
        rows += [row(network, 80, 3.2, 4.5, pattern) for pattern in ("4x1", "1x4")]
    rows += [row(network, 50, 0.95, 1.1, "filters") for network in (*IMAGE_NETWORKS, *PERCEPTRONS)]
    # Uneven zeros, without a target of their own: per-layer shares, and a trained network's.
    rows += [Target("peers", Case("resnet50", "erk", 90)), Target("peers", Case("mobilenet_v2", "magnitude", 85))]
    return rows


def table() -> list[Target]:
    """Every row."""
    rows = _peers()
    rows += [Target("threads", Case(n, zeros=z), 1.8, threads=2) for n in ("resnet50", "vgg16") for z in (0, 90)]
    networks = (*IMAGE_NETWORKS, *PERCEPTRONS)
    rows += [Target("batch", Case(n, zeros=90, batch=b), 1.0) for n in networks for b in (8, 32)]
    rows += [Target("dense", Case(n, zeros=z), 1.0) for n in IMAGE_NETWORKS for z in (10, 30, 50)]
    rows += [Target("peak", Case("resnet50", zeros=z), 0.55, 0.7) for z in (70, 80, 90)]
    r90 = Case("resnet50", zeros=90)
    rows += [
        Target("compile", r90, 1.5, at_most=True),
        Target("compile_untuned", r90, 0.3, at_most=True),
        Target("load", r90, 1.2, at_most=True),
        Target("memory", r90, 1.1, at_most=True),
        Target("memory", Case("vgg16", zeros=90), 1.1, at_most=True),
    ]
    return rows


def highest_peak(told: dict[str, Any]) -> float:
    """The highest FMA peak, in GFLOP/s, of the rows of a file of benchmarks.targets; 0 if none has one."""
    return max((peak for row in told["rows"].values() for peak in row.get("fma_peak", ())), default=0.0)
