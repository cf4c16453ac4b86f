"""Filter pruning: whole output channels go, the ones of smallest L1 norm (Li et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from sparsenet.prune.magnitude import _check_share
from sparsenet.prune.masks import set_mask, weighted

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@torch.no_grad()
def filters(model: nn.Module, ratio: float, *, skip: Sequence[str] = ()) -> nn.Module:
    """Masks, in every convolution, the filters of smallest L1 norm, in place, and returns ``model``.

    A pruned filter's bias is masked too, and so are scale and shift of the batch norm behind it: a channel that still
    emits a constant could not be taken out without changing the result. As "the batch norm behind it" counts the next
    batch norm of the same width that the model defines before its next convolution, which is how networks are written.
    With that, ``sparsenet.from_torch`` and its passes make the network physically smaller.

    Args:
        model: any module. Depthwise and other grouped convolutions are left alone: they follow their producers.
        ratio: share of each layer's filters to drop, 0 <= ratio < 1; at least one filter stays.
        skip: names of convolutions to leave alone, such as those whose outputs meet in a residual add.

    Raises:
        ValueError: ratio out of range, or ``skip`` names no layer.

    Example:
        >>> prune.filters(model, ratio=0.5)
    """
    _check_share("ratio", ratio)
    chosen = {module for _, module in weighted(model, list(skip)) if isinstance(module, _CONVS)}
    for conv, norm in _conv_norm_pairs(model):
        if conv not in chosen or conv.groups != 1:
            continue
        norms = conv.weight.detach().abs().flatten(1).sum(1)
        keep = torch.ones(conv.out_channels, dtype=torch.bool, device=norms.device)
        # 1e-9: 0.57 * 100 is 56.99... in binary, and 57 is meant.
        count = min(int(ratio * conv.out_channels + 1e-9), conv.out_channels - 1)
        keep[torch.argsort(norms, stable=True)[:count]] = False
        set_mask(conv, "weight", keep.view(-1, *[1] * (conv.weight.dim() - 1)).expand_as(conv.weight))
        for module in (conv, norm):
            if module is not None and module.bias is not None:
                set_mask(module, "bias", keep)
        if norm is not None and norm.weight is not None:
            set_mask(norm, "weight", keep)
    return model


def _conv_norm_pairs(model: nn.Module) -> Iterator[tuple[nn.Module, nn.Module | None]]:
    conv: nn.Module | None = None
    for module in model.modules():
        if isinstance(module, _CONVS):
            if conv is not None:
                yield conv, None
            conv = module
        elif conv is not None and isinstance(module, _NORMS) and module.num_features == conv.out_channels:
            yield conv, module
            conv = None
    if conv is not None:
        yield conv, None
