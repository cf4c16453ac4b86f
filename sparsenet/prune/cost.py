"""What a network costs, by counting: parameters and multiply-adds, as papers' tables state them."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from sparsenet.frontends.torch import from_torch
from sparsenet.graph import Graph
from sparsenet.prune.criteria import NORMS


def parameters(model: nn.Module, norms: bool = True) -> int:
    """The number of parameters; masked ones count until ``shrink`` takes them out.

    Args:
        model: any module. Parameters that are used twice count once; buffers, such as running means, do not count.
        norms: False leaves scales and shifts of batch norms out, as the tables for CIFAR ResNets in Li et al. 2017 do.

    Example:
        >>> prune.parameters(nn.Linear(784, 300))
        235500
    """
    left_out = {id(p) for m in model.modules() if isinstance(m, NORMS) and not norms for p in m.parameters()}
    return sum(p.numel() for p in model.parameters() if id(p) not in left_out)


def macs(model: nn.Module, example: Any) -> int:
    """Multiply-adds of one sample in convolutions and linear layers; those with zero weights count too.

    Padding counts as if it were image, biases and all other layers count nothing: the convention of pruning papers,
    which call this number FLOPs. ``example`` is a tensor, or what `sparsenet.from_torch` takes.

    Raises `sparsenet.errors.SparsenetError` where the importer does: it says which operator it cannot take.

    Example:
        >>> prune.macs(nn.Conv2d(3, 64, 3, padding=1), torch.zeros(1, 3, 32, 32))
        1769472
    """
    return graph_macs(from_torch(model, example), zeros=True)


def graph_macs(graph: Graph, zeros: bool) -> int:
    """Multiply-adds of one sample; without ``zeros`` only those whose weight is not zero."""
    total = 0
    for node in graph.nodes:
        if node.op not in ("Conv", "ConvTranspose", "Linear"):
            continue
        data = graph.constant(str(node.inputs[1]))
        assert data is not None
        # How often each weight is used: once a position of the output, or of the input where it is scattered.
        shape = graph.shape(str(node.inputs[0]) if node.op == "ConvTranspose" else node.output)
        positions = shape[1:-1] if node.op == "Linear" else shape[2:]
        total += math.prod(int(n or 1) for n in positions) * int(data.size if zeros else (data != 0).sum())
    return total
