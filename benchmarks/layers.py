"""Single layers as networks of their own: real shapes, seeded weights, zeros where asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import sparsenet as sn

Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Conv:
    """A square convolution with ReLU: channels in and out, window, stride, side of the input, groups; padded by half
    the window, or not."""

    channels: int
    filters: int
    window: int
    stride: int
    side: int
    groups: int = 1
    padded: bool = True

    def __str__(self) -> str:
        kind = "depthwise" if self.groups > 1 else f"-> {self.filters}"
        at = f"at {self.side}" if self.padded else f"at {self.side}, unpadded"
        return f"{self.channels} {kind} {self.window}x{self.window}/{self.stride} {at}"

    def build(self, zeros: float, seed: int = 0, block: int = 1) -> tuple[sn.Graph, Array]:
        rng = np.random.default_rng(seed)
        depth = self.channels // self.groups
        # Pruners leave depthwise convolutions dense.
        weight = _weight(rng, (self.filters, depth, self.window, self.window), zeros if depth > 1 else 0, block)
        graph = sn.Graph()
        inputs = [graph.add_input("x", (None, self.channels, self.side, self.side)), graph.add_constant("w", weight)]
        attrs = {"stride": [self.stride] * 2, "padding": [self.window // 2 * self.padded] * 4, "dilation": [1, 1]}
        graph.set_outputs([graph.add_node("Conv", inputs, {**attrs, "act": "relu", "groups": self.groups}, "y")])
        return graph, rng.standard_normal((1, self.channels, self.side, self.side), np.float32)


@dataclass(frozen=True)
class Linear:
    """A fully connected layer with ReLU, batch 1."""

    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"{self.inputs} -> {self.outputs} linear"

    def build(self, zeros: float, seed: int = 0, block: int = 1) -> tuple[sn.Graph, Array]:
        rng = np.random.default_rng(seed)
        graph = sn.Graph()
        weight = graph.add_constant("w", _weight(rng, (self.outputs, self.inputs), zeros, block))
        x = graph.add_input("x", (None, self.inputs))
        graph.set_outputs([graph.add_node("Linear", [x, weight], {"act": "relu"}, "y")])
        return graph, rng.standard_normal((1, self.inputs), np.float32)


Layer = Conv | Linear


def _weight(rng: np.random.Generator, shape: tuple[int, ...], zeros: float, block: int = 1) -> Array:
    """Zeros at random places, or as blocks of so many successive outputs."""
    weight = rng.standard_normal(shape, np.float32)
    dropped = rng.random((-(-shape[0] // block), *shape[1:])) < zeros
    weight[np.repeat(dropped, block, axis=0)[: shape[0]]] = 0
    return weight


RESNET50 = [
    Conv(64, 64, 1, 1, 56), Conv(64, 64, 3, 1, 56), Conv(64, 256, 1, 1, 56), Conv(256, 64, 1, 1, 56),
    Conv(256, 128, 1, 1, 56), Conv(128, 128, 3, 2, 56), Conv(128, 512, 1, 1, 28), Conv(256, 512, 1, 2, 56),
    Conv(512, 128, 1, 1, 28), Conv(128, 128, 3, 1, 28), Conv(512, 256, 1, 1, 28), Conv(256, 256, 3, 2, 28),
    Conv(256, 1024, 1, 1, 14), Conv(512, 1024, 1, 2, 28), Conv(1024, 256, 1, 1, 14), Conv(256, 256, 3, 1, 14),
    Conv(1024, 512, 1, 1, 14), Conv(512, 512, 3, 2, 14), Conv(512, 2048, 1, 1, 7), Conv(1024, 2048, 1, 2, 14),
    Conv(2048, 512, 1, 1, 7), Conv(512, 512, 3, 1, 7),
]  # fmt: skip
REPRESENTATIVE = [RESNET50[i] for i in (1, 2, 6, 9, 12, 15, 18, 21)]
MOBILENET = [
    Conv(64, 128, 1, 1, 56), Conv(128, 128, 1, 1, 56), Conv(256, 256, 1, 1, 28), Conv(512, 512, 1, 1, 14),
    Conv(1024, 1024, 1, 1, 7),
    Conv(128, 128, 3, 1, 56, 128), Conv(256, 256, 3, 2, 28, 256), Conv(512, 512, 3, 1, 14, 512),
    Conv(1024, 1024, 3, 1, 7, 1024),
]  # fmt: skip
LINEAR = [Linear(784, 300), Linear(2048, 1000), Linear(4096, 4096)]
SETS: dict[str, list[Layer]] = {
    "short": [*REPRESENTATIVE],
    "resnet50": [*RESNET50],
    "mobilenet": [*MOBILENET],
    "linear": [*LINEAR],
}
# (M, K, N) of SpMM: weights [M, K] times pixels [K, N], pointwise layers of ResNet-50 and MobileNetV1.
SPMM = [
    (64, 256, 3136), (256, 64, 3136), (128, 512, 784), (512, 128, 784), (256, 1024, 196), (1024, 256, 196),
    (512, 512, 196), (1024, 1024, 49), (512, 2048, 49), (2048, 512, 49),
]  # fmt: skip
