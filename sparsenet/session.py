"""InferenceSession: the same engine under the names that onnxruntime users know."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sparsenet import _core
from sparsenet.engine import Engine, compile
from sparsenet.errors import InvalidArgumentError


class NodeArg(NamedTuple):
    """An input or output. shape[0] is "N" where any batch size runs."""

    name: str
    shape: list[int | str]
    type: str = "tensor(float)"


class InferenceSession:
    """Run a .snet file (path or bytes) or a Graph; further arguments are those of sparsenet.compile().

    Example:
        >>> session = sparsenet.InferenceSession("model.snet", threads=2)
        >>> [y] = session.run(None, {"x": x})
    """

    def __init__(self, model: str | os.PathLike[str] | bytes | _core.Graph, **options: Any) -> None:
        self.engine: Engine = compile(_core.load_bytes(model) if isinstance(model, bytes) else model, **options)

    def get_inputs(self) -> list[NodeArg]:
        """Inputs in the order of the network."""
        return [NodeArg(info.name, ["N" if d is None else d for d in info.shape]) for info in self.engine.inputs]

    def get_outputs(self) -> list[NodeArg]:
        """Outputs in the order of the network."""
        return [NodeArg(info.name, ["N" if d is None else d for d in info.shape]) for info in self.engine.outputs]

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]) -> list[Any]:
        """Outputs of the given names, or all of them for None, as a list; input_feed maps input names to arrays."""
        names = [info.name for info in self.engine.outputs]
        wanted = names if output_names is None else list(output_names)
        unknown = [n for n in wanted if n not in names]
        if unknown:
            raise InvalidArgumentError(f"output_names: unknown {unknown}; the outputs are {names}")
        if not isinstance(input_feed, Mapping):
            raise InvalidArgumentError(
                f"input_feed: expected a dict of input names to arrays, got {type(input_feed).__name__}"
            )
        results = self.engine(input_feed)
        by_name = dict(zip(names, results if isinstance(results, tuple) else (results,), strict=True))
        return [by_name[n] for n in wanted]

    def __enter__(self) -> InferenceSession:
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing to release: memory and threads go with the session."""

    def __repr__(self) -> str:
        return f"InferenceSession({self.engine!r})"
