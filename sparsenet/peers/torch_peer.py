"""torch in eager mode: each node of the graph as a call of torch.nn.functional, channels last."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from sparsenet.arrays import FloatArray
from sparsenet.peers.network import Network
from sparsenet.peers.torch_ops import step

REQUIREMENT = "torch"


def load() -> Any:
    return import_module("torch")


def prepare(network: Network, threads: int) -> Callable[[], list[FloatArray]]:
    torch = load()
    torch.set_num_threads(threads)
    graph = network.folded
    # On x86 its convolutions run blocked or channels-last; NCHW is converted at every call.
    layout = torch.channels_last

    def tensor(array: FloatArray) -> Any:
        made = torch.from_numpy(np.array(array))
        return made.contiguous(memory_format=layout) if made.dim() == 4 else made

    constants = {}
    for node in graph.nodes:
        for name in node.inputs:
            array = None if name is None else graph.constant(name)
            if name is not None and array is not None:
                constants[name] = tensor(array)
    last: dict[str, int] = {}
    for i, node in enumerate(graph.nodes):
        last.update({name: i for name in node.inputs if name is not None})
    keep = {*constants, *(name for name, _ in graph.outputs)}
    program = [
        (step(node), node.inputs, node.output, [n for n in set(node.inputs) if n and last[n] == i and n not in keep])
        for i, node in enumerate(graph.nodes)
    ]
    names = [name for name, _ in graph.inputs]
    feed = [tensor(x) for x in network.inputs]
    outputs = [name for name, _ in graph.outputs]

    def call() -> list[FloatArray]:
        with torch.inference_mode():
            values: dict[str | None, Any] = {None: None}
            values.update(constants)
            values.update(zip(names, feed, strict=True))
            for run, reads, output, done in program:
                values[output] = run(*[values[name] for name in reads])
                for name in done:
                    del values[name]
            return [values[name].numpy() for name in outputs]

    return call
