"""sparsenet convert: import a network, run the passes, write a .snet or .onnx file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sparsenet.cli.common import UsageError, add_json, console, print_json, progress, replacing, table
from sparsenet.cli.source import add_source, load_source
from sparsenet.cli.stats import totals


def add(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "convert",
        help="import a network and write it as .snet or .onnx",
        description="Imports a network, simplifies it, and writes a .snet file, whose size follows the nonzeros, "
        "or an .onnx file for other engines.",
    )
    add_source(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .snet or .onnx file to write or replace")
    parser.add_argument("--fp16", action="store_true", help="store the weights as half floats")
    parser.add_argument("--no-passes", action="store_true", help="keep the network as imported")
    add_json(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    if args.output.suffix not in (".snet", ".onnx"):
        raise UsageError(f"--output {args.output}: expected a name that ends in .snet or .onnx")
    if args.fp16 and args.output.suffix == ".onnx":
        raise UsageError("--fp16 is for .snet files; .onnx is written in float32")
    source = load_source(args)
    graph, before = source.graph, totals(source.graph)
    with progress("simplifying and writing"), replacing(args.output) as temporary:
        if not args.no_passes:
            graph.run_passes()
        if args.output.suffix == ".onnx":
            graph.to_onnx(temporary, passes=False)
        else:
            graph.save(temporary, fp16=args.fp16)
    after, size = totals(graph), args.output.stat().st_size
    if args.json:
        told = {"source": source.name, "output": str(args.output), "bytes": size, "dense_bytes": 4 * before.parameters}
        print_json({**told, "imported": vars(before), "written": vars(after), "density": after.density})
        return 0
    rows = [
        ("imported", before.nodes, f"{before.parameters:,}", f"{before.nonzeros:,}", f"{4 * before.parameters:,}"),
        ("written", after.nodes, f"{after.parameters:,}", f"{after.nonzeros:,}", f"{size:,}"),
    ]
    columns = ("<", "nodes", "parameters", "nonzeros", "bytes")
    console().print(table(f"{source.name} -> {args.output}", columns, rows, "bytes imported: as dense float32"))
    return 0
