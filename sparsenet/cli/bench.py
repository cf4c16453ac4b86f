"""sparsenet bench: latency, alone or in turn with torch and onnxruntime."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sparsenet
from sparsenet.arrays import FloatArray
from sparsenet.cli.common import (
    CommandError,
    add_engine_options,
    add_input_options,
    add_json,
    console,
    engine_options,
    make_inputs,
    positive_float,
    print_json,
    progress,
    table,
)
from sparsenet.cli.source import Source, add_source, load_source
from sparsenet.timing import cpu_model, interleave


def add(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "bench",
        help="time a network, beside torch where it came from torch",
        description="Times a network: median, 10th and 99th percentile, throughput. A network given as .pt2 or "
        "pkg.mod:factory is timed in torch too, one given with --onnx in onnxruntime too, all taking turns.",
    )
    add_source(parser)
    add_input_options(parser)
    parser.add_argument("--onnx", type=Path, help="the same network as ONNX, to time onnxruntime on")
    parser.add_argument("--seconds", type=positive_float, default=3.0, help="for all timings together (default 3)")
    parser.add_argument("--layers", action="store_true", help="show each step's kernel and time as well")
    add_engine_options(parser)
    add_json(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    source = load_source(args)
    with progress("compiling"):
        engine = sparsenet.compile(source.graph, batch=args.batch or 1, **engine_options(args))
    inputs = make_inputs(args, engine.inputs)
    arrays = list(inputs.values())
    batch = len(arrays[0])
    candidates: dict[str, Callable[[], object]] = {"sparsenet": lambda: engine(*arrays)}
    if source.module is not None:
        candidates["torch"] = _torch_call(source, arrays, args.threads)
    if args.onnx is not None:
        candidates["onnxruntime"] = onnx_call(args.onnx, arrays, args.threads)
    with progress("timing"):
        timings = interleave(candidates, args.seconds)
    explained = engine.explain(*arrays) if args.layers else None
    ours = timings["sparsenet"].median
    results = {
        name: {**timing.summary(), "per_second": batch / timing.median, "speedup": timing.median / ours}
        for name, timing in timings.items()
    }
    if args.json:
        told: dict[str, Any] = {"model": source.name, "cpu": cpu_model(), "isa": engine.isa, "threads": args.threads}
        told |= {"batch": batch, "results": results}
        if explained is not None:
            told["layers"] = explained.to_json()
        print_json(told)
        return 0
    rows = [
        (
            name,
            *(f"{told[key]:.3f}" for key in ("median_ms", "p10_ms", "p99_ms")),
            f"{told['per_second']:,.1f}",
            int(told["calls"]),
            f"{told['speedup']:.2f}x",
        )
        for name, told in results.items()
    ]
    columns = ("<runtime", "median ms", "p10 ms", "p99 ms", "samples/s", "calls", "time / sparsenet's")
    caption = f"{cpu_model()}; {engine.isa}; {args.threads} thread(s); batch {batch}"
    out = console()
    if explained is not None:
        out.print(explained)
    out.print(table(source.name, columns, rows, caption))
    return 0


def _torch_call(source: Source, arrays: list[FloatArray], threads: int) -> Callable[[], object]:
    import torch

    torch.set_num_threads(threads)
    module, tensors = source.module, [torch.from_numpy(array) for array in arrays]

    def call() -> object:
        assert module is not None
        with torch.inference_mode():
            return module(*tensors)

    return call


def onnx_call(path: Path, arrays: list[FloatArray], threads: int) -> Callable[[], object]:
    """A call of onnxruntime on the model of ``path``, fed ``arrays`` in order, with ``threads`` threads."""
    try:
        ort: Any = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise CommandError(f"--onnx needs onnxruntime ({error}): pip install onnxruntime") from None
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feed = dict(zip([node.name for node in session.get_inputs()], arrays, strict=True))
        session.run(None, feed)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise CommandError(f"{path}: onnxruntime: {' '.join(str(error).split())[:300]}") from None

    def call() -> object:
        return session.run(None, feed)

    return call
