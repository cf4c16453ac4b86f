"""The report's tables, as rows of text; Markdown and HTML show the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparsenet.report.analysis import OURS, Point, at_equal_accuracy


@dataclass(frozen=True)
class Table:
    """``columns`` that begin with "<" are text, the others numbers set right."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    folded: bool = False  # on the page


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def milliseconds(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def runs(content: Mapping[str, Any], found: Sequence[Point]) -> Table:
    """Every run: what it costs and what it takes."""
    rows = []
    for point in found:
        record, ours = point.record, point.record["engines"][OURS]
        memory = record["memory"]
        peak = memory["peak_resident_bytes"]
        joules = record["energy"].get("joules", {}).get(OURS)
        rows.append(
            (
                point.key,
                percent(point.accuracy),
                f"{point.speedup:.2f}",
                f"{record['parameters']:,}",
                f"{record['nonzeros']:,}",
                f"{record['flops'] / 1e6:,.2f}",
                f"{record['snet_bytes']:,}",
                f"{record['gzip_bytes']:,}",
                "" if peak is None else f"{peak / 2**20:.1f}",
                *(milliseconds(ours[key]) for key in ("median_ms", "p10_ms", "p99_ms")),
                f"{ours['per_second']:,.0f}",
                *([] if not _has_energy(content) else [_millijoules(joules)]),
            )
        )
    columns: tuple[str, ...] = (
        "<run", "accuracy", "speed-up", "parameters", "nonzeros", "MFLOPs", ".snet bytes", "gzipped", "peak MiB",
        "median ms", "p10 ms", "p99 ms", "samples/s",
    )  # fmt: skip
    columns += ("mJ",) if _has_energy(content) else ()
    note = (
        "All in sparsenet. FLOPs count nonzero weights only; peak is the growth of resident memory while compiling and "
        "running; the speed-up is over the dense network, which takes turns in the same process."
    )
    return Table("Runs", columns, rows, note)


def _has_energy(content: Mapping[str, Any]) -> bool:
    return any("joules" in record.get("energy", {}) for record in content["records"].values())


def engines(content: Mapping[str, Any], found: Sequence[Point]) -> Table:
    """Time of each peer on each run, as a multiple of ours."""
    names = [name for name in content["settings"]["peers"] if any(name in p.record["engines"] for p in found)]
    rows = []
    for point in found:
        measured, absent = point.record["engines"], point.record["absent"]
        cells = [_times(measured.get(name), absent.get(name)) for name in names]
        rows.append((point.key, milliseconds(measured[OURS]["median_ms"]), *cells))
    note = (
        "Median ms, and in brackets how many times as long as sparsenet, the median over rounds of calls in turn. "
        "Peers run the same network: with its zeros as numbers, or shrunk where filters are gone."
    )
    return Table("Engines", ("<run", OURS, *names), rows if names else [], note)


def _times(engine: Mapping[str, float] | None, why: str | None) -> str:
    if engine is None:
        return "failed" if why else ""
    return f"{milliseconds(engine['median_ms'])} ({engine['times_ours']:.2f}x)"


def calls(content: Mapping[str, Any], found: Sequence[Point]) -> Table:
    """Every run in every engine: what `engines` leaves out."""
    rows = []
    for point in found:
        joules = point.record["energy"].get("joules", {})
        for name, engine in point.record["engines"].items():
            times = (milliseconds(engine[key]) for key in ("median_ms", "p10_ms", "p99_ms"))
            cells = (point.key, name, *times, f"{engine['per_second']:,.0f}", f"{engine['times_ours']:.2f}")
            rows.append((*cells, *([_millijoules(joules.get(name))] if _has_energy(content) else [])))
    columns: tuple[str, ...] = ("<run", "<engine", "median ms", "p10 ms", "p99 ms", "samples/s", "time / sparsenet's")
    columns += ("mJ",) if _has_energy(content) else ()
    return Table("Every run in every engine", columns, rows if content["settings"]["peers"] else [], folded=True)


def _millijoules(joules: float | None) -> str:
    return "" if joules is None else f"{1e3 * joules:.2f}"


def equal(found: Sequence[Point], loss: float) -> Table:
    """The fastest of each method that keeps the accuracy."""
    rows = [
        (
            point.title,
            f"{point.ratio:.0%}",
            percent(point.accuracy),
            percent(point.gone),
            milliseconds(point.ms),
            f"{point.speedup:.2f}",
            f"{point.overall:.2f}",
            f"{point.record['snet_bytes']:,}",
        )
        for point in (at_equal_accuracy(found, loss) if found else [])
    ]
    columns = (
        "<method", "ratio", "accuracy", "weights gone", "ms", "speed-up", "over fastest dense engine", ".snet bytes",
    )  # fmt: skip
    note = (
        "The ms are the dense network's median over the speed-up. The fastest dense engine is that which runs the "
        "dense network in the least time, ours included."
    )
    return Table(f"Fastest within {100 * loss:g} point of the dense accuracy", columns, rows, note)


def failures(content: Mapping[str, Any]) -> Table:
    """What was not measured, and why; a reason that many runs share is told once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for key, record in content["records"].items():
        if "error" in record:
            reasons.setdefault(("this run", record["error"]), []).append(key)
        for name, why in record.get("absent", {}).items():
            reasons.setdefault((name, why), []).append(key)
        if "why_not" in record.get("energy", {}):
            reasons.setdefault(("energy", record["energy"]["why_not"]), []).append(key)
    count = len(content["records"])
    rows = [
        (what, "all runs" if len(keys) == count and count > 1 else ", ".join(keys), why)
        for (what, why), keys in reasons.items()
    ]
    return Table("Not measured", ("<what", "<in", "<why"), rows)


def markdown(table: Table) -> str:
    """The table as Markdown."""
    names = [name.removeprefix("<") for name in table.columns]
    lines = [f"### {table.title}", "", _line(names)]
    lines.append(_line(["---" if name.startswith("<") else "---:" for name in table.columns]))
    lines += [_line([cell.replace("|", "\\|") for cell in row]) for row in table.rows]
    return "\n".join([*lines, *(["", table.note] if table.note else [])])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
