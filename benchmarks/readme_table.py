"""Writes README.md's table of numbers and its picture, and docs/performance.md's table of targets, from runs of
benchmarks.targets.

    python -m benchmarks.targets --json docs/measured.json
    python -m benchmarks.without_avx512 python -m benchmarks.targets --json docs/measured-avx2.json
    python -m benchmarks.readme_table docs/measured.json docs/measured-avx2.json

The first file gives the times; each further one a column of ratios, for the machine and the instruction set that it was
measured with.
The picture (docs/resnet50.svg) shows one network at each of its shares of random zeros.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from sparsenet.cli.common import replacing

from .machine import UNDISTURBED
from .target_table import IMAGE_NETWORKS, PERCEPTRONS, highest_peak, table

ROOT = Path(__file__).parent.parent
BEGIN = "<!-- numbers: written by `python -m benchmarks.readme_table`; do not edit by hand -->\n"
END = "<!-- end of numbers -->"
TARGETS_BEGIN = "<!-- targets: written by `python -m benchmarks.readme_table`; do not edit by hand -->\n"
TARGETS_END = "<!-- end of targets -->"
NETWORK = "resnet50"
SHOWN = ("unstructured", "4x1", "filters")  # the rest is in the JSON
DISTURBED = "†"
ZEROS = {
    "unstructured": "{} % random",
    "4x1": "{} % in 4x1 blocks",
    "1x4": "{} % in 1x4 blocks",
    "erk": "{} % random, uneven (ERK)",
    "magnitude": "{} % by magnitude, trained",
    "filters": "{} % of filters",
}
STYLES = {
    "sparsenet": ("#0b7285", "o-"),
    "onnxruntime": ("#868e96", "s--"),
    "openvino": ("#adb5bd", "v--"),
    "torch": ("#ced4da", "^--"),
    "ncnn": ("#495057", "d--"),
}


def rows(told: dict[str, Any]) -> list[dict[str, Any]]:
    """What the table shows: whole networks beside peers, one image, one thread."""
    wanted = {"kind": "peers", "batch": 1, "threads": 1}
    found = [
        {**row, "name": name}
        for name, row in told["rows"].items()
        if wanted.items() <= row.items() and "value" in row
    ]
    order = list(dict.fromkeys([*IMAGE_NETWORKS, *PERCEPTRONS, *(row["network"] for row in found)]))
    found.sort(key=lambda row: (order.index(row["network"]), list(ZEROS).index(row["pattern"]), row["zeros"]))
    if not found:
        raise SystemExit("no row of kind peers, batch 1, one thread in the file: run python -m benchmarks.targets")
    return found


def markdown(told: dict[str, Any], *others: dict[str, Any]) -> str:
    """The table, a row a network and its zeros; where the best peer is faster the ratio says so."""
    shown = [row for row in rows(told) if row["pattern"] in SHOWN]
    columns = _columns(told, *others)
    lines = ["| " + " | ".join(["network", "zeros", "sparsenet", "best dense peer", *columns]) + " |"]
    lines.append("|---|---|---:|---:|" + "---:|" * len(columns))
    for row in shown:
        times, best = row["results"], row["best"]
        zeros = ZEROS[row["pattern"]].format(row["zeros"]) if row["zeros"] else "none"
        ours, theirs = (f"{_ms(times[name]['median_ms'])} ms" for name in ("sparsenet", best))
        ratios = [_ratio(_of(one, row["name"])) for one in (told, *others)]
        lines.append("| " + " | ".join([row["network"], zeros, ours, f"{theirs} ({best})", *ratios]) + " |")
    names = sorted({name for row in shown for name in row["ratios"]})
    versions = ", ".join(f"{name} {told['versions'][name]}" for name in names)
    note = f"Median latency of one image on one core of {told['cpu']}, {_isa(told)}, fp32, and how many times faster "
    note += f"than the fastest peer that is. Peers ({versions}) run the same weights, for pruned filters the same "
    note += "small network, in turn with sparsenet."
    if others:
        note += " Further columns are of other machines, or of one that denies an instruction set to us and to the "
        note += "peers."
    bold = any(_of(one, row["name"]) < 1 for row in shown for one in (told, *others))
    return "\n".join([note + (" **Bold: a peer is faster.**" if bold else ""), "", *lines]) + "\n"


def targets_markdown(*all_told: dict[str, Any]) -> str:
    """Every target with its measured values, a column a machine and instruction set."""
    columns = _columns(*all_told)
    lines = ["| " + " | ".join(["target", "enough", "aim", *columns]) + " |"]
    lines.append("|---|---:|---:|" + "---:|" * len(columns))
    counts = dict.fromkeys(columns, (0, 0))
    wanted = [target for target in table() if target.enough is not None]
    unmeasured = [target.name for target in wanted if not any("value" in _row(one, target.name) for one in all_told)]
    for target in wanted:
        if target.name in unmeasured:
            continue
        enough = f"at most {target.enough:g}" if target.at_most else f"{target.enough:g}"
        cells = [f"`{target.name}`", enough, f"{target.aim:g}" if target.aim else ""]
        for column, one in zip(columns, all_told, strict=True):
            value = _of(one, target.name)
            met = bool(target.passes(value))
            counts[column] = (counts[column][0] + met, counts[column][1] + (value == value))
            shown = "" if value != value else f"{value:.2f}" if met else f"**{value:.2f}**"
            cells.append(shown + DISTURBED * _disturbed(one, target.name))
        lines.append("| " + " | ".join(cells) + " |")
    told = "; ".join(f"{name}: {met} of {measured} measured ones are met" for name, (met, measured) in counts.items())
    if any(_disturbed(one, target.name) for one in all_told for target in wanted):
        lines += ["", f"{DISTURBED} Somebody else used the core: its FMA peak, before the row or after it, was less "]
        lines[-1] += f"than {UNDISTURBED:.0%} of the highest that the table's rows saw."
    if unmeasured:
        lines += ["", "Not measured: " + ", ".join(f"`{name}`" for name in unmeasured) + "."]
    return "\n".join([f"{told}. **Bold: short of the target.**", "", *lines]) + "\n"


def _columns(*all_told: dict[str, Any]) -> list[str]:
    """The instruction set that each file was measured with, behind its CPU where these differ."""
    cpus = [one["cpu"].replace("(R)", "").replace(" Processor", "").strip() for one in all_told]
    same = len(set(cpus)) == 1
    return [_isa(one) if same else f"{cpu}, {_isa(one)}" for cpu, one in zip(cpus, all_told, strict=True)]


def _isa(told: dict[str, Any]) -> str:
    return str(next(row["isa"] for row in told["rows"].values() if "isa" in row))


def _of(told: dict[str, Any], name: str) -> float:
    """A row's value there, NaN where it was not measured."""
    return float(_row(told, name).get("value", "nan"))


