"""from_torch(): an nn.Module or ExportedProgram becomes a Graph, by way of torch.export."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.export import ExportedProgram

from sparsenet.errors import InvalidArgumentError
from sparsenet.frontends.aten.lower import Lowering
from sparsenet.frontends.torch_export import export_module, functional
from sparsenet.graph import Graph

__all__ = ["from_torch"]


def from_torch(module: torch.nn.Module | ExportedProgram, example_inputs: Any = None) -> Graph:
    """Import a network in eval mode. Masks and parametrizations are baked into the weights, which keep their zeros.

    Args:
        module: the network. It is left exactly as it was. An ExportedProgram goes in as it stands: export it from a
            module in eval mode, with a dynamic axis 0 if other batch sizes than the example's shall run.
        example_inputs: a tensor, a tuple or list of tensors for forward(*inputs), or a dict for forward(**inputs).
            Shapes count, values do not; axis 0 is the batch and may be 1. Not needed for an ExportedProgram.

    Returns:
        The graph. Its batch is symbolic; where the network only holds for one batch size, `graph.fixed_batch` is that
        size, and a warning says why. Values are named by module path ("layer1.0.conv1"), weights by their full name.
        Dict outputs keep their keys as names; a None among the outputs is left out.

    Raises:
        UnsupportedOpError: lists every operator that sparsenet cannot take, with its nodes and source lines.
        InvalidArgumentError: `module` or `example_inputs` is of the wrong kind.
        ShapeError: an input has no batch axis, or a symbolic size on another axis.
        GraphError: torch.export cannot trace the module, or a weight is not finite.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
        >>> from_torch(model, torch.randn(1, 3, 8, 8))
        <sparsenet.Graph input[N, 3, 8, 8] -> 1[N, 8, 6, 6]: 1 Conv, 1 Activation; 224 weights>
    """
    why_static = None
    if isinstance(module, ExportedProgram):
        program = module
    elif isinstance(module, torch.nn.Module):
        program, why_static = export_module(module, example_inputs)
    else:
        raise InvalidArgumentError(
            f"from_torch takes a torch.nn.Module or a torch.export.ExportedProgram; got {type(module).__name__}"
        )
    lowering = Lowering(functional(program))
    graph = lowering.run()
    if why_static is not None:
        warnings.warn(
            f"the graph only runs batch size {graph.fixed_batch}: torch.export cannot keep the batch symbolic: "
            f"{why_static}",
            stacklevel=2,
        )
    if lowering.rounded:
        names = lowering.rounded
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        warnings.warn(f"{len(names)} weights were converted to float32: {shown}", stacklevel=2)
    return graph
