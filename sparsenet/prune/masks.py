"""Masks: zeros that stay zero while the network is trained on.

A mask is a torch parametrization, ``weight = original * mask``, so optimisers, ``state_dict``, ``copy.deepcopy`` and
``torch.export`` see an ordinary module, and the gradient of a masked weight is zero.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import torch
from torch import nn
from torch.nn.utils import parametrize


class Parametrization(nn.Module):
    """What our parametrizations have in common: :func:`bake` takes them off and puts the parameter where it was."""

    place = 0  # of the parameter among its module's: optimisers' saved states count on the order

    def register(self, module: nn.Module, name: str) -> None:
        """Makes ``module.<name>`` go through this one, after those that it has."""
        if name in module._parameters:
            self.place = list(module._parameters).index(name)
        if parametrize.is_parametrized(module):
            own_class(module)
        parametrize.register_parametrization(module, name, self)


class Mask(Parametrization):
    """Multiplies a parameter by a 0/1 buffer of its shape."""

    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, original: torch.Tensor) -> torch.Tensor:
        return original * self.mask


def mask_of(module: nn.Module, name: str = "weight") -> torch.Tensor | None:
    """The mask on ``module.<name>`` (fp32, the parameter's shape), or None."""
    if parametrize.is_parametrized(module, name):
        for parametrization in module.parametrizations[name]:  # type: ignore[index]
            if isinstance(parametrization, Mask):
                return parametrization.mask
    return None


@torch.no_grad()
def set_mask(module: nn.Module, name: str, keep: torch.Tensor) -> None:
    """Keeps the entries of ``module.<name>`` where ``keep`` (bool, same shape) holds; one mask narrows another."""
    parameter = getattr(module, name)
    if keep.shape != parameter.shape:
        raise ValueError(f"mask of {name} has shape {tuple(keep.shape)}, the parameter {tuple(parameter.shape)}")
    mask = mask_of(module, name)
    if mask is None:
        Mask(keep.to(parameter)).register(module, name)
    else:
        mask.mul_(keep.to(mask))


def bake(model: nn.Module) -> nn.Module:
    """Writes every mask into its parameter and takes the parametrization off, in place; returns ``model``.

    Shared, binary and ternary weights become plain weights of the same values. A model can be pickled only then.
    """
    for module in list(model.modules()):
        if not parametrize.is_parametrized(module):
            continue
        own_class(module)
        for name in list(module.parametrizations):  # type: ignore[arg-type]
            places = [p.place for p in module.parametrizations[name] if isinstance(p, Parametrization)]  # type: ignore[index]
            if places:
                parametrize.remove_parametrizations(module, name)
                parameters = list(module._parameters.items())
                parameters.insert(places[0], parameters.pop())
                module._parameters.clear()
                module._parameters.update(parameters)
    return model


def load_masked(model: nn.Module, state_dict: Mapping[str, torch.Tensor]) -> nn.Module:
    """Loads the ``state_dict`` of a masked model into an unmasked one of the same architecture; returns ``model``.

    ``load_state_dict`` alone does that only for a model that has the same masks already. The saved state of an
    optimiser goes by the order of parameters, and masked ones come last in their layer: if the old optimiser was made
    before the masks, as with :class:`Gradual`, make the new one before this call, too.

    Raises:
        RuntimeError: names or shapes do not fit, as from ``load_state_dict``.

    Example:
        >>> torch.save(model.state_dict(), "pruned.pt")
        >>> model = prune.load_masked(Net(), torch.load("pruned.pt"))
    """
    layers = dict(model.named_modules())
    for key in state_dict:
        path, separator, rest = key.rpartition("parametrizations.")
        name, _, last = rest.partition(".")
        module = layers.get(path.removesuffix("."))
        if separator and last.endswith(".mask") and module is not None and mask_of(module, name) is None:
            set_mask(module, name, torch.ones_like(getattr(module, name), dtype=torch.bool))
    model.load_state_dict(state_dict)
    return model


def own_class(module: nn.Module, wanted: dict[str, property] | None = None) -> None:
    """Gives a parametrized module a class that no other module has, with the ``wanted`` properties or those it has."""
    # A parametrized module has a class of its own with a property for the parameter, but copy.deepcopy lets the copy
    # share it: a property put on or taken off for one would hide or take the other's parameter.
    cls = type(module)
    members = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    if wanted is not None:
        members = {name: value for name, value in members.items() if not isinstance(value, property)} | wanted
    module.__class__ = type(cls.__name__, cls.__bases__, members)


def properties(cls: type) -> dict[str, property]:
    """The properties that a class defines itself: on a parametrized module's, a parameter each."""
    return {name: value for name, value in vars(cls).items() if isinstance(value, property)}


def sparsity(model: nn.Module) -> float:
    """The share of zeros, 0 to 1, over all weights of convolutions and linear layers (as masked, biases left out)."""
    zeros = total = 0
    for _, module in weighted(model):
        weight = weight_of(module)
        zeros += int((weight == 0).sum())
        total += weight.numel()
    return zeros / total if total else 0.0


def weight_of(module: nn.Module) -> torch.Tensor:
    """``module.weight`` as masked, without its history."""
    weight: torch.Tensor = module.weight  # type: ignore[assignment]
    return weight.detach()


_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def weighted(model: nn.Module, skip: Collection[str] = ()) -> list[tuple[str, nn.Module]]:
    """(name, module) of every convolution and linear layer whose name is not in ``skip``, in definition order.

    Raises ValueError if ``skip`` names no such layer: a misspelt name would otherwise prune what was to be spared.
    """
    check_names(model, "skip", skip)
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, _WEIGHTED) and name not in skip
    ]


def check_maskable(model: nn.Module, layers: Iterable[str]) -> None:
    """Raises ValueError unless weight and bias of each of ``layers`` are parameters, and of no other module.

    A mask on a tied parameter would hold in one place only, and baking it would write its zeros into the other.
    """
    holders: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        for parameter in module._parameters.values():
            holders.setdefault(id(parameter), []).append(name.partition("parametrizations.")[0].removesuffix("."))
    for name in layers:
        module = model.get_submodule(name)
        for own in ("weight", "bias"):
            if own not in module._parameters and not parametrize.is_parametrized(module, own):
                raise ValueError(
                    f"{own} of {name} is no parameter but computed before each call; if torch.nn.utils.prune did that, "
                    f"call torch.nn.utils.prune.remove(model.get_submodule({name!r}), {own!r}) first"
                )
        for parameter in module.parameters():
            others = [other for other in holders[id(parameter)] if other != name]
            if others:
                raise ValueError(
                    f"{name} has a parameter in common with {', '.join(others)}: use one module in both places, and "
                    f"both are pruned alike; or untie them, as in {name}.weight = nn.Parameter({name}.weight.clone()); "
                    "or leave the layer out"
                )


def check_names(model: nn.Module, argument: str, names: Iterable[str]) -> None:
    """Raises ValueError, with the names there are, unless each of ``names`` is a convolution or linear layer."""
    if isinstance(names, str):
        raise ValueError(f"{argument} takes a list of layer names, not the one string {names!r}: write [{names!r}]")
    known = [name for name, module in model.named_modules() if isinstance(module, _WEIGHTED)]
    unknown = [name for name in names if name not in known]
    if unknown:
        there = ", ".join(known) or "none"
        raise ValueError(f"{argument}: no convolution or linear layer {', '.join(unknown)}; there are {there}")
