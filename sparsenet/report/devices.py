"""Other machines in a report: what `sparsenet bench --target ... --json` printed, as tables.

A device that was timed has a table with its times. An emulated core has one with its simulated estimates, which are
ranges, called estimates in its heading and over its column, and never stand beside times.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from sparsenet.errors import InvalidArgumentError
from sparsenet.report.analysis import Point
from sparsenet.report.store import Store
from sparsenet.report.store import read as read_report
from sparsenet.report.tables import Table, milliseconds, percent
from sparsenet.targets.estimate import LABEL

_NOT_TIMED = "outputs checked, never timed"
_ESTIMATED = "k cycles (simulated estimate)"

Told = Mapping[str, Any]


def read(path: Path) -> dict[str, Any]:
    """One file of `sparsenet bench --target ... --json > FILE`; raises InvalidArgumentError."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(f"{path}: cannot be read: {error}") from None
    try:
        tables({"devices": {"": told}})
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise InvalidArgumentError(f"{path}: not what `sparsenet bench MODEL --target ... --json` prints") from None
    checked: dict[str, Any] = told
    return checked


def asked(told: Told) -> str:
    """What may not differ within one table."""
    first, threads = told["models"][0], told["threads"]
    return f"{first['isa']}, {threads} thread{'s' * (threads > 1)}, batch {first['batch']}"


def add(folder: Path, found: Iterable[Told]) -> None:
    """Puts results into a folder's report; one of the same network on the same target, asked the same, replaces the
    older. Raises InvalidArgumentError if there is no report."""
    store = Store(folder, read_report(folder)["settings"])
    devices = store.content.setdefault("devices", {})
    for told in found:
        devices[f"{told['model']} on {told['target']}, {asked(told)}"] = told
    store.save()


def tables(content: Told) -> list[Table]:
    """What each device is, then a table for each target; none if there are no results of devices."""
    found: Sequence[Told] = list(content.get("devices", {}).values())
    if not found:
        return []
    groups: dict[tuple[str, str, bool], list[Told]] = {}
    for told in found:
        groups.setdefault((told["target"], asked(told), told["timed"]), []).append(told)
    shown = [_machines(found)]
    for (target, how, timed), group in groups.items():
        if timed:
            who = group[0]["before"].get("device") or _parts(group[0]) or group[0]["before"]["arch"]
            shown.append(_timed(f"{target}: {who}, {how}", group))
        else:
            shown.append(_emulated(f"{target}, {how}", group))
    return [_with_accuracy(table, content.get("records", {})) for table in shown]


def measured_elsewhere(content: Told, found: Sequence[Point]) -> list[tuple[str, str, list[Point]]]:
    """Where more than one run of this report was timed: target, how, and those runs with their medians there."""
    shown = []
    for told in content.get("devices", {}).values():
        if told["timed"]:
            medians = {of["name"]: of["median_ms"] for of in told["models"]}
            runs = [replace(point, ms=medians[point.key]) for point in found if point.key in medians]
            if len(runs) > 1:
                shown.append((told["target"], asked(told), runs))
    return shown


def _with_accuracy(table: Table, records: Told) -> Table:
    """A column more where rows are runs of this report: `sparsenet bench FOLDER --target ...` measures those."""
    scores = [records.get(row[0], {}).get("accuracy") for row in table.rows]
    if all(score is None for score in scores):
        return table
    rows = [(row[0], percent(score), *row[1:]) for row, score in zip(table.rows, scores, strict=True)]
    return Table(table.title, (table.columns[0], "accuracy", *table.columns[1:]), rows, table.note)


def _used(told: Told, when: str) -> list[Told]:
    """The CPUs a run was pinned to, or all. JSON made their numbers text."""
    cpus = {int(number): of for number, of in told[when]["cpus"].items()}
    first = told["affinity"]
    pinned = [] if first is None else [cpus[i] for i in range(first, first + told["threads"]) if i in cpus]
    return pinned or list(cpus.values())


def _parts(told: Told) -> str:
    parts = Counter(of["part"] for of in _used(told, "before") if "part" in of)
    return ", ".join(f"{count}x {part}" if count > 1 else part for part, count in parts.items())


def _span(values: Sequence[float]) -> str:
    if not values:
        return "not told"
    low, high = min(values), max(values)
    return f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} → {after}"


def _mhz(told: Told, when: str) -> str:
    return _span([of["cur_mhz"] for of in _used(told, when) if "cur_mhz" in of])


def _hottest(told: Told, when: str) -> str:
    return _span([max(told[when]["celsius"].values())] if told[when]["celsius"] else [])


