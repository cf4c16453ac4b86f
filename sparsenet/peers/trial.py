"""A peer's first run in a process of its own: one that crashes is told of and takes nobody with it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np

import sparsenet
from sparsenet.peers.network import Network

_PATIENCE = 600.0  # seconds; OpenVINO takes some to compile a large network
# The caller's own path, so that a source tree in the working directory does not stand in for the installed package.
_CODE = "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); from sparsenet.peers.trial import main; main()"


def crash(name: str, network: Network, threads: int) -> str | None:
    """How a peer's process ended that loads the network and runs it once, if it crashed or hung; else None, and
    `prepare` may be called, which tells what else may be wrong."""
    snet, inputs = network.folder / "trial.snet", network.folder / "trial.npz"
    if not snet.exists():
        network.graph.save(snet)
        np.savez(inputs, allow_pickle=False, **{f"input{i}": x for i, x in enumerate(network.inputs)})
    command = [sys.executable, "-c", _CODE, name, str(snet), str(inputs), str(threads), json.dumps(sys.path)]
    try:
        status = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False).returncode
    except subprocess.TimeoutExpired:
        return f"took more than {_PATIENCE:.0f} s to run once"
    return f"crashed ({signal.Signals(-status).name})" if status < 0 else None


def main() -> None:
    """The process: NAME SNET INPUTS THREADS."""
    from sparsenet import peers

    _, name, snet, arrays, threads = sys.argv
    with np.load(arrays, allow_pickle=False) as stored:
        inputs = [stored[name] for name in stored.files]
    peers.prepare(name, Network(sparsenet.load(snet), inputs), int(threads))
