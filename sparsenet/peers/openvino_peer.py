"""OpenVINO's CPU plugin."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from sparsenet.arrays import FloatArray
from sparsenet.peers.network import Network

REQUIREMENT = "openvino onnx"


def load() -> Any:
    import_module("onnx")  # the graph goes there as a file
    return import_module("openvino")


def prepare(network: Network, threads: int) -> Callable[[], list[FloatArray]]:
    core = load().Core()
    model = core.read_model(str(network.onnx))
    # A static batch lets it plan memory and choose kernels ahead.
    model.reshape({port: list(x.shape) for port, x in zip(model.inputs, network.inputs, strict=True)})
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # Its default on CPUs with AMX or AVX-512-BF16 is bf16.
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,  # the process is pinned by whoever times it
    }
    compiled = core.compile_model(model, "CPU", options)
    request = compiled.create_infer_request()
    feed = list(network.inputs)

    def call() -> list[FloatArray]:
        results = request.infer(feed, share_inputs=True, share_outputs=True)
        return [np.asarray(results[i]) for i in range(len(compiled.outputs))]

    return call
