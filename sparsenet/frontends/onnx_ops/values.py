"""What the names of an ONNX model stand for while it is converted: besides arrays and names of IR values, these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from sparsenet.frontends.onnx_ops.table import Unsupported
from sparsenet.frontends.onnx_ops.tensors import Constant


class Batch:
    """The unknown batch size, as an element of an integer array: it may be moved about but not computed with."""

    def __repr__(self) -> str:
        return "N"

    def __mul__(self, other: Any) -> Batch:
        return self if other == 1 else self._refuse()

    __rmul__ = __mul__
    __floordiv__ = __mul__

    def _refuse(self, *_: Any) -> NoReturn:
        raise Unsupported("computes with the batch size")

    __add__ = __radd__ = __sub__ = __rsub__ = __rfloordiv__ = __neg__ = __abs__ = __pow__ = __mod__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __float__ = __int__ = __index__ = _refuse


BATCH = Batch()


@dataclass(frozen=True)
class Repeated:
    """A constant that is alike for all samples of any batch; `sample` is of batch 1."""

    sample: Constant


class Unknown:
    """The result of a node that was reported already."""


UNKNOWN = Unknown()
