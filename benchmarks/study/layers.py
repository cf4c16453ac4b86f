"""From which share of zeros on does each kernel family beat our dense kernels, and onnxruntime, on a layer?"""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import sparsenet as sn
from benchmarks.layers import MOBILENET, RESNET50, Conv, Layer, Linear
from sparsenet import _core, peers
from sparsenet.atomic import write_text
from sparsenet.errors import InvalidArgumentError
from sparsenet.timing import interleave

SHARES = (0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
LAYERS: list[Layer] = [
    *(RESNET50[i] for i in (1, 2, 3, 5, 9, 10, 12, 14, 15, 18, 20, 21)),
    *MOBILENET[:5],
    Conv(128, 128, 3, 1, 112), Conv(512, 512, 3, 1, 28), Conv(20, 50, 5, 1, 12, padded=False),
    Linear(800, 500), Linear(2048, 1000), Linear(4096, 4096),
]  # fmt: skip
DENSE = ("gemm", "winograd", "gemv")
# Of convolutions; linear layers have spmv for both.
FAMILIES = {"random": ("spmm_1x1", "spmm_pairs"), "4x1": ("spmm_4x1",)}


@dataclass(frozen=True)
class Found:
    """The fastest kernel of the wanted families for one graph."""

    kernel: str
    call: Callable[[], object]


def file_of(cache: Path, layer: Layer) -> Path:
    return cache / "layers" / f"{str(layer).replace('/', ' by ').replace(' ', '_')}.json"


def run(args: Namespace) -> None:
    """A record for each layer, in --cache/layers; those that are there are left, but for --again."""
    begin = time.time()
    for layer in LAYERS:
        file = file_of(args.cache, layer)
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file() and not args.again:
            continue
        if time.time() - begin > args.budget:
            return print(f"the time is up before {layer}")
        told = measure(layer, args.seconds)
        write_text(file, json.dumps(told, indent=1))
        gains = ((p, s, told[p][s]["ours"]) for p in FAMILIES for s in (0.5, 0.9) if s in told[p])
        shown = ", ".join(f"{pattern} {share:.0%} {gain:.2f}x" for pattern, share, gain in gains)
        print(f"{layer}: {told['dense_kernel']} {told['dense_ms']:.3f} ms, peer {told['peer_ms']:.3f} ms; {shown}")


def measure(layer: Layer, seconds: float) -> dict[str, Any]:
    """Ratios over our fastest sparse kernel, at each share of zeros: of our fastest dense one, and of the peer."""
    dense, x = layer.build(0.0)
    best = fastest(dense, x, DENSE)
    assert best is not None
    expected = [np.asarray(sn.compile(dense)(x))]
    calls: dict[Any, Callable[[], object]] = {"dense": best.call}
    calls["peer"] = peers.prepare("onnxruntime", peers.Network(dense, [x], expected), 1)
    kernels = {}
    for pattern in FAMILIES:
        for share in SHARES:
            graph, _ = layer.build(share, block=4 if pattern == "4x1" else 1)
            found = fastest(graph, x, ("spmv",) if isinstance(layer, Linear) else FAMILIES[pattern])
            if found is not None:
                calls[pattern, share], kernels[pattern, share] = found.call, found.kernel
    times = interleave(calls, 0.1 * seconds * len(calls), min_rounds=9)
    told: dict[str, Any] = {
        "layer": str(layer),
        "dense_kernel": best.kernel,
        "dense_ms": 1e3 * times["dense"].percentile(10),
        "peer_ms": 1e3 * times["peer"].percentile(10),
        "peer_over_dense": times["peer"].over(times["dense"]),
    }
    for pattern in FAMILIES:
        told[pattern] = {
            share: {"ours": times["dense"].over(timing), "peer": times["peer"].over(timing), "kernel": kernels[key]}
            for key, timing in times.items()
            if isinstance(key, tuple) and key[0] == pattern
            for share in [key[1]]
        }
    return told


def fastest(graph: sn.Graph, x: np.ndarray[Any, Any], families: tuple[str, ...]) -> Found | None:
    """By the least of a few calls; None if no kernel of these families takes the layer."""
    best: tuple[float, Found] | None = None
    for row in _core.kernels():
        name = str(row["name"])
        if row["isa"] != _core.best_isa() or not name.startswith(families):
            continue
        with suppress(InvalidArgumentError):  # a kernel for other layers
            engine = sn.compile(graph, tune=False, kernel=name)
            if engine.steps[0].kernel != name:
                continue
            y = engine(x)
            call = partial(engine, x, out=y)
            least = min(_timed(call) for _ in range(12))
            if best is None or least < best[0]:
                best = least, Found(name, call)
    return None if best is None else best[1]


def _timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
