"""onnxruntime's CPU provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from sparsenet.arrays import FloatArray
from sparsenet.peers.network import Network

REQUIREMENT = "onnxruntime onnx"


def load() -> Any:
    import_module("onnx")  # the graph goes there as a file
    return import_module("onnxruntime")


def prepare(network: Network, threads: int) -> Callable[[], list[FloatArray]]:
    return file_call(network.onnx, network.inputs, threads)


def file_call(path: Path, inputs: Sequence[FloatArray], threads: int) -> Callable[[], list[FloatArray]]:
    """A call that runs any .onnx file on these inputs, in its own order."""
    ort = load()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning workers would take the core from whoever is timed next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = dict(zip([node.name for node in session.get_inputs()], inputs, strict=True))

    def call() -> list[FloatArray]:
        return list(session.run(None, feed))

    return call
