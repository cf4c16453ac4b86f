"""ncnn, from a .param and .bin that ncnn_writer makes: its wheel reads no ONNX."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from sparsenet.arrays import FloatArray
from sparsenet.peers.ncnn_writer import write
from sparsenet.peers.network import Network

REQUIREMENT = "ncnn"


def load() -> Any:
    return import_module("ncnn")


def prepare(network: Network, threads: int) -> Callable[[], list[FloatArray]]:
    ncnn = load()
    param, weights = network.folder / "network.param", network.folder / "network.bin"
    inputs, outputs = write(network.folded, param, weights)
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    net.opt.use_winograd_convolution = True
    net.opt.use_sgemm_convolution = True
    net.opt.use_packing_layout = True
    for half in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed"):
        if hasattr(net.opt, f"use_{half}"):
            setattr(net.opt, f"use_{half}", False)
    if net.load_param(str(param)) != 0 or net.load_model(str(weights)) != 0:
        raise RuntimeError("load_param or load_model failed")
    weights.unlink()
    # It takes one sample at a time.
    samples = [[ncnn.Mat(np.ascontiguousarray(x[i])) for x in network.inputs] for i in range(network.batch)]

    def call() -> list[FloatArray]:
        rows: list[list[FloatArray]] = [[] for _ in outputs]
        for sample in samples:
            extractor = net.create_extractor()
            for name, mat in zip(inputs, sample, strict=True):
                extractor.input(name, mat)
            for name, kept in zip(outputs, rows, strict=True):
                status, mat = extractor.extract(name)
                if status != 0:
                    raise RuntimeError(f"extracting {name} failed with {status}")
                kept.append(np.array(mat))
        return [np.stack(kept) for kept in rows]

    return call
