"""A peer's first run in a process of its own: one that crashes is told of and takes nobody with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sparsenet
from sparsenet import apart
from sparsenet.arrays import FloatArray
from sparsenet.peers.network import Network

_PATIENCE = 600.0  # seconds; OpenVINO takes some to compile a large network


def crash(name: str, network: Network, threads: int) -> str | None:
    """How a peer's process ended that loads the network and runs it once, if it crashed or hung; else None, and
    `prepare` may be called, which tells what else may be wrong."""
    from sparsenet.peers import PeerError

    snet = network.folder / "trial.snet"
    if not snet.exists():
        network.graph.save(snet)
    try:
        apart.call(_run, name, snet, list(network.inputs), threads, patience=_PATIENCE)
    except apart.Died as died:
        return died.reason
    except PeerError:
        pass
    return None


def _run(name: str, snet: Path, inputs: Sequence[FloatArray], threads: int) -> None:
    from sparsenet import peers

    peers.prepare(name, peers.Network(sparsenet.load(snet), inputs), threads)
