"""Other engines that run the same network, for comparison: one module a peer, each an optional install.

A peer is a module `<name>_peer` that has

    REQUIREMENT                        what to `pip install`
    load()                             imports the library and returns it, or raises
    prepare(network, threads) -> call  call() runs the network on network.inputs and returns its outputs, in order

All of them compute in fp32 with the zeros stored as numbers: none has sparse convolutions that pay.

>>> from sparsenet import peers
>>> why = peers.missing("openvino")                    # None, or the reason in a line
>>> network = peers.Network(graph, [x])
>>> call = peers.prepare("openvino", network, threads=1)  # raises peers.PeerError with the reason
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from sparsenet import apart
from sparsenet.arrays import FloatArray
from sparsenet.peers.network import Network, one_line

__all__ = ["NAMES", "Network", "PeerError", "check", "missing", "prepare", "version"]

NAMES = ("onnxruntime", "openvino", "torch", "ncnn")
"""Every peer there is, whether installed or not."""

TOLERANCE = 1e-3
"""How far a peer's output may be from ours, in the largest |output|: Winograd transforms and other orders of summation
cost up to some 1e-4 in fp32, half precision or a wrong layer costs more."""


class PeerError(Exception):
    """A peer is not installed, cannot load the network, or computes something else; one line."""


def _module(name: str) -> Any:
    if name not in NAMES:
        raise PeerError(f"no peer {name!r}; there are {', '.join(NAMES)}")
    return import_module(f"sparsenet.peers.{name}_peer")


def missing(name: str) -> str | None:
    """Why a peer can't be used here, or None if it can."""
    try:
        _module(name).load()
    except PeerError:
        raise
    except Exception as error:  # a broken install raises anything: OSError, RuntimeError, ...
        return f"{one_line(error)} (pip install {_module(name).REQUIREMENT})"
    return None


def version(name: str) -> str:
    """The installed peer's version."""
    return str(getattr(_module(name).load(), "__version__", "unknown"))


def prepare(name: str, network: Network, threads: int) -> Callable[[], list[FloatArray]]:
    """A call that runs the network in the peer; it has run once, and its outputs are the expected ones if given.

    Args:
        name: of `NAMES`.
        network: the graph and its inputs; if `network.expected` is set, the outputs are compared with it.
        threads: how many threads a call uses.

    Raises:
        PeerError: with the reason in one line.
    """
    apart.at(name, "prepared")
    why = missing(name)
    if why is not None:
        raise PeerError(f"not installed: {why}")
    try:
        call: Callable[[], list[FloatArray]] = _module(name).prepare(network, threads)
        outputs = call()
    except Exception as error:  # peers raise what they like, down to RuntimeError without text
        raise PeerError(f"cannot run it: {one_line(error)}") from error
    if network.expected is not None:
        check(outputs, network.expected)
    return call


def check(outputs: list[FloatArray], expected: list[FloatArray]) -> None:
    """Raises PeerError unless each output is within TOLERANCE of the expected one's largest magnitude."""
    if len(outputs) != len(expected):
        raise PeerError(f"gives {len(outputs)} outputs, not {len(expected)}")
    for got, want in zip(outputs, expected, strict=True):
        if got.size != want.size:
            raise PeerError(f"gives an output of shape {list(got.shape)}, not {list(want.shape)}")
        gap = float(np.abs(got.reshape(want.shape) - want).max() / max(float(np.abs(want).max()), 1e-30))
        if not gap < TOLERANCE:
            raise PeerError(f"computes something else: off by {gap:.1e} of the largest output")
