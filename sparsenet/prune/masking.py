"""Masks for whole units of groups, in every layer that they touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparsenet.prune.criteria import TRANSPOSED
from sparsenet.prune.groups import Group
from sparsenet.prune.masks import set_mask


def mask_units(model: nn.Module, groups: Sequence[Group], drops: Sequence[Tensor], keep_shift: bool) -> None:
    """Masks, for each group, the units where its bool [units] is True; ``keep_shift`` leaves all biases."""
    for group, drop in zip(groups, drops, strict=True):
        for member in group.members:
            units = torch.from_numpy(member.units)
            layer: Any = model.get_submodule(member.layer)
            keep = ((units < 0) | ~drop[units]).to(next(layer.parameters(), drop).device)
            if layer.weight is not None:
                shape = [1] * layer.weight.dim()
                shape[1 if isinstance(layer, TRANSPOSED) else 0] = keep.numel()
                set_mask(layer, "weight", keep.view(shape).expand_as(layer.weight))
            if layer.bias is not None and not keep_shift:
                set_mask(layer, "bias", keep)

