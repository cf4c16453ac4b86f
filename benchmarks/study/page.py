"""docs/study.json and the tables of docs/study.md, from the records of the rows."""

from __future__ import annotations

import json
import math
import platform
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

import sparsenet as sn
from benchmarks.markdown import put, table
from sparsenet import peers
from sparsenet.atomic import write_text
from sparsenet.cli.breakeven import break_even
from sparsenet.timing import cpu_model

from .layers import LAYERS, file_of
from .plan import SUBJECTS, Subject

DOCS = Path(__file__).parent.parent.parent / "docs"
PUBLISHED = ("vgg16_cifar", "resnet110")
TEST_IMAGES, HELD_OUT = 10_000, 5_000
Record = dict[str, Any]


def write(args: Namespace) -> None:
    """Gathers what the cache holds; rows that were not made or timed yet are left out."""
    told = gather(args.cache)
    write_text(args.docs / "study.json", json.dumps(_rounded(told), indent=1) + "\n")
    file = args.docs / "study.md"
    tables = {"equal": equal(told), "crossing": crossing(told), "layers": layers(told), "published": published(told)}
    tables |= {network: everything(told, network) for network in SUBJECTS if network not in PUBLISHED}
    tables["conditions"] = conditions(told)
    for name, text in tables.items():
        put(file, name, text)


def gather(cache: Path) -> dict[str, Any]:
    rows: dict[str, list[Record]] = {}
    for network, subject in SUBJECTS.items():
        for row in subject.rows:
            made, timed = (cache / network / f"{row.key}.{end}" for end in ("json", "time.json"))
            if made.is_file():
                record = {"key": row.key, "kind": row.kind, "amount": row.told, **json.loads(made.read_text())}
                record["time"] = json.loads(timed.read_text()) if timed.is_file() else None
                others = [json.loads(f.read_text()) for f in sorted(made.parent.glob(f"{row.key}.seed*.json"))]
                for key in (key for key in record if key.endswith("_accuracy")):
                    record[key] = [record[key], *(other[key] for other in others)]  # by seed
                rows.setdefault(network, []).append(record)
    return {
        "machine": {"cpu": cpu_model(), "system": f"{platform.system()} {platform.machine()}", "threads": 1},
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__, "sparsenet": sn.__version__,
            "onnxruntime": peers.version("onnxruntime"),
        },
        "settings": {
            name: {"dense": s.dense.told(), "retrain": s.retrain.told()}
            for name, s in SUBJECTS.items()
            if s.dense is not None and s.retrain is not None
        },
        "rows": rows,
        "layers": [json.loads(f.read_text()) for f in (file_of(cache, layer) for layer in LAYERS) if f.is_file()],
    }  # fmt: skip


def conditions(told: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in told["versions"].items())
    isa = {r["time"]["isa"] for rows in told["rows"].values() for r in rows if r["time"]}
    return f"{told['machine']['cpu']}, {', '.join(sorted(isa))}, one thread, batch 1; {versions}.\n"


def timed(told: dict[str, Any], network: str) -> list[Record]:
    """The rows that have a time, the dense one first, each kind by rising share."""
    rows = [row for row in told["rows"].get(network, []) if row["time"]]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    return sorted(rows, key=lambda row: (kinds.index(row["kind"]), row["key"]))


def allowed(row: Record, kept: str, images: int) -> float:
    """Two standard errors of an accuracy, in points."""
    share = fmean(row[kept]) / 100
    return 200 * math.sqrt(share * (1 - share) / images)


def as_accurate(rows: Sequence[Record]) -> list[Record]:
    """The rows whose held-out accuracy is within two standard errors of the dense network's."""
    dense = rows[0]
    most = allowed(dense, "valid_accuracy", HELD_OUT)
    return [row for row in rows[1:] if lost(dense, row, "valid_accuracy") <= most]


def lost(dense: Record, row: Record, kept: str) -> float:
    """Points, from the dense networks of the row's own seeds, the first ones."""
    return fmean(dense[kept][: len(row[kept])]) - fmean(row[kept])


def equal(told: dict[str, Any]) -> str:
    """The fastest of each kind that is as accurate."""
    lines = []
    for network, subject in SUBJECTS.items():
        rows = timed(told, network)
        if subject.retrain is None or not rows or rows[0]["key"] != "dense":
            continue
        fastest: dict[str, Record] = {}
        for row in sorted(as_accurate(rows), key=lambda row: -row["time"]["dense_over_ours"]):
            fastest.setdefault(row["kind"], row)
        dense = rows[0]
        lines.append((subject.title, "dense", "", _accuracy(dense, "test"), "", "1.0", *_times(dense, dense)))
        for row in fastest.values():
            smaller = f"{dense['snet_bytes'] / row['snet_bytes']:.1f}"
            points = f"{lost(dense, row, 'test_accuracy'):+.2f}"
            cells = ("", row["kind"], row["amount"], _accuracy(row, "test"), points, smaller)
            lines.append((*cells, *_times(row, dense)))
    head = ("<network", "<pruning", "<how much", "test, %", "lost", "file, times smaller", *_TIMES)
    return table(head, lines)


def _accuracy(row: Record, of: str) -> str:
    """The mean over the seeds, and half their range if there are several."""
    values = row[f"{of}_accuracy"]
    return f"{fmean(values):.2f}" + f" ± {(max(values) - min(values)) / 2:.2f}" * (len(values) > 1)


_TIMES = ("ms", "over our dense", "over dense onnxruntime", "onnxruntime gains", "over onnxruntime, same net")


