"""How much a filter matters, judged by what it does on data: zeros, mean magnitude, first-order change of the loss."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import _pytree as pytree

import sparsenet.engine
from sparsenet.prune.evaluate import call, device_of
from sparsenet.prune.groups import Group, Structure
from sparsenet.prune.scores import per_unit
from sparsenet.prune.snapshot import modes_kept

BY_DATA = ("apoz", "taylor", "activation_mean")
Loader = Iterable[Any]
Loss = Callable[[Any, Any], Tensor]


def opened(loader: Loader) -> tuple[Any, Loader]:
    """The inputs of the first batch, and all batches, for one pass; ValueError if there is none."""
    batches = iter(loader)
    for batch in batches:
        return _inputs(batch), itertools.chain([batch], batches)
    raise ValueError("the loader is empty: criteria by data need at least one batch of (inputs, targets)")


def _inputs(batch: Any) -> Any:
    return batch[0] if isinstance(batch, (tuple, list)) else batch


def data_scores(
    criterion: str, model: nn.Module, structure: Structure, groups: Sequence[Group], loader: Loader, loss: Loss | None
) -> list[Tensor]:
    """Of each group, [units]: small for what matters little."""
    if criterion == "taylor":
        return taylor(model, structure, groups, loader, loss or functional.cross_entropy)
    return _observed(criterion, structure, groups, loader)


def _observed(criterion: str, structure: Structure, groups: Sequence[Group], loader: Loader) -> list[Tensor]:
    """"apoz" (Hu et al. 2016, "Network Trimming", equation 1), negative so that many zeros make a small number, or
    "activation_mean". Over samples and positions, of every activation that holds the group's channels.

    The engine runs the network: it hands out any value of the graph, whether a module or a function made it.
    """
    watched: list[list[str]] = []
    for group in groups:
        nodes = [node for node in structure.graph.nodes if _is_activation(node, criterion)]
        values = [node.output for node in nodes if np.isin(structure.sets[node.output], group.sets).any()]
        if not values and criterion == "apoz":
            raise ValueError(
                f"apoz counts the zeros behind a ReLU, and there is none behind {group.name}: put "
                f"skip=[{group.name!r}], or choose another criterion"
            )
        own = [output for output, layer in structure.layer_of.items() if layer in group.judged_by]
        watched.append(values or own)
    names = sorted({value for values in watched for value in values})
    if not names:
        return []
    totals = {name: np.zeros(len(structure.sets[name])) for name in names}
    positions = dict.fromkeys(names, 0)
    for outputs in _run(structure, names, loader):
        for name, array in outputs.items():
            moved = np.moveaxis(array, structure.axes[name], -1)
            flat = moved.reshape(-1, moved.shape[-1])
            totals[name] += -(flat == 0).sum(0) if criterion == "apoz" else np.abs(flat).sum(0, dtype=np.float64)
            positions[name] += len(flat)
    scores = []
    for group, values in zip(groups, watched, strict=True):
        unit_of = {int(s): i for i, s in enumerate(group.sets)}
        says = []
        for value in values:
            units = np.asarray([unit_of.get(int(s), -1) for s in structure.sets[value]])
            says.append((units, torch.from_numpy(totals[value] / positions[value])))
        scores.append(per_unit(group, says))
    return scores


def _is_activation(node: Any, criterion: str) -> bool:
    if node.op != "Activation":
        return False
    act, low = node.attrs.get("act"), node.attrs.get("act_a")
    return criterion != "apoz" or act == "relu" or (act == "clip" and low == 0)


def _run(structure: Structure, names: Sequence[str], loader: Loader) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    graph = structure.graph.copy()
    graph.set_outputs(list(names))
    engine = sparsenet.engine.compile(graph, tune=False)
    for batch in loader:
        inputs = _inputs(batch)
        several = inputs.values() if isinstance(inputs, dict) else inputs
        given = several if isinstance(inputs, (dict, tuple, list)) else [inputs]
        results = engine(*(tensor.detach().cpu().float().numpy() for tensor in given))
        arrays = results if isinstance(results, (tuple, list)) else [results]
        yield dict(zip(names, arrays, strict=True))


def taylor(
    model: nn.Module, structure: Structure, groups: Sequence[Group], loader: Loader, loss: Loss
) -> list[Tensor]:
    """The change of the loss, to first order, when a unit's channels become zero: Molchanov et al. 2017, equation 8.

    |mean over positions of dL/dz * z|, its magnitude taken for each sample and then averaged: taken after summing over
    samples, as some code does, changes of opposite sign would cancel. Channels that go together are summed before,
    as they vanish together. z is the output of the batch norm behind a layer, or of the layer; behind a ReLU the
    product is the same.
    """
    probes = {m.layer: _probe(structure, m.layer) for group in groups for m in group.producers}
    totals = [torch.zeros(group.size, dtype=torch.float64) for group in groups]
    caught: dict[str, list[Tensor]] = {}
    handles = [_catch(model.get_submodule(probe), probe, caught) for probe in sorted(set(probes.values()))]
    samples = 0
    device = device_of(model)
    try:
        with modes_kept(model), torch.enable_grad():
            model.eval()
            for batch in loader:
                if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                    raise ValueError("taylor needs the loss, hence a loader of (inputs, targets)")
                caught.clear()
                inputs, targets = pytree.tree_map(lambda tensor: tensor.to(device), (batch[0], batch[1]))
                value = loss(call(model, inputs), targets)
                changes = _changes(value, caught, structure, len(targets))
                samples += len(targets)
                for group, total in zip(groups, totals, strict=True):
                    total += _of_group(group, probes, changes).abs().sum(0)
    finally:
        for handle in handles:
            handle.remove()
    return [(total / max(samples, 1)).float() for total in totals]


def _probe(structure: Structure, layer: str) -> str:
    """The batch norm that reads the layer's output, or the layer."""
    outputs = {output for output, name in structure.layer_of.items() if name == layer}
    for node in structure.graph.nodes:
        if node.op == "BatchNorm" and node.inputs[0] in outputs and node.output in structure.layer_of:
            return structure.layer_of[node.output]
    return layer


