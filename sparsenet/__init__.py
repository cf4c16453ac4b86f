"""sparsenet runs pruned neural networks on CPUs as fast as their zeros allow.

>>> import sparsenet as sn  # doctest: +SKIP
>>> graph = sn.from_torch(module, example_inputs)  # doctest: +SKIP
>>> engine = sn.compile(graph)  # doctest: +SKIP
>>> y = engine(x)  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sparsenet import errors

if TYPE_CHECKING:
    from sparsenet._core import __version__
    from sparsenet.engine import Engine, compile
    from sparsenet.frontends.onnx import from_onnx
    from sparsenet.frontends.torch import from_torch
    from sparsenet.graph import Graph, load
    from sparsenet.session import InferenceSession

__all__ = [
    "Engine",
    "Graph",
    "InferenceSession",
    "__version__",
    "compile",
    "errors",
    "from_onnx",
    "from_torch",
    "load",
]

# Loaded on first use (PEP 562): `import sparsenet` is quick, torch is needed by from_torch alone, onnx by from_onnx.
_HOME = {
    "Engine": "sparsenet.engine",
    "Graph": "sparsenet.graph",
    "InferenceSession": "sparsenet.session",
    "__version__": "sparsenet._core",
    "compile": "sparsenet.engine",
    "from_onnx": "sparsenet.frontends.onnx",
    "from_torch": "sparsenet.frontends.torch",
    "load": "sparsenet.graph",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sparsenet' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
