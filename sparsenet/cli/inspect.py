"""sparsenet inspect: what is in a network, and what each pass makes of it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sparsenet
from sparsenet import _core
from sparsenet.arrays import shape_text
from sparsenet.cli.common import add_json, console, print_json, table
from sparsenet.cli.source import add_source, load_source
from sparsenet.cli.stats import layers, totals


def add(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "inspect",
        help="show layers, shapes, density, bytes, and the passes' effect",
        description="Shows a network's layers, shapes, density and bytes, and what each pass makes of it.",
    )
    add_source(parser)
    parser.add_argument("--after-passes", action="store_true", help="list the layers that the passes leave")
    add_json(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    source = load_source(args)
    effects, after = pass_effects(source.graph)
    graph = after if args.after_passes else source.graph
    rows, total = layers(graph), totals(graph)
    size = Path(args.model).stat().st_size if args.model.endswith(".snet") else None
    if args.json:
        told = {
            "model": source.name,
            "file_bytes": size,
            "inputs": [{"name": name, "shape": shape} for name, shape in graph.inputs],
            "outputs": [{"name": name, "shape": shape} for name, shape in graph.outputs],
            "totals": {**asdict(total), "density": total.density, "dense_bytes": 4 * total.parameters},
            "layers": [{**asdict(row), "bytes": row.bytes} for row in rows],
            "passes": effects,
        }
        print_json(told)
        return 0
    ends = [", ".join(f"{name}{shape_text(shape)}" for name, shape in side) for side in (graph.inputs, graph.outputs)]
    caption = f"{total.parameters:,} parameters, {total.nonzeros:,} nonzero ({total.density:.1%})"
    if size is not None:
        caption += f"; file {size:,} bytes, {size / max(1, 4 * total.parameters):.1%} of dense float32"
    columns = ("<layer", "<op", "<output", "parameters", "nonzeros", "density", "dense bytes")
    cells = [
        (row.name, row.op, shape_text(row.shape), f"{row.weights:,}", f"{row.nonzeros:,}", density, f"{row.bytes:,}")
        if row.weights
        else (row.name, row.op, shape_text(row.shape), "", "", "", "")
        for row in rows
        for density in [f"{row.nonzeros / row.weights:.3f}" if row.weights else ""]
    ]
    out = console()
    out.print(table(f"{source.name}: {ends[0]} -> {ends[1]}", columns, cells, caption))
    head = ("<pass", "<what it does", "nodes", "parameters", "nonzeros")
    out.print(table("passes", head, [_effect_cells(effect) for effect in effects]))
    return 0


def pass_effects(graph: sparsenet.Graph) -> tuple[list[dict[str, Any]], sparsenet.Graph]:
    """What the passes change, run in order one after another on a copy; and that copy."""
    graph = graph.copy()
    known = _core.passes()
    effects = []
    for name, what in known:
        before = totals(graph)
        graph.run_passes([other for other, _ in known if other != name])
        effects.append({"pass": name, "what": what, "before": asdict(before), "after": asdict(totals(graph))})
    return effects, graph


def _effect_cells(effect: dict[str, Any]) -> tuple[str, ...]:
    before, after = effect["before"], effect["after"]
    counts = (
        f"{before[key]:,} -> {after[key]:,}" if before[key] != after[key] else f"{after[key]:,}"
        for key in ("nodes", "parameters", "nonzeros")
    )
    return (effect["pass"], effect["what"], *counts)