def _disturbed(told: dict[str, Any], name: str) -> bool:
    return min(_row(told, name).get("fma_peak", [float("inf")])) < UNDISTURBED * highest_peak(told)


def _row(told: dict[str, Any], name: str) -> dict[str, Any]:
    row: dict[str, Any] = told["rows"].get(name, {})
    return row


def _ratio(value: float) -> str:
    return "" if value != value else f"{value:.2f}x" if value >= 1 else f"**{value:.2f}x**"


def _ms(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.3f}"


def draw(told: dict[str, Any], path: Path) -> None:
    """Latency against the share of random zeros."""
    shown = [row for row in rows(told) if row["network"] == NETWORK and row["pattern"] == "unstructured"]
    shown.sort(key=lambda row: row["zeros"])
    if not shown:
        raise SystemExit(f"no row of {NETWORK} with random zeros in the file")
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sparsenet", "font.size": 10}):
        figure = Figure(figsize=(7, 3.4), layout="constrained")
        axes = figure.subplots()
        for name, (color, style) in STYLES.items():
            points = [(r["zeros"], r["results"][name]["median_ms"]) for r in shown if name in r["results"]]
            if points:
                axes.plot(*zip(*points, strict=True), style, color=color, label=name, markersize=4)
        for row in shown:
            at = (row["zeros"], row["results"]["sparsenet"]["median_ms"])
            text = f"{row['value']:.1f}x"
            axes.annotate(text, at, xytext=(0, -14), textcoords="offset points", ha="center", fontsize=8)
        axes.set(xlabel="random zeros, %", ylabel="ms an image", title=f"{NETWORK}, batch 1, one core")
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
        figure.savefig(path, metadata={"Date": None})


def _put(path: Path, begin: str, end: str, text: str) -> None:
    """Replaces what stands between the markers."""
    old = path.read_text(encoding="utf-8")
    if old.count(begin) != 1 or old.count(end) != 1:
        raise SystemExit(f"{path}: the markers of the generated section are gone: {begin.strip()} ... {end}")
    before, rest = old.split(begin)
    with replacing(path) as temporary:
        temporary.write_text(f"{before}{begin}{text}{end}{rest.split(end)[1]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path, nargs="+", help="what benchmarks.targets --json wrote")
    all_told = [json.loads(path.read_text(encoding="utf-8")) for path in parser.parse_args().measured]
    with replacing(ROOT / "docs" / "resnet50.svg") as temporary:
        draw(all_told[0], temporary)
    _put(ROOT / "README.md", BEGIN, END, markdown(*all_told))
    _put(ROOT / "docs" / "performance.md", TARGETS_BEGIN, TARGETS_END, targets_markdown(*all_told))


if __name__ == "__main__":
    main()
