"""The controls of a lottery ticket: the same sparsity with another mask, or with other first weights."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils import parametrize

from sparsenet.prune.masks import bake, mask_of, weighted


@torch.no_grad()
def random_mask(model: nn.Module, seed: int = 0) -> nn.Module:
    """Shuffles each layer's mask, in place, and returns ``model``: as many weights stay in each layer, but others.

    Frankle & Carbin 2019, appendix: tells whether the ticket's structure matters. Weights come back as they are
    underneath the mask, which after :meth:`Lottery.ticket` are the first ones, so call it on that.

    Raises:
        ValueError: no layer has a mask.

    Example:
        >>> control = prune.random_mask(found.ticket(7), seed=1)
    """
    masked = {name: mask for name, module in weighted(model) if (mask := mask_of(module)) is not None}
    if not masked:
        raise ValueError("no layer has a mask to shuffle: prune the model first")
    for name, mask in masked.items():
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
        order = torch.randperm(mask.numel(), generator=generator).to(mask.device)
        mask.copy_(mask.flatten()[order].view_as(mask))
    return model


@torch.no_grad()
def random_reinit(model: nn.Module, seed: int = 0, init: Callable[[nn.Module], object] | None = None) -> nn.Module:
    """Draws all weights anew and keeps the masks, in place, and returns ``model``.

    Frankle & Carbin 2019, section 2: tells whether the ticket's first weights matter. Buffers, such as the statistics
    of batch norms, start anew too.

    Args:
        model: with or without masks.
        seed: of the draw; the caller's random state is put back.
        init: initialises a model in place, the way the ticket was; None: ``reset_parameters()`` of each module.

    Raises:
        ValueError: ``init`` is None and a module has parameters but no ``reset_parameters()``.

    Example:
        >>> control = prune.random_reinit(found.ticket(7), seed=1, init=glorot)
    """
    # On a copy without masks: through a mask, reset_parameters() would write to the product and change nothing.
    fresh = bake(copy.deepcopy(model))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if init is not None:
            init(fresh)
        else:
            for name, module in fresh.named_modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
                elif next(module.parameters(recurse=False), None) is not None:
                    raise ValueError(
                        f"{name or 'the model'} ({type(module).__name__}) has parameters but no reset_parameters(): "
                        "pass init=, a function that initialises a model"
                    )
    modules = dict(model.named_modules())
    for path, module in fresh.named_modules():
        for name, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            target = modules[path]
            if parametrize.is_parametrized(target, name):
                target.parametrizations[name].original.copy_(value)
            else:
                getattr(target, name).copy_(value)
    return model
