"""What an engine says about itself: the steps of its plan, their measured speed, and traces of single calls."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparsenet import _core
from sparsenet.arrays import FloatArray, shape_text
from sparsenet.atomic import write_text

if TYPE_CHECKING:
    from rich.table import Table

    from sparsenet.backend import Backend


@dataclass(frozen=True)
class Step:
    """One step of a plan. Weights and nnz count elements; macs are per sample, useful_macs over nonzeros only."""

    node: str
    op: str
    kernel: str
    why: str
    shape: tuple[int | None, ...]  # of the output; None: the batch
    weights: int
    nnz: int
    macs: float
    useful_macs: float
    packed_bytes: int
    layout: str = ""  # of a convolution's matrix kernel: packed, sliding, padded or shifted; see `kernel` of `compile`

    @property
    def density(self) -> float:
        """Nonzeros over weights; 1 for a step without weights."""
        return self.nnz / self.weights if self.weights else 1.0

    @property
    def family(self) -> str:
        """The kernel's family, for summaries: spmm, gemm, pool, ..."""
        return self.kernel.removeprefix("numba_").split("_", 1)[0]

    def output_bytes(self, batch: int) -> int:
        """Bytes the step writes for a batch."""
        return 4 * batch * int(np.prod([d for d in self.shape[1:] if d is not None], dtype=np.int64))


@dataclass(frozen=True)
class Row(Step):
    """A step and its speed: milliseconds a call, useful GFLOP/s (two operations a nonzero), % of the FMA peak."""

    ms: float | None = None
    gflops: float | None = None
    peak_percent: float | None = None


@dataclass(frozen=True)
class Timing:
    """Median seconds of each step over `repeat` calls on a batch."""

    batch: int
    repeat: int
    seconds: list[float]


_COLUMNS = ("step", "op", "output", "density", "nnz", "kernel", "ms", "GFLOP/s", "% peak", "why")
_LEFT = {"step", "op", "output", "kernel", "why"}


@dataclass(frozen=True)
class Explanation:
    """Rows of Engine.explain(). Prints as a table; `rich.print` and notebooks draw it; to_json() is for programs.

    `total_ms` is the sum of the steps' medians; peak_gflops is that of all threads together.
    """

    title: str
    isa: str
    threads: int
    batch: int | None
    peak_gflops: float | None
    rows: tuple[Row, ...]

    @staticmethod
    def build(steps: list[Step], timing: Timing | None, *, title: str, isa: str, threads: int) -> Explanation:
        """Join steps and their timing; measures the FMA peak of this machine on the first use."""
        if timing is None:
            rows = tuple(Row(**_shallow(step)) for step in steps)
            return Explanation(title, isa, threads, None, None, rows)
        peak = _core.peak_gflops(isa) * min(threads, os.cpu_count() or 1)
        timed = []
        for step, seconds in zip(steps, timing.seconds, strict=True):
            rate = 2e-9 * step.useful_macs * timing.batch / seconds if seconds > 0 and step.useful_macs else None
            percent = 100 * rate / peak if rate is not None else None
            timed.append(Row(**_shallow(step), ms=1e3 * seconds, gflops=rate, peak_percent=percent))
        return Explanation(title, isa, threads, timing.batch, peak, tuple(timed))

    @property
    def total_ms(self) -> float | None:
        """Sum of the steps' times; None where nothing was measured."""
        return None if self.batch is None else sum(row.ms or 0.0 for row in self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """All of it as JSON text; also written to `path` if given, replacing the file only once it is complete."""
        content = {
            "engine": self.title,
            "isa": self.isa,
            "threads": self.threads,
            "batch": self.batch,
            "peak_gflops": self.peak_gflops,
            "total_ms": self.total_ms,
            "rows": [asdict(row) | {"density": row.density} for row in self.rows],
        }
        text = json.dumps(content, indent=1)
        if path is not None:
            write_text(path, text)
        return text

    def __str__(self) -> str:
        lines = [list(_COLUMNS), *self._cells()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(_COLUMNS))]
        text = [self.title]
        for line in lines:
            cells = (
                cell.ljust(width) if name in _LEFT else cell.rjust(width)
                for cell, width, name in zip(line, widths, _COLUMNS, strict=True)
            )
            text.append("  ".join(cells).rstrip())
        text.append(self._caption())
        return "\n".join(text)

    def __rich__(self) -> Table:
        from rich.box import SIMPLE_HEAD
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=escape(self.title), caption=escape(self._caption()), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name in _COLUMNS:
            text = name in _LEFT  # may wrap on a narrow terminal; numbers may not
            table.add_column(name, justify="left" if text else "right", no_wrap=not text, overflow="fold")
        for cells in self._cells():
            table.add_row(*map(escape, cells))
        return table

    def _cells(self) -> list[list[str]]:
        return [
            [
                row.node,
                row.op,
                shape_text(row.shape),
                f"{row.density:.3f}" if row.weights else "",
                f"{row.nnz:,}" if row.weights else "",
                row.kernel,
                "" if row.ms is None else f"{row.ms:.3f}",
                "" if row.gflops is None else f"{row.gflops:.1f}",
                "" if row.peak_percent is None else f"{row.peak_percent:.0f}",
                row.why,
            ]
            for row in self.rows
        ]

    def _caption(self) -> str:
        if self.batch is None or self.peak_gflops is None:
            return f"{len(self.rows)} steps, not timed"
        return (
            f"{self.total_ms:.3f} ms for a batch of {self.batch}; FMA peak {self.peak_gflops:.0f} GFLOP/s "
            f"({self.isa}, {self.threads} thread{'s' * (self.threads > 1)}); GFLOP/s count nonzeros only"
        )


