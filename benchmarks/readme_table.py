"""Writes README.md's table of numbers and its picture from a run of benchmarks.targets.

    python -m benchmarks.targets --json docs/measured.json
    python -m benchmarks.readme_table docs/measured.json

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

from .target_table import IMAGE_NETWORKS, PERCEPTRONS

ROOT = Path(__file__).parent.parent
BEGIN = "<!-- numbers: written by `python -m benchmarks.readme_table`; do not edit by hand -->\n"
END = "<!-- end of numbers -->"
NETWORK = "resnet50"
SHOWN = ("unstructured", "4x1", "filters")  # the rest is in the JSON
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
    found = [row for row in told["rows"].values() if wanted.items() <= row.items() and "value" in row]
    order = list(dict.fromkeys([*IMAGE_NETWORKS, *PERCEPTRONS, *(row["network"] for row in found)]))
    found.sort(key=lambda row: (order.index(row["network"]), list(ZEROS).index(row["pattern"]), row["zeros"]))
    if not found:
        raise SystemExit("no row of kind peers, batch 1, one thread in the file: run python -m benchmarks.targets")
    return found


def markdown(told: dict[str, Any]) -> str:
    """The table, a row a network and its zeros; where the best peer is faster the ratio says so."""
    shown = [row for row in rows(told) if row["pattern"] in SHOWN]
    lines = ["| network | zeros | sparsenet | best dense peer | times faster |", "|---|---|---:|---:|---:|"]
    for row in shown:
        times, best = row["results"], row["best"]
        ratio = f"{row['value']:.2f}x" if row["value"] >= 1 else f"**{row['value']:.2f}x**"
        zeros = ZEROS[row["pattern"]].format(row["zeros"]) if row["zeros"] else "none"
        ours, theirs = (f"{_ms(times[name]['median_ms'])} ms" for name in ("sparsenet", best))
        lines.append(f"| {row['network']} | {zeros} | {ours} | {theirs} ({best}) | {ratio} |")
    names = sorted({name for row in shown for name in row["ratios"]})
    versions = ", ".join(f"{name} {told['versions'][name]}" for name in names)
    note = f"Median latency of one image on one core of {told['cpu']}, {shown[0]['isa']}, fp32. Peers ({versions}) run "
    note += "the same weights, for pruned filters the same small network, in turn with sparsenet; the fastest is shown."
    note += " **Bold: the peer is faster.**" if any(row["value"] < 1 for row in shown) else ""
    return "\n".join([note, "", *lines]) + "\n"


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path, help="what benchmarks.targets --json wrote")
    told = json.loads(parser.parse_args().measured.read_text(encoding="utf-8"))
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit("README.md: the markers of the numbers' section are gone")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    with replacing(ROOT / "docs" / "resnet50.svg") as temporary:
        draw(told, temporary)
    with replacing(readme) as temporary:
        temporary.write_text(f"{before}{BEGIN}{markdown(told)}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
