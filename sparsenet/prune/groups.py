"""Which channels can only be cut together, worked out from the exported graph.

The sum of a residual block needs the same channels of all its terms; a batch norm, a depthwise filter and the run of
features that a channel becomes in a flatten go with the channel. The engine's pass that removes dead channels has to
know all that exactly (docs/passes.md), so this is read off it: what is a group here, the engine can shrink.

Torch-Pruning's dependency graph (Fang et al. 2023) finds the same groups, and a test holds the two against each other.
Ours is used because it knows which masks are already there, tells channels that the model's code counts on (padded
shortcuts and shuffles, where version 1.6.1 fails with an IndexError and a ZeroDivisionError), and cannot disagree with
the engine.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sparsenet import _core
from sparsenet.errors import GraphError
from sparsenet.frontends.torch import from_torch
from sparsenet.prune.criteria import NORMS, TRANSPOSED
from sparsenet.prune.masks import bake

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Member:
    """A layer of a group. ``units[c]`` is the unit of the group that channel c belongs to, -1 for another group's."""

    layer: str
    kind: str  # "conv", "linear", "depthwise" or "norm"
    units: Indices


@dataclass(frozen=True)
class Group:
    """Layers whose output channels are cut together, unit by unit.

    Attributes:
        size: the number of units. Most are one channel of each member.
        members: producers ("conv", "linear") and what follows them ("depthwise", "norm"), in the order they run.
        judged_by: the producers that decide which units go. Where a projection shortcut is added to a branch, this is
            the projection alone: its indices are the branch's too (Li et al. 2017, section 3.3).
        held: why nothing can be cut, or "".
    """

    name: str
    size: int
    members: tuple[Member, ...]
    judged_by: tuple[str, ...]
    held: str
    sets: Indices  # of each unit: its number in Structure.sets

    @property
    def layers(self) -> list[str]:
        """The members' names."""
        return [member.layer for member in self.members]

    @property
    def producers(self) -> list[Member]:
        """The members whose filters make the channels."""
        return [member for member in self.members if member.kind in ("conv", "linear")]

    def __repr__(self) -> str:
        return f"<Group {self.name}: {self.size} units of {', '.join(self.layers)}{self.held and f'; {self.held}'}>"


def groups(model: nn.Module, example: Any) -> list[Group]:
    """The groups of a model, in the order in which the forward pass makes their channels.

    Args:
        model: any module that the importer reads; it is not changed. A layer's channels are in exactly one group, but
            for a norm behind a concatenation, which is in several.
        example: a tensor, or what `sparsenet.from_torch` takes.

    Returns:
        One group for each set of layers that share channels. Groups that cannot be cut say why in `held`: network
        outputs, and channels that the model's own Python code slices, pads or shuffles, since only the code knows how
        many it expects.

    Raises `sparsenet.errors.SparsenetError` where the importer does.

    Example:
        >>> for group in prune.groups(model, torch.zeros(1, 3, 32, 32)):
        ...     print(group.name, group.size, group.layers)
    """
    return Structure(model, example).groups