def _times(row: Record, dense: Record) -> tuple[str, ...]:
    """Milliseconds here, from the dense network's and the ratio, so that rows of several processes compare; speed-ups;
    what the same smaller network gains in the peer, and how it compares there."""
    t = row["time"]
    told = _ms(dense["time"]["ms"] / t["dense_over_ours"]), f"{t['dense_over_ours']:.2f}x"
    told += (f"{t['peer_dense_over_ours']:.2f}x",)
    if row["key"] == "dense" or "peer_ms" not in t:
        return (*told, "", told[-1])
    return (*told, f"{t['peer_dense_over_peer']:.2f}x", f"{t['peer_over_ours']:.2f}x")


def everything(told: dict[str, Any], network: str) -> str:
    """All rows of a network."""
    rows = timed(told, network)
    if not rows:
        return "Not measured yet.\n"
    dense = rows[0]
    head: tuple[str, ...] = ("<pruning", "<how much")
    head += ("held out, %", "test, %") if "test_accuracy" in dense else ()
    head += ("same answer, %", "cosine") if "cosine" in dense else ()
    lines = []
    for row in rows:
        cells: tuple[str, ...] = (row["kind"], row["amount"])
        if "test_accuracy" in dense:
            cells += (_accuracy(row, "valid"), _accuracy(row, "test"))
        if "cosine" in dense:
            cells += (f"{row['same_answer']:.0f}", f"{row['cosine']:.2f}")
        cells += (f"{row['nonzeros'] / 1e6:.3g}", f"{100 * row['useful_macs'] / dense['macs']:.0f}")
        cells += (_size(row["snet_bytes"]), *_times(row, dense))
        lines.append(cells)
    return table((*head, "nonzeros, M", "FLOPs, %", ".snet", *_TIMES), lines)


def crossing(told: dict[str, Any]) -> str:
    """From which share on each kind of pruning is faster than our dense network, and than the peer's."""
    lines = []
    for network in SUBJECTS:
        rows = timed(told, network)
        name = _short(SUBJECTS[network])
        for kind in dict.fromkeys(row["kind"] for row in rows[1:] if network not in PUBLISHED):
            chosen = [row for row in rows if row["kind"] in ("dense", kind) and _share(row) is not None]
            cells = []
            for rival in ("dense_over_ours", "peer_dense_over_ours"):
                points = [(_share(row) or 0.0, row["time"][rival]) for row in chosen]
                cells.append(_crossing(points, rival != "dense_over_ours"))
            if "then" not in kind:
                lines.append((name, kind, *cells))
                name = ""
    return table(("<network", "<pruning", "over our dense", "over dense onnxruntime"), lines)


def _share(row: Record) -> float | None:
    """What part is gone by name: of weights, or of filters; None for shapes that have no one number."""
    parts = row["key"].rpartition("-")[2]
    if row["key"] == "dense":
        return 0.0
    return float(parts) if parts.replace(".", "").isdigit() else None


def _crossing(points: list[tuple[float, float]], dense_counts: bool) -> str:
    """``points`` begin with the dense network's; against itself it is 1 by definition, and does not count."""
    if len(points) < 2:
        return ""
    if dense_counts and all(ratio >= 1 for _, ratio in points):
        return "always"
    if all(ratio >= 1 for _, ratio in points[1:]) and not dense_counts:
        return f"at most {points[1][0]:.0%}".replace("%", " %")
    share = break_even(points)
    return f"{f'not at {points[-1][0]:.0%}' if share is None else f'{share:.0%}'}".replace("%", " %")


def layers(told: dict[str, Any]) -> str:
    """Break-even and the gain at 90 %, a row a layer."""
    lines = []
    for layer in told["layers"]:
        cells = [layer["layer"], layer["dense_kernel"].rpartition("_")[0], _ms(layer["dense_ms"])]
        cells.append(f"{layer['peer_over_dense']:.2f}x")
        for pattern in ("random", "4x1"):
            points = {float(share): ratios for share, ratios in layer[pattern].items()}
            for rival in ("ours", "peer"):
                start = [(0.0, 0.5)] if rival == "ours" else []
                share = break_even([*start, *((s, r[rival]) for s, r in points.items())])
                least = min(points, default=0.0)
                below = share is not None and points and points[least][rival] >= 1
                cells.append("never" if share is None else f"{'< ' * below}{least if below else share:.0%}")
            cells.append(f"{points[0.9]['ours']:.1f}x" if points else "")
        lines.append(tuple(cell.replace("%", " %") for cell in cells))
    head = ("<layer", "<dense kernel", "ms", "onnxruntime takes", "random: from, over ours", "over onnxruntime",
            "at 90 %", "4x1: from, over ours", "over onnxruntime", "at 90 %")  # fmt: skip
    return table(head, lines)


def published(told: dict[str, Any]) -> str:
    """The shapes of published results, timed here."""
    lines = []
    for network, key in (("vgg16_cifar", "filters-A"), ("resnet110", "filters-B"), ("vgg16", "filters-late")):
        rows = {row["key"]: row for row in timed(told, network)}
        if {"dense", key} <= set(rows):
            dense, row = rows["dense"], rows[key]
            lines.append(
                (
                    SUBJECTS[network].title.split(",")[0],
                    f"{100 * (row['macs'] / dense['macs'] - 1):+.1f} %",
                    f"{100 * (row['parameters'] / dense['parameters'] - 1):+.1f} %",
                    f"{dense['snet_bytes'] / row['snet_bytes']:.1f}x",
                    *_times(row, dense),
                )
            )
    return table(("<network", "FLOPs", "parameters", "file smaller", *_TIMES), lines)


def _short(subject: Subject) -> str:
    return subject.title.split(",")[0]


def _ms(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _rounded(value: Any) -> Any:
    """Four significant digits: more would be noise."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