@dataclass(frozen=True)
class Profile:
    """One timed call: when each step began and ended, in seconds from the start of the call."""

    batch: int
    steps: tuple[Step, ...]
    begin: tuple[float, ...]
    end: tuple[float, ...]

    @property
    def seconds(self) -> tuple[float, ...]:
        """How long each step took."""
        return tuple(e - b for b, e in zip(self.begin, self.end, strict=True))

    @property
    def total_seconds(self) -> float:
        """From the start of the call to the end of the last step."""
        return max(self.end, default=0.0)

    def __str__(self) -> str:
        width = max((len(step.node) for step in self.steps), default=0)
        lines = [
            f"{step.node:{width}}  {1e3 * seconds:9.3f} ms  {step.kernel}"
            for step, seconds in zip(self.steps, self.seconds, strict=True)
        ]
        return "\n".join([*lines, f"{'total':{width}}  {1e3 * self.total_seconds:9.3f} ms  batch {self.batch}"])


def measure(
    backend: Backend, batch: int, inputs: list[FloatArray], outputs: list[FloatArray], repeat: int
) -> Timing:
    """Median time of each step over `repeat` calls, after one that warms caches and buffers."""
    backend.run(batch, inputs, outputs)
    samples: list[npt.NDArray[np.float64]] = []
    for _ in range(repeat):
        begin, end = backend.run_timed(batch, inputs, outputs)
        samples.append(np.asarray(end) - np.asarray(begin))
    return Timing(batch, repeat, np.median(samples, axis=0).tolist())


def write_trace(path: Path, profile: Profile, title: str) -> None:
    """Write a Chrome trace (JSON object format, complete events, microseconds) of a profile."""
    ids = {"pid": os.getpid(), "tid": 1}
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "args": {"name": "sparsenet"}, **ids},
        {"ph": "M", "name": "thread_name", "args": {"name": "steps"}, **ids},
    ]
    for step, begin, end in zip(profile.steps, profile.begin, profile.end, strict=True):
        args = {
            "op": step.op,
            "kernel": step.kernel,
            "why": step.why,
            "shape": shape_text((profile.batch, *step.shape[1:])),
            "weights": step.weights,
            "nnz": step.nnz,
            "density": step.density,
            "bytes": step.packed_bytes + step.output_bytes(profile.batch),
            "weight_bytes": step.packed_bytes,
            "useful_gflop": 2e-9 * step.useful_macs * profile.batch,
        }
        event = {"ph": "X", "name": step.node, "cat": step.family, "ts": 1e6 * begin, "dur": 1e6 * (end - begin)}
        events.append({**event, **ids, "args": args})
    content = {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"engine": title}}
    write_text(path, json.dumps(content))


def _shallow(step: Step) -> dict[str, Any]:
    return {field.name: getattr(step, field.name) for field in fields(Step)}
