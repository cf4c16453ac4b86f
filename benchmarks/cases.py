"""What is timed: a network, zeros in it, and a batch.

    case = Case("resnet50", "unstructured", 90)
    graph, x = build(case)            # the graph as imported, and an input of the case's batch

Patterns: "unstructured" (the same share in every layer but the stem), "erk" (per-layer shares after Evci et al., 2020),
"magnitude" (the smallest weights of a trained network, ranked over all layers: MobileNetV2 with its ImageNet weights),
"4x1" and "1x4" (blocks of output or input channels) and "filters" (whole output channels in the groups that have to go
together, hidden units in perceptrons: the passes take them out, and a smaller dense network is left).
But for "magnitude", weights are seeded and random, with batch-norm statistics that keep activations alive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

import sparsenet as sn
from sparsenet import prune
from sparsenet.demo import mobilenet

from . import models
from .models.classic import mlp

PATTERNS = (*models.PATTERNS, "erk", "magnitude")
# The fully connected layers of VGG-16 alone: 124 million weights, and hardly any arithmetic on each.
_MORE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "vgg16_fc": (partial(mlp, (512 * 7 * 7, 4096, 4096, 1000)), (512 * 7 * 7,)),
}


class CaseError(Exception):
    """This case cannot be built here; one line."""


@dataclass(frozen=True)
class Case:
    network: str
    pattern: str = "unstructured"
    zeros: int = 0  # percent
    batch: int = 1

    def __str__(self) -> str:
        """A stable name: resnet50-unstructured-90, with -b8 behind it for another batch than 1."""
        return f"{self.network}-{self.pattern}-{self.zeros}" + (f"-b{self.batch}" if self.batch > 1 else "")


def networks() -> list[str]:
    """Every network that a case can name."""
    return [*models.names(), *_MORE]


def input_shape(network: str) -> tuple[int, ...]:
    """Of one sample, without the batch axis."""
    return _MORE[network][1] if network in _MORE else models.input_shape(network)


def build(case: Case) -> tuple[sn.Graph, np.ndarray[Any, np.dtype[np.float32]]]:
    """The graph before any pass, and a random input.

    Raises CaseError for an unknown network or pattern, or if the weights' package is not installed.
    """
    if case.network not in networks():
        raise CaseError(f"no network {case.network!r}; there are {', '.join(networks())}")
    if case.pattern not in PATTERNS:
        raise CaseError(f"no pattern {case.pattern!r}; there are {', '.join(PATTERNS)}")
    with torch.no_grad():
        model = _pruned(case)
        rng = torch.Generator().manual_seed(2)
        x = torch.randn(case.batch, *input_shape(case.network), generator=rng)
        return sn.from_torch(model, (x,)), x.numpy()


def _pruned(case: Case) -> nn.Module:
    if case.pattern == "magnitude":
        return _trained(case)
    shape = input_shape(case.network)
    model = _MORE[case.network][0]() if case.network in _MORE else models.create(case.network)
    models.seeded_init(model, 0, shape)
    share = case.zeros / 100
    if not case.zeros:
        return model
    if case.pattern == "filters":
        if not any(isinstance(module, nn.Conv2d) for module in model.modules()):
            prune.bake(prune.units(model, share))
        else:
            prune.bake(prune.filters(model, share, example=torch.zeros(1, *shape), skip=_spared(model)[:1]))
    elif case.pattern == "erk":
        prune.bake(prune.magnitude(model, prune.erk(model, share, skip=_spared(model))))
    else:
        models.sparsify(model, share, 1, case.pattern)
    return models.measure_batch_norm(model, 0, shape)


def _trained(case: Case) -> nn.Module:
    if case.network != "mobilenet_v2":
        raise CaseError("the pattern magnitude needs trained weights, which there are for mobilenet_v2")
    model = mobilenet.pretrained()
    if model is None:
        raise CaseError(f"needs trained weights: {mobilenet.INSTALL_WEIGHTS}")
    return prune.magnitude(model, case.zeros / 100, scope="global", skip=_spared(model))


def _spared(model: nn.Module) -> list[str]:
    """The stem and the depthwise convolutions, which hold few weights and much of the accuracy."""
    convs = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    return [name for i, (name, m) in enumerate(convs) if i == 0 or m.groups == m.in_channels > 1]
