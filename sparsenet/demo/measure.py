"""One network, from torch to a running engine, and its row in the demo's table."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import sparsenet
from sparsenet import prune
from sparsenet.arrays import FloatArray
from sparsenet.cli.stats import totals
from sparsenet.timing import interleave


@dataclass
class Network:
    """A torch network and its engine, ready to answer and to be timed on ``x`` (batch 1)."""

    name: str
    module: nn.Module
    engine: sparsenet.Engine
    file: Path
    x: FloatArray
    nonzeros: int
    accuracy: float | None = None
    torch_ms: float = float("nan")
    sparsenet_ms: float = float("nan")

    @property
    def flops(self) -> float:
        """Of one sample, counting nonzero weights only; a multiplication and an addition are two."""
        return 2 * sum(step.useful_macs for step in self.engine.steps)

    @property
    def speedup(self) -> float:
        return self.torch_ms / self.sparsenet_ms

    def row(self) -> dict[str, Any]:
        """What the table shows, for JSON."""
        return {
            "name": self.name,
            "accuracy": self.accuracy,
            "nonzeros": self.nonzeros,
            "file_bytes": self.file.stat().st_size,
            "flops": self.flops,
            "torch_ms": self.torch_ms,
            "sparsenet_ms": self.sparsenet_ms,
            "speedup": self.speedup,
        }


def prepare(name: str, module: nn.Module, x: FloatArray, file: Path) -> Network:
    """Imports ``module`` as it runs on ``x``, writes ``file``, and compiles what the file holds."""
    # Torch gets the masks multiplied in beforehand: doing that in every call would cost it time.
    module = prune.bake(copy.deepcopy(module)).eval()
    graph = sparsenet.from_torch(module, (torch.from_numpy(x),))
    graph.run_passes()
    graph.save(file)
    return Network(name, module, sparsenet.compile(file), file, x, totals(graph).nonzeros)


def answers(network: Network, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(sparsenet's, torch's) outputs for a batch."""
    ours = np.asarray(network.engine(x))
    with torch.inference_mode():
        theirs = network.module(torch.from_numpy(x)).numpy()
    return ours, theirs


def time_all(networks: list[Network], seconds: float) -> None:
    """Times one sample on each, torch (on its current threads) and sparsenet in turn; fills in the ``_ms`` medians."""
    candidates: dict[str, Any] = {}
    for network in networks:
        candidates[f"sparsenet {network.name}"] = partial(network.engine, network.x)
        candidates[f"torch {network.name}"] = partial(network.module, torch.from_numpy(network.x))
    with torch.inference_mode():
        timings = interleave(candidates, seconds)
    for network in networks:
        network.sparsenet_ms = 1e3 * timings[f"sparsenet {network.name}"].median
        network.torch_ms = 1e3 * timings[f"torch {network.name}"].median