def _catch(module: nn.Module, name: str, caught: dict[str, list[Tensor]]) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        z = output if output.requires_grad else output.detach().requires_grad_()
        caught.setdefault(name, []).append(z)
        return z.clone()  # what comes next may write to its input in place; z stays as it is

    return module.register_forward_hook(hook)


def _changes(value: Tensor, caught: dict[str, list[Tensor]], structure: Structure, count: int) -> dict[str, Tensor]:
    """Of each probe, [samples, channels]: the mean over positions of dL/dz * z. The loss is a mean over samples."""
    tensors = [z for calls in caught.values() for z in calls]
    gradients = iter(torch.autograd.grad(value, tensors, allow_unused=True))
    changes = {}
    for name, calls in caught.items():
        axis = structure.axes[next(output for output, layer in structure.layer_of.items() if layer == name)]
        total = torch.zeros(())
        for z in calls:
            gradient = next(gradients)
            if gradient is not None:
                product = (gradient * z.detach()).movedim(axis, 1)
                total = total + count * product.reshape(*product.shape[:2], -1).mean(2).cpu().double()
        changes[name] = total
    return changes


def _of_group(group: Group, probes: dict[str, str], changes: dict[str, Tensor]) -> Tensor:
    """[samples, units]."""
    result = torch.zeros(1, group.size, dtype=torch.float64)
    for member in group.producers:
        change = changes.get(probes[member.layer], torch.zeros(()))
        if change.dim() == 2:
            units = torch.from_numpy(member.units)
            own = units >= 0
            result = result.expand(len(change), -1).clone().index_add_(1, units[own], change[:, own])
    return result
