"""The NumPy truth of every op, and how far from it fp32 may be.

:func:`run` interprets a graph in fp64 (or any dtype). :func:`bound` says how large the rounding error of an fp32
engine may grow; :func:`assert_close` and :func:`assert_layers_close` hold an engine to it.
"""

from sparsenet.reference.bounds import bound, node_bound
from sparsenet.reference.check import assert_close, assert_layers_close, layers, worst
from sparsenet.reference.interpret import OPS, evaluate, run
from sparsenet.reference.types import Array, Attrs, Inputs

__all__ = [
    "OPS",
    "Array",
    "Attrs",
    "Inputs",
    "assert_close",
    "assert_layers_close",
    "bound",
    "evaluate",
    "layers",
    "node_bound",
    "run",
    "worst",
]
