"""A physically smaller module: what masks have silenced is taken out."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils import _pytree as pytree

from sparsenet import _core
from sparsenet.errors import GraphError
from sparsenet.frontends.torch import from_torch
from sparsenet.prune.criteria import NORMS, TRANSPOSED
from sparsenet.prune.evaluate import call
from sparsenet.prune.groups import CONVS
from sparsenet.prune.masks import bake, check_maskable
from sparsenet.prune.snapshot import modes_kept


def shrink(model: nn.Module, example: Any) -> nn.Module:
    """A copy of ``model`` without the channels that do not matter, computing the same in eval mode.

    The engine's pass that removes dead channels works them out, on the graph, and its smaller weights are written back
    into the layers; so the two agree by construction. Constants that silenced channels still emit, from a batch norm's
    shift say, move into the biases of what reads them (a layer may gain a bias), or, where zero padding forbids that,
    into one channel that stands for all (see docs/passes.md). Masks are baked in: scattered zeros become plain weights.

    Args:
        model: any module that the importer reads; it is not changed. Its forward must not count on numbers of
            channels: ``x.flatten(1)`` works, ``x.view(-1, 400)`` does not.
        example: a tensor, or what `sparsenet.from_torch` takes. The copy is run on noise of its shape and compared.

    Returns:
        A new module of the same class, on the same device, whose layers have smaller weights and matching attributes
        (``out_channels``, ``num_features``, ...). Train it with a new optimiser: its parameters are new.

    Raises:
        GraphError: the forward pass counts on channels that are gone, or a layer's result is constant altogether.
        ValueError: two layers have one parameter in common, and one of them would become smaller.
        SparsenetError: where the importer raises it.

    Example:
        >>> prune.filters(model, 0.5, example=x)
        >>> small = prune.shrink(model, x)
        >>> prune.parameters(small) < prune.parameters(model)
        True
    """
    small = bake(copy.deepcopy(model))
    before = from_torch(small, example)
    _only(before, "canonicalize")
    after = before.copy()
    _only(after, "remove_dead_channels")
    changed = _changed(before, after, small)
    convs = [node for node in after.nodes if node.op in ("Conv", "ConvTranspose")]
    groups = {str(node.inputs[1]): int(node.attrs["groups"]) for node in convs}
    check_maskable(small, {name.rpartition(".")[0] for name in changed})
    for name, array in changed.items():
        _write(small, name, array)
    for path in {name.rpartition(".")[0] for name in changed}:
        _describe(small.get_submodule(path), groups.get(f"{path}.weight", 1))
    _compare(model, small, example)
    return small


def _only(graph: _core.Graph, wanted: str) -> None:
    graph.run_passes(disabled=[name for name, _ in _core.passes() if name != wanted])


def _changed(before: _core.Graph, after: _core.Graph, model: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Parameters and buffers by full name, with their new values; also biases that there were not."""
    tensors = dict([*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)])
    left = {node.output: node for node in after.nodes}
    changed: dict[str, NDArray[np.float32]] = {}
    used: dict[str, NDArray[np.float32]] = {}
    for node in before.nodes:
        names = [name for name in node.inputs if name and before.constant(name) is not None]
        if node.output not in left:
            if any(name in tensors for name in names):
                raise GraphError(
                    f"the result of {node.name} is constant, whatever the input: take the layer out of the model, or "
                    "prune less of what it reads"
                )
            continue
        now = left[node.output].inputs
        for slot, value in enumerate(now):
            array = after.constant(value) if value else None
            if array is None:
                continue
            old = node.inputs[slot] if slot < len(node.inputs) else None
            name = old or str(node.inputs[1]).removesuffix("weight") + "bias"
            same = old is not None and np.array_equal(array, np.asarray(before.constant(old)))
            if not same and name not in tensors and (old or name.removesuffix("bias") + "weight" not in tensors):
                raise GraphError(
                    f"the weights of {node.name} are computed, not a parameter of the model, so they cannot be made "
                    "smaller; write them into a layer first"
                )
            if not np.array_equal(used.setdefault(name, array), array):
                raise GraphError(f"{name} is used more than once, and would have to shrink in different ways")
            if not same:
                changed[name] = array
    return changed


def _write(model: nn.Module, name: str, array: NDArray[np.float32]) -> None:
    path, _, attribute = name.rpartition(".")
    owner = model.get_submodule(path)
    old = getattr(owner, attribute, None)
    like = old if old is not None else owner.weight
    assert isinstance(like, torch.Tensor)
    tensor = torch.from_numpy(array.copy()).to(device=like.device, dtype=like.dtype)
    if attribute in owner._buffers:
        owner._buffers[attribute] = tensor
    else:
        setattr(owner, attribute, nn.Parameter(tensor, requires_grad=like.requires_grad))


def _describe(layer: Any, groups: int) -> None:
    """The layer's attributes, as its weights now are."""
    if isinstance(layer, CONVS):
        layer.groups = groups
        ends = (layer.weight.shape[1] * groups, layer.weight.shape[0])
        layer.in_channels, layer.out_channels = ends[::-1] if isinstance(layer, TRANSPOSED) else ends
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, NORMS):
        per_channel: Any = layer.weight if layer.running_mean is None else layer.running_mean
        layer.num_features = len(per_channel)
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)


@torch.no_grad()
def _compare(model: nn.Module, small: nn.Module, example: Any) -> None:
    """Runs both on noise: a forward that counts on channels may run all the same, and compute something else."""
    rng = torch.Generator().manual_seed(0)

    def noise(tensor: torch.Tensor) -> torch.Tensor:
        return torch.randn(tensor.shape, generator=rng).to(tensor)

    inputs = pytree.tree_map(noise, example)
    why = (
        "the smaller network does not compute what the masked one does: the forward pass counts on numbers of channels "
        "that are gone. Let it ask the tensors, as in x.flatten(1) for x.view(-1, 400), or leave these layers out"
    )
    with modes_kept(model), modes_kept(small):
        expected = pytree.tree_leaves(call(model.eval(), inputs))
        try:
            got = pytree.tree_leaves(call(small.eval(), inputs))
        except Exception as error:  # whatever the user's forward raises
            raise GraphError(f"{why} ({str(error).splitlines()[0] if str(error) else type(error).__name__})") from error
    for a, b in zip(expected, got, strict=True):
        # Far above what a different order of the same sums costs, far below what a wrong channel does.
        if a.shape != b.shape or not bool((a - b).abs().max() <= 1e-3 * a.abs().max() + 1e-6):
            shapes = f"{list(a.shape)} and {list(b.shape)}"
            raise GraphError(f"{why} ({f'outputs {shapes}' if a.shape != b.shape else 'outputs differ'})")
