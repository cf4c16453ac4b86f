"""Seeded weights and zeros for the networks here: random, but with every layer alive.

Nothing is trained: tests and speed need realistic shapes and nonzero patterns, not accuracy. Constant weights would
let wrong kernels pass, and plain random ones fade to nothing (or blow up) within a dozen layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

PATTERNS = ("unstructured", "4x1", "1x4", "filters")
_CONVS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)


def seeded_init(model: nn.Module, seed: int, input_shape: tuple[int, ...] | None = None) -> nn.Module:
    """Draws every parameter anew (He et al., 2015), then measures the batch norms; returns the model, in eval mode.

    `input_shape` is without the batch axis; by default the one that `create` noted on the model.
    """
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (*_CONVS, nn.Linear)):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0.0, math.sqrt(2.0 / fan_in), generator=rng)
                if module.bias is not None:
                    module.bias.normal_(0.0, 0.1, generator=rng)
            elif isinstance(module, _BatchNorm) and module.affine:
                module.weight.uniform_(0.5, 1.5, generator=rng)
                module.bias.normal_(0.0, 0.2, generator=rng)
            elif isinstance(module, nn.PReLU):
                module.weight.uniform_(0.05, 0.4, generator=rng)
    return measure_batch_norm(model, seed, input_shape)


def measure_batch_norm(model: nn.Module, seed: int, input_shape: tuple[int, ...] | None = None) -> nn.Module:
    """Sets the running statistics of each batch norm to those of one random batch; returns the model, in eval mode."""
    model.eval()
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return model
    shape = input_shape if input_shape is not None else model.input_shape
    x = torch.randn((4, *shape), generator=torch.Generator().manual_seed(seed + 1))
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # cumulative: after one batch the statistics are that batch's own
    with torch.no_grad():
        model(x)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            # A channel that is the same for the whole batch must not be blown up by 1/sqrt(eps).
            norm.running_var.clamp_(min=0.05)
    return model.eval()


def sparsify(model: nn.Module, sparsity: float, seed: int, pattern: str = "unstructured") -> nn.Module:
    """Zeroes the fraction `sparsity` of each convolution's and linear's weights; returns the model.

    A first convolution stays dense, as pruners leave it: it has few weights and reads the image.
    The places are random and the kept weights are scaled by 1/sqrt(1-sparsity), so activations keep their size; call
    measure_batch_norm after it where random activations must stay alive through many batch norms. Depthwise
    convolutions stay dense but under "filters": they hold few weights, and pruners leave them (Elsen et al., 2020).
    pattern: "unstructured"; "4x1" or "1x4", blocks of 4 successive output (input) channels, where the count divides;
    "filters", whole output channels with their biases and the batch norm right behind, but for the last layer.
    Raises ValueError for another pattern or a sparsity outside [0, 1).
    """
    if pattern not in PATTERNS:
        raise ValueError(f"pattern is one of {', '.join(PATTERNS)}; got {pattern!r}")
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(f"sparsity is at least 0 and below 1; got {sparsity}")
    rng = torch.Generator().manual_seed(seed)
    layers = [m for m in model.modules() if isinstance(m, (*_CONVS, nn.Linear, _BatchNorm))]
    weighted = [i for i, m in enumerate(layers) if not isinstance(m, _BatchNorm)]
    depthwise = {i for i in weighted if layers[i].weight.shape[1] == 1 and getattr(layers[i], "groups", 1) > 1}
    stem = 1 if pattern == "filters" or isinstance(layers[weighted[0]], _CONVS) else 0
    targets = weighted[stem : -1 if pattern == "filters" else None]
    kept: Tensor | None = None
    with torch.no_grad():
        for i in targets:
            layer, weight = layers[i], layers[i].weight
            if pattern != "filters" and i in depthwise:
                continue
            if pattern != "filters":
                mask = _mask(weight, sparsity, pattern, rng)
            else:
                # A depthwise convolution inherits the mask of its producer, as any filter-pruning tool would have it.
                if not (i in depthwise and kept is not None and kept.numel() == weight.shape[0]):
                    kept = _keep(weight.shape[0], sparsity, rng)
                mask = kept.view(-1, *[1] * (weight.dim() - 1)).expand_as(weight)
                behind = layers[i + 1] if i + 1 < len(layers) else None
                if layer.bias is not None:
                    layer.bias.mul_(kept)
                if isinstance(behind, _BatchNorm) and behind.num_features == kept.numel():
                    behind.weight.mul_(kept)
                    behind.bias.mul_(kept)
            weight.mul_(mask).div_(math.sqrt(max(float(mask.float().mean()), 1e-6)))
    return model


def _mask(weight: Tensor, sparsity: float, pattern: str, rng: torch.Generator) -> Tensor:
    axis = {"unstructured": None, "4x1": 0, "1x4": 1}[pattern]
    if axis is None or weight.shape[axis] % 4:
        return _keep(weight.numel(), sparsity, rng).view_as(weight)
    blocks = list(weight.shape)
    blocks[axis] //= 4
    return _keep(math.prod(blocks), sparsity, rng).view(blocks).repeat_interleave(4, axis)


def _keep(n: int, sparsity: float, rng: torch.Generator) -> Tensor:
    """A 0/1 vector of n with round(n * sparsity) zeros, but at least one 1."""
    keep = torch.ones(n)
    keep[torch.randperm(n, generator=rng)[: min(round(n * sparsity), n - 1)]] = 0.0
    return keep
