"""sparsenet run: arrays in, arrays out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import sparsenet
from sparsenet.arrays import FloatArray, shape_text
from sparsenet.cli.common import (
    UsageError,
    add_engine_options,
    add_input_options,
    add_json,
    as_tuple,
    console,
    engine_options,
    make_inputs,
    print_json,
    progress,
    replacing,
    table,
)
from sparsenet.cli.source import add_source, load_source


def add(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="run a network on arrays from a file, or on random ones",
        description="Runs a network on a .npy or .npz file, or on seeded random inputs.",
    )
    add_source(parser)
    add_input_options(parser)
    parser.add_argument("-o", "--output", type=Path, help="write the outputs: .npz by name, or .npy if there is one")
    add_engine_options(parser)
    add_json(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    if args.output is not None and args.output.suffix not in (".npy", ".npz"):
        raise UsageError(f"--output {args.output}: expected .npy or .npz")
    graph = load_source(args).graph
    with progress("compiling"):
        engine = sparsenet.compile(graph, batch=args.batch or 1, **engine_options(args))
    names = [info.name for info in engine.outputs]
    if args.output is not None and args.output.suffix == ".npy" and len(names) != 1:
        raise UsageError(f"--output {args.output}: the network has outputs {', '.join(names)}: write a .npz")
    inputs = make_inputs(args, engine.inputs)
    results: dict[str, FloatArray] = dict(zip(names, as_tuple(engine(inputs)), strict=True))
    if args.output is not None:
        with replacing(args.output) as temporary, open(temporary, "wb") as file:
            if args.output.suffix == ".npy":
                np.save(file, results[names[0]])
            else:
                np.savez(file, allow_pickle=False, **results)
    if args.json:
        print_json({"outputs": [{"name": name, **_summary(y)} for name, y in results.items()]})
        return 0
    rows = [
        (name, shape_text(told["shape"]), *(f"{told[key]:.6g}" for key in ("min", "mean", "max")), told["argmax"])
        for name, y in results.items()
        for told in [_summary(y)]
    ]
    columns = ("<output", "<shape", "min", "mean", "max", "<largest at, by sample")
    console().print(table(repr(engine), columns, rows))
    return 0


def _summary(y: FloatArray) -> dict[str, Any]:
    return {
        "shape": list(y.shape),
        "min": float(y.min()),
        "mean": float(y.mean()),
        "max": float(y.max()),
        "argmax": y.reshape(len(y), -1).argmax(1).tolist(),
    }
