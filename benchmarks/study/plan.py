"""Which networks, and how each is pruned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.evidence.training import LENETS, Recipe

KINDS = {"weights": "weights", "global": "weights, over all layers", "blocks": "4x1 blocks", "nm": "N:M", "": "filters"}


@dataclass(frozen=True)
class Pruning:
    """Filters first, if any, then weights of what is left. ``filters`` is a share of each layer's filters, or a name of
    SHAPES; ``method`` a key of KINDS, and ``ratio`` its share of zeros."""

    filters: float | str = 0.0
    method: str = ""
    ratio: float = 0.0

    @property
    def key(self) -> str:
        parts = [f"filters-{self.filters}"] if self.filters else []
        return "+".join([*parts, *([f"{self.method}-{self.ratio:g}"] if self.method else [])]) or "dense"

    @property
    def kind(self) -> str:
        if not self.filters and not self.method:
            return "dense"
        return f"filters, then {KINDS[self.method]}" if self.filters and self.method else KINDS[self.method]

    @property
    def told(self) -> str:
        """The amount, for tables."""
        weights = f"{self.ratio:.0%}".replace("%", " %")
        if self.method == "nm":
            weights = {0.5: "2:4", 0.75: "1:4"}[self.ratio]
        filters = self.filters if isinstance(self.filters, str) else f"{self.filters:.0%}".replace("%", " %")
        return " + ".join([str(filters)] * bool(self.filters) + [weights] * bool(self.method))


DENSE = Pruning()


def weights(*ratios: float) -> list[Pruning]:
    return [Pruning(0.0, "weights", ratio) for ratio in ratios]


def across(*ratios: float) -> list[Pruning]:
    return [Pruning(0.0, "global", ratio) for ratio in ratios]


def blocks(*ratios: float) -> list[Pruning]:
    return [Pruning(0.0, "blocks", ratio) for ratio in ratios]


def filters(*ratios: float | str) -> list[Pruning]:
    return [Pruning(ratio) for ratio in ratios]


def both(share: float, *ratios: float, method: str = "weights") -> list[Pruning]:
    return [Pruning(share, method, ratio) for ratio in ratios]


N_M = [Pruning(0.0, "nm", 0.5), Pruning(0.0, "nm", 0.75)]


@dataclass(frozen=True)
class Subject:
    """``data`` is what accuracy is taken on; without it the weights are random ("") or ImageNet's ("photos")."""

    title: str
    rows: tuple[Pruning, ...]
    data: str = ""
    dense: Recipe | None = None
    retrain: Recipe | None = None


def _rows(*parts: list[Pruning]) -> tuple[Pruning, ...]:
    return (DENSE, *(row for part in parts for row in part))


_VGG = Recipe(4, 4e-3)  # as in benchmarks.evidence.criteria, which shares what is trained
_LARGE = _rows(
    weights(0.5, 0.7, 0.8, 0.9), N_M, filters(0.3, 0.5), both(0.3, 0.8), blocks(0.5, 0.7, 0.9)
)  # fmt: skip
SUBJECTS: dict[str, Subject] = {
    "lenet5": Subject(
        "LeNet-5, MNIST",
        _rows(
            weights(0.5, 0.8, 0.9, 0.95), filters(0.25, 0.5), N_M, both(0.25, 0.8, 0.9), both(0.5, 0.8),
            blocks(0.5, 0.8, 0.9),
        ),
        "mnist", LENETS["lenet5"], Recipe(2, 1e-3, bf16=True),
    ),
    "vgg": Subject(
        "small VGG, Fashion-MNIST",
        _rows(
            weights(0.5, 0.7, 0.8), filters(0.15, 0.3), N_M, both(0.15, 0.5), blocks(0.5, 0.7), weights(0.9),
            both(0.15, 0.7), both(0.3, 0.5, 0.7), blocks(0.8),
        ),
        "fashion", _VGG, Recipe(2, bf16=True),
    ),
    "resnet20": Subject(
        "ResNet-20, Fashion-MNIST",
        _rows(
            weights(0.5, 0.7), filters(0.25), N_M, blocks(0.5), both(0.25, 0.5),
        ),
        "fashion", Recipe(3, 4e-3, bf16=True), Recipe(1, 1e-3, bf16=True),
    ),
    "mobilenet_v2": Subject(
        "MobileNetV2, ImageNet weights, not retrained",
        _rows(
            weights(0.1, 0.3, 0.5, 0.7, 0.9), across(0.1, 0.3, 0.5, 0.7, 0.9), N_M, filters(0.1, 0.3, 0.5),
            both(0.1, 0.5), blocks(0.1, 0.3, 0.5, 0.7, 0.9),
        ),
        "photos",
    ),
    "mobilenet_v1": Subject("MobileNetV1, random weights", _LARGE),
    "resnet50": Subject("ResNet-50, random weights", _LARGE),
    "vgg16": Subject(
        "VGG-16, random weights",
        _rows(weights(0.5, 0.7, 0.9), N_M, filters(0.5, "late"), both(0.5, 0.8), blocks(0.7, 0.9)),
    ),
    "vgg16_cifar": Subject("VGG-16 for CIFAR-10, random weights", _rows(filters("A"))),
    "resnet110": Subject("ResNet-110 for CIFAR-10, random weights", _rows(filters("B"))),
}  # fmt: skip


def shape(network: str, name: str, convs: list[str]) -> Mapping[str, float]:
    """The share of filters to drop of each convolution, after a published result.

    Args:
        convs: names of the convolutions, in order.
    """
    if (network, name) == ("vgg16_cifar", "A"):
        # Li et al. 2017, table 1: half of the first and of the eighth to the last.
        return dict.fromkeys([convs[0], *convs[7:]], 0.5)
    if (network, name) == ("resnet110", "B"):
        # Li et al. 2017, section 4.2: 50, 40, 30 % of the first layer of each block by stage, but for layers 36, 38, 74
        # (the stem is layer 1).
        shares = {}
        for i, conv in enumerate(convs, start=1):
            if conv.endswith("conv1") and "." in conv and i not in (36, 38, 74):
                shares[conv] = {"layer1": 0.5, "layer2": 0.4, "layer3": 0.3}[conv.split(".")[0]]
        return shares
    if (network, name) == ("vgg16", "late"):
        # Ranked over all layers by Taylor, mostly late filters go. The shares per layer are not published; these drop
        # two thirds of the 4224 in all, as published, and so many of the last that the file shrinks about as much, too.
        stages = (0.1, 0.1, 0.25, 0.25, 0.5, 0.5, 0.5, 0.7, 0.7, 0.7, 0.83, 0.83, 0.83)
        return dict(zip(convs, stages, strict=True))
    raise KeyError(f"no shape {name!r} for {network}")
