"""Weight sharing: each layer's weights take a few values, found by k-means, and only their numbers are stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import nn

from sparsenet.prune.masks import Parametrization, bake, check_maskable, check_names, weight_of, weighted

_INITS = ("linear", "density", "random")


class Shared(Parametrization):
    """Looks a weight up in a codebook. The parameter underneath is the codebook, so training moves that.

    The gradient of an entry is the sum over the weights that share it, as in Deep Compression (section 3.3).
    """

    index: torch.Tensor

    def __init__(self, index: torch.Tensor, entries: int) -> None:
        super().__init__()
        self.register_buffer("index", index)  # 0: a pruned weight; i: entry i - 1
        self.entries = entries

    def forward(self, codebook: torch.Tensor) -> torch.Tensor:
        return torch.cat([codebook.new_zeros(1), codebook])[self.index.long()]

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """The codebook nearest to ``weight``: the mean over those that share an entry."""
        index = self.index.flatten().long()
        sums = weight.new_zeros(self.entries + 1, dtype=torch.double).index_add_(0, index, weight.flatten().double())
        return (sums / torch.bincount(index, minlength=self.entries + 1).clamp_min(1))[1:].to(weight)


@torch.no_grad()
def share_weights(
    model: nn.Module,
    bits: int | Mapping[str, int] = 4,
    *,
    init: str = "linear",
    seed: int = 0,
    skip: Collection[str] = (),
) -> nn.Module:
    """Gives each layer's nonzero weights at most ``2**bits`` values, in place, and returns ``model``.

    Han et al. 2016 ("Deep compression", section 3): k-means over a layer's weights, the first centroids spread evenly
    between the smallest and the largest, which keeps the few large weights that matter. Zeros stay zeros and take no
    entry. Training afterwards (with a new optimiser: the parameters are codebooks now) moves the shared values.
    :func:`compressed_size` counts the bits; :func:`bake` makes plain weights of it.

    Args:
        model: pruned or not; its convolutions and linear layers are changed.
        bits: of a weight's number, 1 to 8, or for each layer by name. The paper has 8 for convolutions and 5 for
            linear layers.
        init: "linear" as above, "density" (quantiles) or "random" (weights drawn with ``seed``).
        seed: for "random".
        skip: names of layers to leave alone.

    Raises:
        ValueError: bits or init out of range, a name that is no layer, or a layer that shares already.

    Example:
        >>> prune.share_weights(prune.magnitude(model, 0.9), bits=4)
        >>> prune.compressed_size(model).ratio
    """
    if init not in _INITS:
        raise ValueError(f"init is one of {', '.join(_INITS)}, not {init!r}")
    layers = weighted(model, skip)
    if isinstance(bits, Mapping):
        check_names(model, "bits", bits)
        chosen = [(name, module, bits[name]) for name, module in layers if name in bits]
    else:
        chosen = [(name, module, bits) for name, module in layers]
    for name, module, width in chosen:
        if not 1 <= width <= 8:
            raise ValueError(f"bits of {name} is from 1 to 8, not {width}")
        if parametrization_of(module, Shared) is not None:
            raise ValueError(f"{name} shares its weights already: bake() the model first, or skip it")
    check_maskable(model, [name for name, _, _ in chosen])
    for _, module, width in chosen:
        weight = weight_of(module)
        generator = torch.Generator().manual_seed(seed)
        index, entries = _cluster(weight, 2**width, init, generator)
        bake(module)
        Shared(index, entries).register(module, "weight")
    return model


def parametrization_of(module: nn.Module, kind: type[Parametrization]) -> Parametrization | None:
    """The weight's parametrization of a kind, or None."""
    chains = getattr(module, "parametrizations", {})
    return next((p for p in chains["weight"] if isinstance(p, kind)), None) if "weight" in chains else None


def _cluster(weight: torch.Tensor, most: int, init: str, generator: torch.Generator) -> tuple[torch.Tensor, int]:
    """Lloyd's algorithm on a line. int16 numbers from 1 on (0 for zeros), of the shape of ``weight``, and how many."""
    index = torch.zeros(weight.shape, dtype=torch.int16, device=weight.device)
    values = weight[weight != 0].double()
    distinct: torch.Tensor = values.unique()  # type: ignore[no-untyped-call]
    if len(distinct) <= most:
        centroids = distinct
    else:
        if init == "linear":
            centroids = torch.linspace(float(distinct[0]), float(distinct[-1]), most, dtype=torch.double)
        elif init == "density":
            order = torch.linspace(0, len(values) - 1, 2 * most + 1).long()[1::2]
            centroids = values.sort().values[order.to(values.device)]
        else:
            centroids = distinct[torch.randperm(len(distinct), generator=generator)[:most].to(values.device)]
        centroids = centroids.to(values.device).sort().values
        for _ in range(300):
            nearest = _nearest(values, centroids)
            counts = torch.bincount(nearest, minlength=most)
            sums = torch.zeros_like(centroids).index_add_(0, nearest, values)
            # An entry that no weight is nearest to stays where it is.
            moved = torch.where(counts > 0, sums / counts.clamp_min(1), centroids)
            if torch.equal(moved, centroids):
                break
            centroids = moved
    index[weight != 0] = (_nearest(values, centroids) + 1).to(torch.int16)
    return index, len(centroids)


def _nearest(values: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    return torch.bucketize(values, (centroids[1:] + centroids[:-1]) / 2)