def _machines(found: Sequence[Told]) -> Table:
    """A row for each file of times: where they were taken and under which conditions."""
    rows = []
    for told in found:
        if not told["timed"]:
            continue
        cpus, before = _used(told, "before"), told["before"]
        governors = sorted({of["governor"] for of in cpus if "governor" in of})
        most = [of["cpuinfo_max_mhz"] for of in cpus if "cpuinfo_max_mhz" in of]
        first, threads = told["affinity"], told["threads"]
        pinned = "" if first is None else f" (CPU {first}{f' to {first + threads - 1}' * (threads > 1)})"
        rows.append(
            (
                told["target"],
                _name(told["model"]),
                before.get("device", before["arch"]),
                f"{_parts(told)}{pinned}",
                ", ".join(governors) or "not told",
                _span(most),
                _change(*(_mhz(told, when) for when in ("before", "after"))),
                _change(*(_hottest(told, when) for when in ("before", "after"))),
            )
        )
    columns = ("<target", "<network", "<machine", "<CPU", "<governor", "MHz at most", "MHz", "hottest, C")
    note = (
        "As the machine itself tells them, before → after where they changed; of the CPUs that the runs were pinned "
        "to, named in brackets, else of all."
    )
    return Table("Other machines", columns, rows, note)


def _name(name: str) -> str:
    return PurePath(name).name


def _timed(title: str, group: Sequence[Told]) -> Table:
    rows = []
    for told in group:
        first = told["models"][0]
        for of in told["models"]:
            spread = f"{milliseconds(of['fastest_ms'])} to {milliseconds(of['slowest_ms'])}"
            times = (milliseconds(of[key]) for key in ("median_ms", "p10_ms", "p99_ms"))
            rows.append((_name(of["name"]), f"{of['bytes']:,}", *times, spread, f"{of['calls']:,}", _beside(of, first)))
    columns = ("<network", ".snet bytes", "median ms", "p10 ms", "p99 ms", "rounds' medians", "calls", "speed-up")
    note = (
        "Outputs were held against the fp64 reference first. The speed-up is over the first network of the same "
        "command, which took turns with the others; where the rounds' medians overlap, none is claimed."
    )
    warnings = dict.fromkeys(warning for told in group for warning in told["warnings"])
    note += f" Warnings: {'; '.join(warnings)}." if warnings else ""
    return Table(title, columns, rows, note)


def _beside(of: Told, first: Told) -> str:
    if of is first:
        return ""
    if of["slowest_ms"] >= first["fastest_ms"] and of["fastest_ms"] <= first["slowest_ms"]:
        return "overlap: no ranking"
    return f"{first['median_ms'] / of['median_ms']:.2f}"


def _emulated(title: str, group: Sequence[Told]) -> Table:
    """Estimates, in all cells of cycles as ranges; counts are exact."""
    models = [of for told in group for of in told["models"]]
    estimates = [of["estimate"] for of in models if "cycles" in of.get("estimate", {})]
    rows = []
    for of in models:
        told = of.get("estimate", {})
        cells = (_name(of["name"]), f"{of['bytes']:,}")
        if "cycles" not in told:
            rows.append((*cells, told.get("refused", _NOT_TIMED), *[""] * 5))
            continue
        low, high = (f"{cycles / 1e3:,.0f}" for cycles in told["cycles"])
        counts = (f"{told[key] / 1e3:,.1f}" for key in ("instructions", "accesses", "l1_misses", "l2_misses"))
        rows.append((*cells, f"{low} to {high}", *counts, _claim(told, estimates[0])))
    columns = (
        "<network", ".snet bytes", _ESTIMATED, "k instructions", "k accesses", "k L1 misses", "k L2 misses",
        "against the first",
    )  # fmt: skip
    if not estimates:
        return Table(f"{title}: {_NOT_TIMED}", columns[:3], [row[:3] for row in rows])
    of = estimates[0]
    note = (
        f"{LABEL[0].upper()}{LABEL[1:]}: blocks executed under qemu times llvm-mca's cycles for {of['cpu']}"
        f"{', the nearest model it has,' * of['proxy']} plus {_span(of['l1_penalty'])} cycles an L1 miss and "
        f"{_span(of['l2_penalty'])} an L2 miss. The range is over these penalties alone; no prefetch, bandwidth, "
        "frequency or heat is modelled. One network is called faster than another only where ranges do not overlap. "
        "An access is of at most 8 bytes; k: thousand."
    )
    return Table(f"{title}: {LABEL}", columns, rows, note)


def _claim(told: Told, first: Told) -> str:
    if told is first:
        return ""
    (low, high), (least, most) = first["cycles"], told["cycles"]
    return "faster (estimate)" if most < low else "slower (estimate)" if least > high else "overlap: no ranking"