class Structure:
    """The graph of a model with its sets of channels, and the groups that they make."""

    def __init__(self, model: nn.Module, example: Any) -> None:
        # Masks are baked in a copy, so that each weight keeps its name.
        self.graph = from_torch(bake(copy.deepcopy(model)), example)
        passes = [name for name, _ in _core.passes() if name != "canonicalize"]  # it spells out channel shuffles
        self.graph.run_passes(disabled=passes)
        found = _core.channel_sets(self.graph)
        self.axes = {value: axis for value, (axis, _, _) in found.items()}
        self.sets: dict[str, Indices] = {value: sets.astype(np.int64) for value, (_, sets, _) in found.items()}
        self._modules = dict(model.named_modules())
        self.layer_of: dict[str, str] = {}  # output value -> layer, of weighted layers and norms
        for node in self.graph.nodes:
            name = self._layer(node)
            if name is not None:
                self.layer_of[node.output] = name
        self._unite_shared()
        self._held = dict(self._find_held([value for value, (_, _, pinned) in found.items() if pinned]))
        self.groups = self._groups()

    def _layer(self, node: _core.Node) -> str | None:
        if node.op not in ("Conv", "ConvTranspose", "Linear", "BatchNorm"):
            return None
        # By the weight, not the node, whose name is numbered where a layer runs twice. A norm may have no scale.
        constant = node.inputs[3 if node.op == "BatchNorm" else 1]
        name, _, _ = (constant or "").rpartition(".")
        layer = self._modules.get(name)
        return name if isinstance(layer, (*CONVS, nn.Linear, *NORMS)) else None

    def _unite_shared(self) -> None:
        """A layer that runs twice has the same channels both times."""
        first: dict[str, str] = {}
        for output, layer in self.layer_of.items():
            other = first.setdefault(layer, output)
            sources = [node.inputs[0] for node in self.graph.nodes if node.output in (other, output)]
            for a, b in ((other, output), (sources[0], sources[-1])):
                for kept, gone in zip(self.sets[str(a)], self.sets[str(b)], strict=True):
                    if kept != gone:
                        for sets in self.sets.values():
                            sets[sets == gone] = kept

    def _find_held(self, pinned: list[str]) -> Iterator[tuple[int, str]]:
        def hold(value: str | None, why: str) -> Iterator[tuple[int, str]]:
            return ((int(s), why) for s in self.sets[str(value)])

        for node in self.graph.nodes:
            source, output = node.inputs[0], node.output
            axis = self.axes[str(source)]
            code = f"the model's code counts on the number of its channels ({node.op} {node.name})"
            if node.op in ("Conv", "ConvTranspose", "Linear") and output not in self.layer_of:
                yield from hold(output, f"{node.name} is not a layer of the model but a function with weights")
                yield from hold(source, f"{node.name} is not a layer of the model but a function with weights")
            elif node.op == "Slice" and node.attrs["axis"] == axis:
                yield from hold(source, code)
            elif node.op == "Pad":
                pads = node.attrs["pads"]
                if pads[axis - 1] or pads[len(pads) // 2 + axis - 1]:
                    yield from hold(output, code)
            elif node.op == "ChannelShuffle" or (
                node.op == "Reshape" and len(self.sets[output]) < len(self.sets[str(source)])
            ):
                yield from hold(source, code)
        for value in pinned:
            outputs = [name for name, _ in self.graph.outputs]
            yield from hold(value, "the network's output" if value in outputs else f"{value} needs all its channels")

    def _groups(self) -> list[Group]:
        layers: dict[str, tuple[str, Indices]] = {}
        for node in self.graph.nodes:
            if node.output in self.layer_of:
                kind = self._kind(node)
                layers.setdefault(self.layer_of[node.output], (kind, self.sets[node.output]))
        together: list[tuple[set[int], list[str]]] = []  # producers that share a set
        for name, (kind, sets) in layers.items():
            if kind not in ("conv", "linear"):
                continue
            mine, names = set(sets.tolist()), [name]
            for group in [g for g in together if g[0] & mine]:
                together.remove(group)
                mine, names = mine | group[0], group[1] + names
            together.append((mine, names))
        order = {name: i for i, name in enumerate(layers)}
        projections = set(self._projections())
        found = []
        for _, names in sorted(together, key=lambda g: min(order[name] for name in g[1])):
            units = np.asarray(list(dict.fromkeys(s for name in names for s in layers[name][1].tolist())))
            unit_of = {int(s): i for i, s in enumerate(units)}
            members = []
            for name, (kind, sets) in layers.items():
                own = np.asarray([unit_of.get(s, -1) for s in sets.tolist()])
                if (own >= 0).any():
                    members.append(Member(name, kind, own))
            held = next((self._held[s] for s in units.tolist() if s in self._held), "")
            judges = tuple(name for name in names if name in projections) or tuple(names)
            found.append(Group(members[0].layer, len(units), tuple(members), judges, held, units))
        return found

    def _kind(self, node: _core.Node) -> str:
        if node.op == "BatchNorm":
            return "norm"
        if node.op == "Linear":
            return "linear"
        groups = int(node.attrs["groups"])
        channels = self.graph.shape(str(node.inputs[0]))[1]
        return "depthwise" if groups > 1 and groups == channels else "conv"

    def _projections(self) -> Iterator[str]:
        """Convolutions on the short side of a sum: the other side starts from what they read."""
        by_output = {node.output: node for node in self.graph.nodes}
        for node in self.graph.nodes:
            if node.op != "Add":
                continue
            ends = [self._behind(by_output, str(value)) for value in node.inputs]
            for one, other in (ends, ends[::-1]):
                if one is None or other is None or one.op != "Conv" or one.output not in self.layer_of:
                    continue
                if one.inputs[0] in _ancestors(by_output, other) and one.inputs[0] != other.inputs[0]:
                    yield self.layer_of[one.output]

    @staticmethod
    def _behind(by_output: dict[str, _core.Node], value: str) -> _core.Node | None:
        """The weighted layer whose output, but for batch norm, the value is."""
        node = by_output.get(value)
        while node is not None and node.op in ("BatchNorm", "Identity"):
            node = by_output.get(str(node.inputs[0]))
        return node if node is not None and node.op in ("Conv", "ConvTranspose", "Linear") else None


def _ancestors(by_output: dict[str, _core.Node], node: _core.Node) -> set[str]:
    seen: set[str] = set()
    todo = [value for value in node.inputs if value]
    while todo:
        value = todo.pop()
        if value not in seen:
            seen.add(value)
            todo += [v for v in (by_output[value].inputs if value in by_output else ()) if v]
    return seen


def by_definition(model: nn.Module, layers: Iterable[str]) -> list[Group]:
    """Each of these convolutions alone, with the batch norm of its width that the model defines before its next one.

    That is how networks are written, and all that can be said without an example to trace the model with.
    """
    pairs: list[tuple[str, list[str]]] = []
    modules = dict(model.named_modules())
    for name, module in modules.items():
        if isinstance(module, CONVS):
            pairs.append((name, []))
        elif pairs and isinstance(module, NORMS) and not pairs[-1][1]:
            conv: Any = modules[pairs[-1][0]]
            if module.num_features == conv.out_channels:
                pairs[-1][1].append(name)
    wanted = set(layers)
    found = []
    for name, norms in pairs:
        if name not in wanted:
            continue
        layer: Any = modules[name]
        if layer.groups == 1:
            units = np.arange(layer.out_channels)
            members = (Member(name, "conv", units), *(Member(norm, "norm", units) for norm in norms))
            found.append(Group(name, layer.out_channels, members, (name,), "", units))
    return found


def check_held(group: Group) -> None:
    """Raises if the group cannot be cut, saying why and what can be done."""
    if group.held:
        raise GraphError(
            f"the channels of {group.name} cannot be cut: {group.held}. Leave {group.name} out; or, to mask it by "
            "itself without shrinking it, call filters without example"
        )
