"""sparsenet verify: is the engine right? Compares its outputs with torch, a stored result, or the fp64 reference."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import sparsenet
from sparsenet import reference
from sparsenet.arrays import FloatArray
from sparsenet.cli.common import (
    CommandError,
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
    read_arrays,
    table,
)
from sparsenet.cli.source import Source, add_source, load_source
from sparsenet.peers import onnxruntime_peer
from sparsenet.peers.network import one_line


def add(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "verify",
        help="compare the engine with torch, a stored result or the fp64 reference",
        description="Runs a network in the engine and elsewhere and compares under the rounding-error bound. "
        "Exit code 1 if an output is out of bound.",
    )
    add_source(parser)
    add_input_options(parser)
    parser.add_argument(
        "--against",
        metavar="WHAT",
        help="torch (default for .pt2 and pkg.mod:factory), onnxruntime (for .onnx), reference (the built-in "
        "fp64 interpreter; default for .snet and .onnx), or a .npz of the expected outputs by name (in order if "
        "unnamed) for --input",
    )
    parser.add_argument("--layers", action="store_true", help="also compare layer by layer, each on its exact inputs")
    add_engine_options(parser)
    add_json(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    source = load_source(args)
    against = args.against or ("reference" if source.module is None else "torch")
    if against not in ("torch", "onnxruntime", "reference") and not against.endswith(".npz"):
        raise UsageError(f"--against {against}: expected torch, onnxruntime, reference or a .npz file")
    if against == "torch" and source.module is None:
        raise UsageError(f"--against torch: {source.name} carries no torch module; give the .pt2 or pkg.mod:factory")
    if against == "onnxruntime" and not source.name.endswith(".onnx"):
        raise UsageError(f"--against onnxruntime: {source.name} is no .onnx file")
    if against.endswith(".npz") and args.input is None:
        raise UsageError("--against a stored result needs the inputs it belongs to: --input")
    with progress("compiling"):
        engine = sparsenet.compile(source.graph, batch=args.batch or 1, **engine_options(args))
    inputs = make_inputs(args, engine.inputs)
    got = [np.asarray(y, np.float64) for y in as_tuple(engine(inputs))]
    with progress(f"comparing with {against}"):
        expected = _expected(against, source, inputs)
        limits = reference.bound(source.graph, inputs)
    # What is compared with fp32 is as far from the truth as we may be.
    slack = 1 if against == "reference" else 2
    checks = []
    for info, y in zip(engine.outputs, got, strict=True):
        checks.append(_check(info.name, "output", y, expected[info.name], slack * limits[info.name]))
    if args.layers:
        with progress("comparing layer by layer"):
            checks += _layer_checks(engine, inputs, engine_options(args))
    bad = [check for check in checks if not check["ok"]]
    if args.json:
        print_json({"model": source.name, "against": against, "isa": engine.isa, "ok": not bad, "checks": checks})
    else:
        rows = [
            (c["name"], c["what"], f"{c['max_error']:.3g}", f"{c['bound']:.3g}", f"{c['ratio']:.3f}", _word(c["ok"]))
            for c in checks
        ]
        columns = ("<name", "<what", "max |error|", "bound there", "worst error / bound", "<")
        caption = f"{engine.isa}, {args.threads} thread(s); an error is right up to its bound, ratio 1"
        console().print(table(f"{source.name} against {against}", columns, rows, caption))
    if bad:
        names = ", ".join(check["name"] for check in bad[:4])
        raise CommandError(f"{len(bad)} of {len(checks)} comparisons out of bound: {names}")
    return 0


def _word(ok: bool) -> str:
    return "ok" if ok else "WRONG"


def _expected(against: str, source: Source, inputs: dict[str, FloatArray]) -> dict[str, Any]:
    names = [name for name, _ in source.graph.outputs]
    if against == "reference":
        return dict(reference.run(source.graph, inputs))
    if against == "torch":
        import torch

        assert source.module is not None
        with torch.inference_mode():
            results = as_tuple(source.module(*[torch.from_numpy(inputs[name]) for name, _ in source.graph.inputs]))
        return {name: np.asarray(y, np.float64) for name, y in zip(names, results, strict=True)}
    if against == "onnxruntime":
        try:
            results = tuple(onnxruntime_peer.file_call(Path(source.name), list(inputs.values()), 1)())
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise CommandError(f"{source.name}: onnxruntime: {one_line(error)}") from None
        return {name: np.asarray(y, np.float64) for name, y in zip(names, results, strict=True)}
    stored = read_arrays(Path(against))
    assert isinstance(stored, dict)
    if sorted(stored) == [f"arr_{i}" for i in range(len(names))]:  # numpy.savez's names for unnamed arrays
        stored = {name: stored[f"arr_{i}"] for i, name in enumerate(names)}
    missing = [name for name in names if name not in stored]
    if missing:
        raise CommandError(f"{against}: no array named {', '.join(missing)}; it holds {', '.join(stored) or 'none'}")
    return {name: np.asarray(stored[name], np.float64) for name in names}


def _check(name: str, what: str, got: Any, expected: Any, limit: Any) -> dict[str, Any]:
    if got.shape != expected.shape:
        raise CommandError(f"{name}: the engine's shape is {list(got.shape)}, the expected {list(expected.shape)}")
    ratio = reference.worst(got, expected, limit)
    error = np.abs(got - expected)
    error[got == expected] = 0  # equal infinities
    at = np.unravel_index(int(np.argmax(np.nan_to_num(error, nan=np.inf))), error.shape)
    return {
        "name": name,
        "what": what,
        "max_error": float(error[at]),
        "bound": float(np.broadcast_to(limit, error.shape)[at]),
        "ratio": ratio,
        "ok": ratio <= 1,
    }


def _layer_checks(
    engine: sparsenet.Engine, inputs: dict[str, FloatArray], options: dict[str, Any]
) -> list[dict[str, Any]]:
    """Every node alone, with its kernel and the fp32 inputs it has in the network, so that errors do not pile up."""
    kernels = {step.node: step.kernel for step in engine.steps} if options["backend"] == "cpp" else {}
    checks = []
    for node, alone, fed in reference.layers(engine.graph, inputs):
        one = sparsenet.compile(alone, passes=False, **(options | {"tune": False, "kernel": kernels.get(node.name)}))
        got = np.asarray(as_tuple(one(fed))[0], np.float64)
        limit = reference.bound(alone, fed)
        [(output, expected)] = reference.run(alone, fed).items()
        told = ", ".join(step.kernel for step in one.steps)
        checks.append(_check(node.name, f"{node.op}: {told}" if told else node.op, got, expected, limit[output]))
    return checks
