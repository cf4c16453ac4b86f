"""What is left of each layer, and in which pattern: the table to look at after pruning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sparsenet.prune.blocks import block_sums
from sparsenet.prune.layout import by_input, input_channels, to_matrix
from sparsenet.prune.masks import weight_of, weighted
from sparsenet.prune.snapshot import Snapshot, modes_kept

if TYPE_CHECKING:
    from rich.table import Table

_N_M = ((1, 4), (2, 4), (4, 8))
_BLOCKS = ((4, 4), (8, 1), (1, 8), (4, 1), (1, 4), (2, 1), (1, 2))  # larger ones first: they are smaller ones too
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class LayerSummary:
    """One layer. ``macs`` of one sample, dense; ``useful_macs`` with nonzero weights only; None without an example."""

    layer: str
    kind: str
    shape: tuple[int, ...]
    weights: int
    nonzeros: int
    pattern: str
    macs: int | None

    @property
    def sparsity(self) -> float:
        return 1 - self.nonzeros / self.weights

    @property
    def useful_macs(self) -> int | None:
        # Each weight is used equally often.
        return None if self.macs is None else self.macs // self.weights * self.nonzeros


@dataclass(frozen=True)
class Summary:
    """Rows of :func:`summary`. Prints as a table; ``rich.print`` and notebooks draw it."""

    rows: tuple[LayerSummary, ...]

    def __iter__(self) -> Iterator[LayerSummary]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def weights(self) -> int:
        return sum(row.weights for row in self.rows)

    @property
    def nonzeros(self) -> int:
        return sum(row.nonzeros for row in self.rows)

    @property
    def sparsity(self) -> float:
        """Share of zeros over all weights of convolutions and linear layers."""
        return 1 - self.nonzeros / self.weights if self.weights else 0.0

    @property
    def macs(self) -> int | None:
        return _total([row.macs for row in self.rows])

    @property
    def useful_macs(self) -> int | None:
        return _total([row.useful_macs for row in self.rows])

    def __str__(self) -> str:
        cells = [list(_COLUMNS), *self._cells()]
        widths = [max(len(line[i]) for line in cells) for i in range(len(_COLUMNS))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if column in _LEFT else cell.rjust(width)
                for cell, width, column in zip(line, widths, _COLUMNS, strict=True)
            ).rstrip()
            for line in cells
        )

    def __rich__(self) -> Table:
        from rich.box import SIMPLE_HEAD
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in _COLUMNS:
            table.add_column(column, justify="left" if column in _LEFT else "right", no_wrap=column not in _LEFT)
        cells = self._cells()
        for i, line in enumerate(cells):
            table.add_row(*map(escape, line), end_section=i == len(cells) - 2)
        return table

    def _cells(self) -> list[list[str]]:
        lines = [
            [
                row.layer,
                row.kind,
                "x".join(map(str, row.shape)),
                f"{row.weights:,}",
                f"{row.nonzeros:,}",
                f"{row.sparsity:.1%}",
                _count(row.macs),
                _count(row.useful_macs),
                row.pattern,
            ]
            for row in self.rows
        ]
        sums = [f"{self.weights:,}", f"{self.nonzeros:,}", f"{self.sparsity:.1%}"]
        return [*lines, ["total", "", "", *sums, _count(self.macs), _count(self.useful_macs), ""]]


_COLUMNS = ("layer", "kind", "shape", "weights", "nonzeros", "zeros", "MACs", "useful MACs", "pattern")
_LEFT = {"layer", "kind", "shape", "pattern"}


def summary(model: nn.Module, example: Any = None) -> Summary:
    """A row for each convolution and linear layer: shape, nonzeros, MACs and the pattern of the zeros.

    Args:
        model: masked or not; it is left as it is.
        example: a tensor, or a tuple of tensors for ``model(*example)``, batch first; for the MACs of one sample,
            counted over the calls that the model really makes.

    Returns:
        A :class:`Summary`. Patterns: "dense", "filters 3/8" (rows that are whole zeros, of all, and no other zeros),
        "2:4", "1:4", "4:8", "4x1" and other blocks, "weights" for any other zeros.

    Example:
        >>> print(prune.summary(model, torch.zeros(1, 3, 32, 32)))
    """
    macs = {} if example is None else _count_macs(model, example)
    rows = []
    for name, module in weighted(model):
        weight = weight_of(module)
        kind = next(cls.__name__ for cls in type(module).__mro__ if not cls.__name__.startswith("Parametrized"))
        nonzeros = int((weight != 0).sum())
        calls = None if example is None else macs.get(module, 0)
        rows.append(
            LayerSummary(name, kind, tuple(weight.shape), weight.numel(), nonzeros, pattern(module, weight), calls)
        )
    return Summary(tuple(rows))


@torch.no_grad()
def _count_macs(model: nn.Module, example: Any) -> dict[nn.Module, int]:
    inputs = example if isinstance(example, (tuple, list)) else (example,)
    macs: dict[nn.Module, int] = {}

    def count(module: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        # Outputs of a channel a sample, each of which takes in every weight of its row; transposed: inputs.
        plane = args[0] if isinstance(module, _TRANSPOSED) else output
        channels = plane.shape[-1] if isinstance(module, nn.Linear) else plane.shape[1]
        uses = plane.numel() // len(plane) // channels
        macs[module] = macs.get(module, 0) + uses * weight_of(module).numel()

    snapshot = Snapshot(model)
    handles = [module.register_forward_hook(count) for _, module in weighted(model)]
    try:
        with modes_kept(model):
            model.eval()
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
        snapshot.restore()
    return macs


def pattern(module: nn.Module, weight: torch.Tensor) -> str:
    """The name of the pattern that the zeros of ``weight`` lie in: see :func:`summary`."""
    nonzero = weight != 0
    if nonzero.all():
        return "dense"
    matrix = to_matrix(module, nonzero)
    rows = matrix.flatten(0, 1)
    if torch.equal(rows.any(1), rows.all(1)):
        return f"filters {int((~rows.any(1)).sum())}/{len(rows)}"
    for n, m in _N_M:
        if input_channels(module) % m == 0:
            parts = by_input(module, nonzero)
            if bool((parts.reshape(-1, m).sum(1) == n).all()):
                return f"{n}:{m}"
    sizes = torch.ones_like(matrix, dtype=torch.float32)
    for height, width in _BLOCKS:
        if matrix.shape[1] >= height and matrix.shape[2] >= width:
            sums, full = block_sums(matrix.float(), height, width), block_sums(sizes, height, width)
            if bool(((sums == 0) | (sums == full)).all()):
                return f"{height}x{width}"
    return "weights"


def _total(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _count(count: int | None) -> str:
    return "" if count is None else f"{count:,}"
