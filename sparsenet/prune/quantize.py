"""Binary and ternary weights: the baseline for size that pruning has to beat."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

from sparsenet.prune.masks import Parametrization, check_maskable, weight_of, weighted
from sparsenet.prune.sharing import parametrization_of


class _Signs(Parametrization):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        # The gradient goes straight through to the weight underneath (Courbariaux et al. 2015, section 2.3); what is
        # added to the values is exactly zero.
        return self.values(weight).detach() + (weight - weight.detach())

    def values(self, weight: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class Binary(_Signs):
    """``scale * sign(w)``, a scale for each filter: the mean of its magnitudes. Zeros, which are pruned, stay."""

    def values(self, weight: torch.Tensor) -> torch.Tensor:
        rows = weight.abs().flatten(1)
        scale = rows.sum(1) / (rows != 0).sum(1).clamp_min(1)
        return weight.sign() * scale.view(-1, *[1] * (weight.dim() - 1))


class Ternary(_Signs):
    """``scale * sign(w)`` where ``|w|`` is above 0.7 of the mean magnitude, 0 elsewhere; one scale a layer."""

    def values(self, weight: torch.Tensor) -> torch.Tensor:
        size = weight.abs()
        # 0.7: the paper's approximation of the best threshold for Gaussian weights (0.75 sigma) and uniform ones.
        keep = size > 0.7 * size.sum() / (size != 0).sum().clamp_min(1)
        return weight.sign() * keep * (size * keep).sum() / keep.sum().clamp_min(1)


def binarize(model: nn.Module, *, skip: Collection[str] = ()) -> nn.Module:
    """Makes weights binary, ``+scale`` or ``-scale`` with a scale for each filter, in place, and returns ``model``.

    Rastegari et al. 2016 ("XNOR-Net", section 3.1: binary weight networks), of which this has the weights, not the
    kernels: our engine runs them as floats. Training updates the real weights underneath. Accuracy falls at once, and
    comes back in part with training; the paper leaves the first and last layer real: ``skip`` them.

    Raises:
        ValueError: ``skip`` names no layer, or a layer is binary or ternary already.

    Example:
        >>> prune.binarize(model, skip=["conv1", "fc"])
        >>> prune.finetune(model, loader, epochs=5)
        >>> prune.compressed_size(model).bytes
    """
    return _register(model, Binary, skip)


def ternarize(model: nn.Module, *, skip: Collection[str] = ()) -> nn.Module:
    """Makes weights ternary, ``+scale``, 0 or ``-scale`` with one scale a layer, in place, and returns ``model``.

    Li & Liu 2016 ("Ternary weight networks"). About half of Gaussian weights become zero, which our engine can use.
    Otherwise as :func:`binarize`.

    Raises:
        ValueError: ``skip`` names no layer, or a layer is binary or ternary already.

    Example:
        >>> prune.ternarize(model, skip=["conv1", "fc"])
    """
    return _register(model, Ternary, skip)


def _register(model: nn.Module, kind: type[_Signs], skip: Collection[str]) -> nn.Module:
    layers = weighted(model, skip)
    for name, module in layers:
        if parametrization_of(module, _Signs) is not None:
            raise ValueError(f"{name} has binary or ternary weights already: bake() the model first, or skip it")
        if not torch.isfinite(weight_of(module)).all():
            raise ValueError(f"{name} has weights that are not finite: its scale would not be either")
    check_maskable(model, [name for name, _ in layers])
    for _, module in layers:
        kind().register(module, "weight")
    return model
