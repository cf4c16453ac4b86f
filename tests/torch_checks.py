"""Holds an imported graph against the module it came from; modules for that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sparsenet import Graph, reference

# fp64 against fp64: the bounds of fp32, scaled by the ratio of the two unit roundoffs.
FP64_OVER_FP32 = 2.0**-29


class Forward(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 1))


def in_double(module: torch.nn.Module, inputs: Any) -> list[np.ndarray[Any, Any]]:
    """The module's outputs in fp64, flattened; its weights come back as they were."""
    dtype = next((p.dtype for p in module.parameters()), torch.float32)
    training = [(m, m.training) for m in module.modules()]
    module.double().eval()
    args = pytree.tree_map(lambda t: t.double(), inputs)
    try:
        with torch.no_grad():
            results = module(**args) if isinstance(args, dict) else module(*args)
    finally:
        module.to(dtype)
        for m, mode in training:
            m.training = mode
    return [leaf.numpy() for leaf in pytree.tree_leaves(results) if leaf is not None]


def assert_graph_matches(graph: Graph, module: torch.nn.Module, inputs: Any) -> None:
    """Outputs of the graph, interpreted in fp64, equal the module's in fp64; inputs as for forward."""
    inputs = (inputs,) if isinstance(inputs, torch.Tensor) else inputs
    fed = [leaf.numpy() for leaf in pytree.tree_leaves(inputs)]
    got, limit = reference.run(graph, fed), reference.bound(graph, fed)
    expected: Sequence[Any] = in_double(module, inputs)
    assert len(got) == len(expected)
    for (name, value), truth in zip(got.items(), expected, strict=True):
        ratio = reference.worst(value, truth, limit[name] * FP64_OVER_FP32)
        assert ratio <= 1, f"output {name!r} is {ratio:.3g} times the bound away"
