"""Writes the tables of docs/pruning.md from the JSON files in docs/evidence.

    python -m benchmarks.evidence.han --out docs/evidence
    python -m benchmarks.evidence.tables
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparsenet.cli.common import replacing

ROOT = Path(__file__).parent.parent.parent
Told = dict[str, Any]


def markdown(head: list[str], rows: list[list[Any]]) -> str:
    """A table: floats with two decimals, nothing for None."""
    def cell(value: Any) -> str:
        return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(cell, row)) + " |" for row in rows)])


def half_range(told: Told, row: Told) -> str | None:
    """One seed has no range."""
    return f"{row['half_range']:.2f}" if row.get("seeds", len(told["seeds"])) > 1 else None


def han(told: Told) -> str:
    rows = []
    for row in told["means"]:
        paper = told["paper"][row["net"]]
        error = {1: paper["dense_error"], paper["compression"]: paper["error"]}.get(row["target"])
        error = error if row["way"] in ("dense", "iterative") else None
        lost = None if row["way"] == "dense" else f"{row['lost']:+.2f}"
        rows.append([row["net"], row["way"], f"{row['compression']:.1f}x", row["before_retraining"], row["test_error"],
                     half_range(told, row), lost, error])
    head = ["net", "way", "fewer weights", "as pruned, error %", "retrained, error %", "half range", "lost", "paper"]
    return markdown(head, rows)


def apoz(told: Told) -> str:
    head = ["network", "compression", "trimmed, %", "paper", "retrained, %", "half range", "paper", "points lost"]
    return markdown(head, [[row["network"], row["compression"], row["before"], row["paper_before"], row["after"],
                            half_range(told, row), row["paper_after"], f"{row['lost']:+.2f}"] for row in told["means"]])


def sweep(told: Told) -> str:
    by = {(row["way"], row["k"]): row for row in told["means"]}
    rows = [[f"{k:.2f}", *(by[way, k][key] for way in ("weights", "units") for key in ("before", "after"))]
            for way, k in by if way == "weights"]
    dense = by["dense", 0.0]["after"]
    rows.insert(0, ["0 (dense)", dense, dense, dense, dense])
    return markdown(["k", "weights, as pruned, %", "weights, retrained", "units, as pruned", "units, retrained"], rows)


def lottery(told: Told) -> str:
    levels = [row["remaining"] for row in told["means"] if row["way"] == "random mask"]
    kept = [row for row in told["means"]
            if row["way"] == "dense" or any(abs(row["remaining"] - level) < 0.1 for level in levels)]
    rows = [[row["way"], f"{row['remaining']:.1f}", row["test_error"], half_range(told, row),
             None if row["iterations"] is None else round(row["iterations"]), row["reached"]] for row in kept]
    head = ["network", "weights left, %", "test error, %", "half range", "iterations to the dense net's held-out error",
            "seeds that get there"]
    return markdown(head, rows)


def criteria(told: Told) -> str:
    head = ["method", "ratio", "as pruned, %", "retrained, %", "half range", "points lost", "seeds", "FLOPs, %",
            "file, kB", "ms"]
    return markdown(head, [[row["method"], row["ratio"], row["before"], row["after"], half_range(told, row),
                            row["lost"], row["seeds"], f"{row['macs_percent']:.0f}", f"{row['bytes'] / 1e3:.1f}",
                            None if row["latency_ms"] is None else f"{row['latency_ms']:.3f}"]
                           for row in told["means"]])


def sensitivity(told: Told) -> str:
    means = told["means"]
    rows = [[name, *scores, ", ".join(f"{share:.0%}" for share in means["proposed"][name])]
            for name, scores in means["scores"].items()]
    return markdown(["layer", *(f"{ratio:.0%}" for ratio in means["ratios"]), "proposed"], rows)


def neighbours(told: Told) -> str:
    head = ["way", "setting", "as changed, error %", "retrained, error %", "half range", "counted, kB", "Huffman, kB",
            ".snet, kB"]
    return markdown(head, [[row["kind"], row["setting"], row["before"], row["test_error"], half_range(told, row),
                            *(f"{row[size] / 1e3:.1f}" for size in ("counted", "huffman", "snet"))]
                           for row in told["means"]])


TABLES: dict[str, Callable[[Told], str]] = {
    "han": han, "han-lenet5": han, "apoz": apoz, "sweep": sweep, "lottery": lottery, "criteria": criteria,
    "criteria-resnet20": criteria, "sensitivity": sensitivity, "neighbours": neighbours
}


def block(name: str, told: Told) -> str:
    """The table, how it was made, and the picture."""
    seeds = f"{len(told['seeds'])} seed" + "s" * (len(told["seeds"]) > 1)
    note = f"`{told['command']}`: {told['data']['name']}, {seeds}, torch {told['versions']['torch']}, "
    note += f"{told['machine']['cpu']}."
    return f"{TABLES[name](told)}\n\n{note}\n\n![{name}](evidence/{name}.svg)\n"


def filled(text: str, results: Path) -> str:
    """The document with every table between its marks replaced, where there is a JSON file for it."""
    for name in TABLES:
        file = results / f"{name}.json"
        if not file.is_file():
            continue
        told = json.loads(file.read_text(encoding="utf-8"))
        if told["quick"]:
            raise SystemExit(f"{file} is of a --quick run, which shows nothing; run it whole")
        head, mark, rest = text.partition(f"<!-- evidence: {name} -->\n")
        _, end, tail = rest.partition("<!-- end -->")
        if not (mark and end):
            raise SystemExit(f"the document has no marks for {name}")
        text = head + mark + block(name, told) + end + tail
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "docs/evidence")
    parser.add_argument("--document", type=Path, default=ROOT / "docs/pruning.md")
    args = parser.parse_args()
    text = filled(args.document.read_text(encoding="utf-8"), args.results)
    with replacing(args.document) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
