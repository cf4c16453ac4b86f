"""Writes README.md's table of numbers and its picture from a run of benchmarks.bench_resnet50.

    python -m benchmarks.bench_resnet50 --networks resnet50,mobilenet_v1,vgg16 --json docs/measured.json
    python -m benchmarks.readme_table docs/measured.json

The picture (docs/resnet50.svg) shows the first network of the file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from sparsenet.cli.common import replacing

ROOT = Path(__file__).parent.parent
BEGIN = "<!-- numbers: written by `python -m benchmarks.readme_table`; do not edit by hand -->\n"
END = "<!-- end of numbers -->"


def markdown(told: dict[str, Any]) -> str:
    """The table, a row a network and share of zeros; where a peer is faster the ratio says so."""
    peers = [name for name in told["measured"][0]["results"] if name != "sparsenet"]
    head = ["network", "zeros", "sparsenet", *peers, *(f"against {peer}" for peer in peers)]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for m in told["measured"]:
        times = [f"{m['results'][name]['median_ms']:.1f} ms" for name in ("sparsenet", *peers)]
        ratios = [f"{m['ratios'][p]:.2f}x" if m["ratios"][p] >= 1 else f"**{m['ratios'][p]:.2f}x**" for p in peers]
        lines.append("| " + " | ".join([m["network"], f"{m['zeros']} %", *times, *ratios]) + " |")
    losses = any(ratio < 1 for m in told["measured"] for ratio in m["ratios"].values())
    threads = f"{told['threads']} thread" + "s" * (told["threads"] > 1)
    note = f"Median latency of one image, {threads}, {told['cpu']}, {told['measured'][0]['isa']}; "
    note += "random zeros in every layer but the first; peers run the same weights dense, in turn with sparsenet on "
    note += "the same core." + (" **Bold: the peer is faster.**" if losses else "")
    return "\n".join([note, "", *lines]) + "\n"


def draw(told: dict[str, Any], path: Path) -> None:
    """Latency against the share of zeros, for the first network."""
    network = told["measured"][0]["network"]
    rows = [m for m in told["measured"] if m["network"] == network]
    styles = {"sparsenet": ("#0b7285", "o-"), "onnxruntime": ("#868e96", "s--"), "torch": ("#ced4da", "^--")}
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sparsenet", "font.size": 10}):
        figure = Figure(figsize=(7, 3), layout="constrained")
        axes = figure.subplots()
        for name in rows[0]["results"]:
            color, style = styles[name]
            times = [m["results"][name]["median_ms"] for m in rows]
            axes.plot([m["zeros"] for m in rows], times, style, color=color, label=name)
        for m in rows:
            ratios = [m["ratios"][name] for name in m["ratios"]]
            at = (m["zeros"], m["results"]["sparsenet"]["median_ms"])
            axes.annotate(f"{ratios[0]:.1f}x", at, xytext=(0, -14), textcoords="offset points", ha="center", fontsize=8)
        axes.set(xlabel="zeros, %", ylabel="ms an image", title=f"{network}, batch 1, {told['threads']} thread")
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path, help="what bench_resnet50 --json wrote")
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
