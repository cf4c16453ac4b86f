"""Masks for whole units of groups, in every layer that they touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparsenet.prune.groups import Group
from sparsenet.prune.layout import from_matrix, to_matrix
from sparsenet.prune.masks import check_maskable, set_mask


def mask_units(model: nn.Module, groups: Sequence[Group], drops: Sequence[Tensor], keep_shift: bool) -> None:
    """Masks, for each group, the units where its bool [units] is True; ``keep_shift`` leaves all biases."""
    check_maskable(model, [layer for group in groups for layer in group.layers])
    for group, drop in zip(groups, drops, strict=True):
        for member in group.members:
            units = torch.from_numpy(member.units)
            layer: Any = model.get_submodule(member.layer)
            keep = ((units < 0) | ~drop[units]).to(next(layer.parameters(), drop).device)
            if member.kind == "norm" and layer.weight is not None:
                set_mask(layer, "weight", keep)
            elif member.kind != "norm":
                matrix = to_matrix(layer, layer.weight)
                rows = keep.view(len(matrix), -1, 1).expand_as(matrix)
                set_mask(layer, "weight", from_matrix(layer, rows, layer.weight.shape))
            if layer.bias is not None and not keep_shift:
                set_mask(layer, "bias", keep)

