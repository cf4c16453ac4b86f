"""torch.compile(module, backend="sparsenet"): Dynamo hands over FX graphs, our engine runs those it can.

Dynamo lifts parameters and buffers to inputs of the FX graph. They are bound back as constants here, because zeros can
only be dropped from weights that are known; when a weight changes, the graph is imported again on the next call.
Weights changed behind autograd's back (`p.data.mul_(2)`) leave no trace: call torch.compiler.reset() after that.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import GraphModule

from sparsenet.engine import Engine, compile
from sparsenet.errors import SparsenetError
from sparsenet.frontends.torch import from_torch

_MAX_ENGINES = 8  # FX graphs are kept per set of sizes; a caller whose sizes never repeat must not fill the memory


class SparsenetFallbackWarning(UserWarning):
    """A part of the module runs in eager PyTorch; the message says which part and why."""


def sparsenet(
    module: GraphModule, example_inputs: Sequence[Any], *, options: dict[str, Any] | None = None
) -> Callable[..., Any]:
    """Dynamo backend: inference on the CPU through sparsenet, anything else in eager PyTorch with a warning.

    Args:
        module: the FX graph that Dynamo captured.
        example_inputs: its inputs; parameters and buffers are among them.
        options: keyword arguments of sparsenet.compile(), from torch.compile(..., options={"threads": 2}).

    Example:
        >>> fast = torch.compile(model.eval(), backend="sparsenet", options={"threads": 2})
        >>> with torch.inference_mode():
        ...     y = fast(x)
    """
    return _Compiled(module, example_inputs, options or {})


class _Compiled:
    """One FX graph. Imports lazily, with the real inputs of a call: at compile time Dynamo may hold symbolic sizes."""

    def __init__(self, module: GraphModule, example_inputs: Sequence[Any], options: dict[str, Any]) -> None:
        self._module = module
        self._options = options
        tensors = [isinstance(x, torch.Tensor) for x in example_inputs]
        # Dynamo's mark on what belongs to a module rather than to the call.
        static = [getattr(x, "_dynamo_static_input_type", None) is not None for x in example_inputs]
        self._weights = [i for i, t in enumerate(tensors) if t and static[i]]
        # Python numbers arrive as they are or, where they may change between calls, as 0-d tensors.
        scalar = [t and not static[i] and example_inputs[i].dim() == 0 for i, t in enumerate(tensors)]
        self._scalars = [i for i, s in enumerate(scalar) if s]
        self._activations = [i for i, t in enumerate(tensors) if t and not static[i] and not scalar[i]]
        self._derived = self._derive([i for i, t in enumerate(tensors) if not t])
        self._numbers = [i for i, t in enumerate(tensors) if not t and i not in self._derived]
        self._versions: list[tuple[int, int]] = []
        self._engines: dict[tuple[Any, ...], Engine | None] = {}

    def _derive(self, sizes: list[int]) -> dict[int, tuple[int, int]]:
        """Inputs that are sizes of activations -> (activation, axis): so the batch stays symbolic in the import."""
        placeholders = [node for node in self._module.graph.nodes if node.op == "placeholder"]
        known: dict[str, tuple[int, int]] = {}
        for i in self._activations:
            for axis, size in enumerate(placeholders[i].meta["example_value"].shape):
                known.setdefault(str(size), (i, axis))
        symbols = {i: str(placeholders[i].meta.get("example_value")) for i in sizes}
        return {i: known[symbol] for i, symbol in symbols.items() if symbol in known}

    def __call__(self, *inputs: Any) -> Any:
        if torch.is_grad_enabled() and any(isinstance(x, torch.Tensor) and x.requires_grad for x in inputs):
            self._warn("gradients are wanted; run inference under torch.inference_mode() or torch.no_grad()")
            return self._module(*inputs)
        versions = [_version(inputs[i]) for i in self._weights]
        if versions != self._versions:
            self._engines.clear()
            self._versions = versions
        shapes = [inputs[i].shape for i in self._activations]
        numbers = [inputs[i] for i in self._numbers] + [inputs[i].item() for i in self._scalars]
        key = (*numbers, *(shape[1:] for shape in shapes))
        fixed = (*key, *(shape[:1] for shape in shapes))
        if key not in self._engines and fixed not in self._engines:
            if len(self._engines) >= _MAX_ENGINES:
                self._engines.pop(next(iter(self._engines)))
            made = self._import(inputs)
            any_batch = made is not None and made.inputs[0].shape[0] is None
            self._engines[key if any_batch else fixed] = made
        engine = self._engines[key] if key in self._engines else self._engines[fixed]
        if engine is None:
            return self._module(*inputs)
        results = engine(*(inputs[i] for i in self._activations))
        return list(results) if isinstance(results, tuple) else [results]

    def _import(self, inputs: Sequence[Any]) -> Engine | None:
        try:
            with warnings.catch_warnings():
                # Dynamo's first graph is for the sizes of the first call: no news to the caller.
                warnings.filterwarnings("ignore", "the graph only runs batch size")
                graph = from_torch(self._bind(inputs), tuple(inputs[i] for i in self._activations))
            return compile(graph, **self._options)
        except SparsenetError as error:
            self._warn(str(error))
            return None

    def _bind(self, inputs: Sequence[Any]) -> GraphModule:
        """A copy of the FX graph whose weights are buffers and whose sizes are numbers."""
        source = self._module
        root: dict[str, Any] = {
            **dict(source.named_modules()),
            **dict(source.named_parameters()),
            **dict(source.named_buffers()),
        }
        graph = torch.fx.Graph()
        placeholders = [node for node in source.graph.nodes if node.op == "placeholder"]
        env: dict[torch.fx.Node, Any] = {placeholders[i]: graph.placeholder(f"x{i}") for i in self._activations}
        for position, node in enumerate(placeholders):
            if position in self._weights or position in self._scalars:
                root[f"bound_{node.name}"] = inputs[position].detach()
                env[node] = graph.get_attr(f"bound_{node.name}")
            elif position in self._derived:
                activation, axis = self._derived[position]
                env[node] = graph.call_function(torch.ops.aten.sym_size.int, (env[placeholders[activation]], axis))
            elif position in self._numbers:
                env[node] = inputs[position]
        scalars = {placeholders[i]: inputs[i].item() for i in self._scalars}
        for node in source.graph.nodes:
            if node.op == "call_method" and node.target == "item" and node.args[0] in scalars:
                env[node] = scalars[node.args[0]]
            elif node.op != "placeholder":
                env[node] = graph.node_copy(node, env.__getitem__)
        bound = GraphModule(root, graph)
        bound.training = False  # only here: modules below are the user's own, and say themselves how they run
        return bound

    def _warn(self, reason: str) -> None:
        nodes = sum(node.op.startswith("call") for node in self._module.graph.nodes)
        warnings.warn(
            f"sparsenet: {nodes} nodes run in eager PyTorch instead: {reason}", SparsenetFallbackWarning, stacklevel=2
        )


def _version(weight: torch.Tensor) -> tuple[int, int]:
    # Tensors made in inference mode carry no version.
    return weight.data_ptr(), 0 if weight.is_inference() else weight._version
