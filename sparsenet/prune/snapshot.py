"""A copy of all that pruning and training change in a model, to put it back exactly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from sparsenet.prune.masks import own_class, properties


class Snapshot:
    """The values of all parameters and buffers, and the tree of modules with its masks, modes and attributes.

    :meth:`restore` may be called any number of times. Parameters keep their identity and order, so optimisers and their
    saved states stay valid.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = [_Parts(module) for module in model.modules()]
        self._values = [(tensor, tensor.detach().clone()) for tensor in [*model.parameters(), *model.buffers()]]

    @torch.no_grad()
    def restore(self) -> None:
        """Puts everything back."""
        for parts in self._modules:
            parts.restore()
        for tensor, value in self._values:
            if tensor.shape == value.shape:
                tensor.copy_(value)
            else:  # a codebook of shared weights sits in the parameter's place
                tensor.data = value.clone()


class _Parts:
    """What one module is made of. Parametrizations are properties of a class of the module's own: see torch."""

    _DICTS = ("_parameters", "_buffers", "_modules")

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._class, self._properties = type(module), properties(type(module))
        self._attributes = dict(module.__dict__)
        self._dicts: dict[str, dict[str, Any]] = {name: dict(getattr(module, name)) for name in self._DICTS}

    def restore(self) -> None:
        module, cls = self._module, self._class
        module.__class__ = cls
        if properties(cls) != self._properties:
            own_class(module, self._properties)
        module.__dict__.clear()
        module.__dict__.update(self._attributes)
        for name, content in self._dicts.items():
            getattr(module, name).clear()
            getattr(module, name).update(content)


@contextlib.contextmanager
def undone_on_error(model: nn.Module) -> Iterator[Snapshot]:
    """Puts ``model`` back if the body raises an Exception; after Ctrl-C it is as far as the body got."""
    snapshot = Snapshot(model)
    try:
        yield snapshot
    except Exception:
        snapshot.restore()
        raise


@contextlib.contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Puts each module back into the mode, training or not, that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
