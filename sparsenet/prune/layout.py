"""The weight of a layer as the engine's matrix kernels see it: a matrix for each group, outputs by inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def to_matrix(module: nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """[groups, outputs, inputs] of a weight of ``module`` (or a mask of its shape); group sizes throughout.

    A convolution's inputs are (input channel, tap) flattened, channels outermost; a linear layer is one group.
    """
    if isinstance(module, nn.Linear):
        return weight.unsqueeze(0)
    conv: Any = module
    if isinstance(module, _TRANSPOSED):  # [in, out / groups, taps...]
        parts = weight.reshape(conv.groups, weight.shape[0] // conv.groups, weight.shape[1], -1)
        return parts.transpose(1, 2).flatten(2)
    return weight.reshape(conv.groups, weight.shape[0] // conv.groups, -1)


def from_matrix(module: nn.Module, matrix: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """The inverse of :func:`to_matrix`, for a weight of ``shape``."""
    if isinstance(module, _TRANSPOSED):
        groups, outputs, _ = matrix.shape
        parts = matrix.reshape(groups, outputs, shape[0] // groups, -1)
        return parts.transpose(1, 2).reshape(shape)
    return matrix.reshape(shape)


def input_channels(module: nn.Module) -> int:
    """Input features, or input channels of a group."""
    layer: Any = module
    return int(layer.in_features if isinstance(module, nn.Linear) else layer.in_channels // layer.groups)


def by_input(module: nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """[groups, outputs, taps, input channels] of a weight: its last axis is what one output sees at one tap."""
    matrix = to_matrix(module, weight)
    groups, outputs, _ = matrix.shape
    return matrix.reshape(groups, outputs, input_channels(module), -1).transpose(2, 3)


def from_input(module: nn.Module, parts: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """The inverse of :func:`by_input`."""
    return from_matrix(module, parts.transpose(2, 3).flatten(2), shape)
