"""Network slimming (Liu et al. 2017): training that drives the scales of batch norms to zero, to prune by them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from sparsenet.prune.criteria import NORMS


class Slimming:
    """Adds the subgradient of ``strength * sum |scale|`` to the gradients of every batch norm's scale.

    The paper's section 3: channels that do not matter lose their scale, and ``filters(criterion="bn_scale",
    scope="global", max_per_layer=0.5)`` then takes the smallest of the whole network. It starts the scales at 0.5
    (`start`), and uses a strength of 1e-4 for VGG and 1e-5 for networks with shortcuts. Weight decay of the optimiser
    acts on top.

    Args:
        model: must have batch norms with a scale.
        strength: the factor lambda of the L1 term, > 0.

    Raises:
        ValueError: no batch norm has a scale, or a strength that is not positive.

    Example:
        >>> slimming = prune.Slimming(model, strength=1e-4)
        >>> for x, y in loader:
        ...     optimiser.zero_grad()
        ...     loss(model(x), y).backward()
        ...     slimming.add_gradient()
        ...     optimiser.step()
        >>> prune.filters(model, 0.4, "bn_scale", example=x, scope="global", max_per_layer=0.5)
    """

    def __init__(self, model: nn.Module, strength: float = 1e-4) -> None:
        if not strength > 0:
            raise ValueError(f"strength is the factor of the L1 term, > 0, not {strength}")
        self.strength = strength
        self._model = model
        if not self._scales():
            raise ValueError(
                "slimming trains the scales of batch norms, and this model has none: build it with BatchNorm layers "
                "(affine=True) behind its convolutions, or prune by another criterion"
            )

    def _scales(self) -> list[nn.Parameter]:
        """The parameters themselves, below a mask where there is one."""
        found = []
        for module in self._model.modules():
            if isinstance(module, NORMS) and module.affine:
                owner: Any = module
                masked = parametrize.is_parametrized(module, "weight")
                scale = owner.parametrizations["weight"].original if masked else owner.weight
                assert isinstance(scale, nn.Parameter)
                found.append(scale)
        return found

    @torch.no_grad()
    def start(self, scale: float = 0.5) -> None:
        """Sets every scale to ``scale``, before training from scratch; half of the usual 1, as the paper does."""
        for parameter in self._scales():
            parameter.fill_(scale)

    @torch.no_grad()
    def add_gradient(self) -> None:
        """After backward() and before the optimiser's step; scales without a gradient are left alone."""
        for parameter in self._scales():
            if parameter.grad is not None:
                parameter.grad.add_(parameter.sign(), alpha=self.strength)

    def penalty(self) -> float:
        """strength * sum |scale|, for logs."""
        return self.strength * sum(float(parameter.detach().abs().sum()) for parameter in self._scales())
