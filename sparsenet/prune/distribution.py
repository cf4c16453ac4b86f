"""How to spread one sparsity over the layers of a network."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from sparsenet.prune.masks import weight_of
from sparsenet.prune.shares import layer_shares


def uniform(model: nn.Module, sparsity: float, *, skip: Collection[str] = ()) -> dict[str, float]:
    """The same share for every layer: ``{name: sparsity}``, for :func:`magnitude` and the like to take.

    Evci et al. 2020 and others leave the first layer dense, which is ``skip=["conv1"]``.

    Raises:
        ValueError: sparsity out of range, or ``skip`` names no layer.
    """
    return {name: share for name, _, share in layer_shares(model, sparsity, skip)}


def erk(model: nn.Module, sparsity: float, *, skip: Collection[str] = ()) -> dict[str, float]:
    """Shares by the Erdos-Renyi-kernel rule: small layers stay denser than large ones.

    Evci et al. 2020 ("Rigging the lottery", section 3): the density of a layer is proportional to the sum of its
    weight's dimensions over their product, here (outputs + inputs + kernel height + kernel width) over the number of
    weights. A layer that would get a density above 1 is dense, and the others make up for it.

    Args:
        model: any module.
        sparsity: share of zeros of all layers but those in ``skip`` together, 0 <= sparsity < 1.
        skip: names of layers to leave dense and out of the count.

    Returns:
        The share of zeros of each layer, by name.

    Raises:
        ValueError: sparsity out of range, or ``skip`` names no layer.

    Example:
        >>> prune.magnitude(model, prune.erk(model, 0.9))
    """
    shapes = {name: weight_of(module).shape for name, module, _ in layer_shares(model, sparsity, skip)}
    sizes = {name: shape.numel() for name, shape in shapes.items()}
    dense: set[str] = set()
    while True:
        nonzeros = (1 - sparsity) * sum(sizes.values()) - sum(sizes[name] for name in dense)
        # density * size = scale * sum of dimensions, so the sizes cancel.
        free = {name: sum(shape) for name, shape in shapes.items() if name not in dense}
        scale = nonzeros / sum(free.values()) if free else 0.0
        full = {name for name in free if scale * free[name] >= sizes[name]}
        if not full:
            break
        # The one that overflows most, then anew: it takes from the others.
        dense.add(max(full, key=lambda name: free[name] / sizes[name]))
    return {name: 0.0 if name in dense else 1 - scale * free[name] / sizes[name] for name in shapes}
