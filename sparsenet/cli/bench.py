"""sparsenet bench: latency, alone or in turn with other engines, at the network's own zeros or at more of them."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import sparsenet
from sparsenet import apart, peers
from sparsenet.cli.breakeven import answer, break_even
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
    positive_float,
    print_json,
    progress,
    table,
)
from sparsenet.cli.source import add_source, load_source
from sparsenet.cli.target import add_target
from sparsenet.cli.target import run as run_on_target
from sparsenet.cli.zeros import with_zeros
from sparsenet.timing import Timing, cpu_model, interleave

OURS = "sparsenet"
_PATIENCE = 600.0  # seconds beyond the timing itself: tuning, imports, peers that compile


def add(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "bench",
        help="time a network, beside other engines, at several shares of zeros",
        description="Times a network: median, 10th and 99th percentile, throughput. Other engines run the same graph "
        "and take turns; their outputs are checked first. With --sparsity the smallest weights of each layer are set "
        "to zero, and a line says from which share on sparsenet is the fastest.",
    )
    add_source(parser)
    add_input_options(parser)
    parser.add_argument(
        "--engines",
        type=_engines,
        help=f"of {OURS}, {', '.join(peers.NAMES)}; comma-separated (default {OURS}; torch too for .pt2 and factories)",
    )
    parser.add_argument("--sparsity", type=_shares, help="shares of zeros to try, e.g. 0,0.5,0.8,0.9,0.95")
    parser.add_argument("--seconds", type=positive_float, default=3.0, help="of timing for each share (default 3)")
    parser.add_argument("--layers", action="store_true", help="show each step's kernel and time as well")
    add_engine_options(parser)
    add_target(parser)
    add_json(parser)
    return parser


def _engines(text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in (OURS, *peers.NAMES)]
    if unknown or not names:
        known = ", ".join((OURS, *peers.NAMES))
        raise argparse.ArgumentTypeError(f"no engine {', '.join(unknown) or repr(text)}; there are {known}")
    return [name for name in names if name != OURS]


def _shares(text: str) -> list[float]:
    try:
        shares = sorted({float(part) for part in text.split(",")})
    except ValueError:
        shares = []
    if not shares or not all(0 <= share < 1 for share in shares):
        raise argparse.ArgumentTypeError(f"expected shares of zeros like 0,0.5,0.9, each below 1, got {text!r}")
    return shares


def run(args: argparse.Namespace) -> int:
    if args.target:
        return run_on_target(args)
    if args.layers and args.sparsity:
        raise UsageError("--layers goes without --sparsity: it shows the kernels of one network")
    source = load_source(args)
    engines = args.engines if args.engines is not None else ["torch"] * (source.module is not None)
    measured: list[dict[str, Any]] = []
    ended: dict[str, str] = {}
    for share in args.sparsity or [None]:
        graph = source.graph if share is None else with_zeros(source.graph, share)
        with progress(f"{source.name}" if share is None else f"{source.name} at {share:.0%} zeros"):
            measured.append(_survive(graph, engines, args, ended) | ({} if share is None else {"sparsity": share}))
    told: dict[str, Any] = {"model": source.name, "cpu": cpu_model(), "threads": args.threads}
    told |= {key: measured[0][key] for key in ("isa", "batch")}
    if args.sparsity:
        points, rival = _points(measured)
        told |= {"sweep": measured, "break_even": break_even(points), "answer": answer(points, rival)}
    else:
        told |= measured[0]
    if args.json:
        print_json({**told, "layers": told["layers"].to_json()} if "layers" in told else told)
        return 0
    _print(told, measured)
    return 0


def _survive(
    graph: sparsenet.Graph, engines: list[str], args: argparse.Namespace, ended: dict[str, str]
) -> dict[str, Any]:
    """`_measure`, with other engines in a process of its own; of those that end it ``ended`` is told, and keeps them
    out of what is measured after."""
    if not engines:
        return _measure([], graph, args)
    with tempfile.TemporaryDirectory(prefix="sparsenet-bench-") as folder:
        snet = Path(folder) / "network.snet"
        graph.save(snet)
        left = [name for name in engines if name not in ended]
        patience = args.seconds + _PATIENCE
        try:
            told, now = apart.call_peers(_measure, left, snet, args, patience=patience)
        except apart.Died as died:
            raise CommandError(str(died)) from None
    ended |= now
    result: dict[str, Any] = told
    return {**result, "missing": {**ended, **result["missing"]}}


def _measure(engines: list[str], model: sparsenet.Graph | Path, args: argparse.Namespace) -> dict[str, Any]:
    apart.at(OURS, "prepared")
    graph = sparsenet.load(model) if isinstance(model, Path) else model
    engine = sparsenet.compile(graph, batch=args.batch or 1, **engine_options(args))
    arrays = list(make_inputs(args, engine.inputs).values())
    batch = len(arrays[0])
    network = peers.Network(graph, arrays, [np.asarray(y) for y in as_tuple(engine(*arrays))])
    calls: dict[str, Callable[[], object]] = {OURS: lambda: engine(*arrays)}
    absent: dict[str, str] = {}
    for name in engines:
        try:
            calls[name] = peers.prepare(name, network, args.threads)
        except peers.PeerError as error:
            absent[name] = str(error)
    timings = interleave(calls, args.seconds)
    apart.at(OURS, "explained")
    weights = sum(step.weights for step in engine.steps)
    told: dict[str, Any] = {
        "isa": engine.isa,
        "batch": batch,
        "zeros": 1 - sum(step.nnz for step in engine.steps) / weights if weights else 0.0,
        "results": {name: _result(timing, timings[OURS], batch) for name, timing in timings.items()},
        "missing": absent,
    }
    return told | ({"layers": engine.explain(*arrays)} if args.layers else {})


def _result(timing: Timing, ours: Timing, batch: int) -> dict[str, float]:
    return {**timing.summary(), "per_second": batch / timing.median, "speedup": timing.over(ours)}


def _points(measured: list[dict[str, Any]]) -> tuple[list[tuple[float, float]], str]:
    """(share of zeros, the fastest other engine's time over ours); without another, our own time at the first share."""
    if all(len(m["results"]) == 1 for m in measured):
        first = measured[0]["results"][OURS]["median_ms"]
        rival = f"itself at {measured[0]['sparsity']:.0%}"
        return [(m["sparsity"], first / m["results"][OURS]["median_ms"]) for m in measured], rival
    best = [_fastest(m) for m in measured if len(m["results"]) > 1]
    points = [(m["sparsity"], ratio) for m, (_, ratio) in zip(measured, best, strict=True)]
    return points, " and ".join(dict.fromkeys(name for name, _ in best))


def _fastest(measured: dict[str, Any]) -> tuple[str, float]:
    ratios = {name: told["speedup"] for name, told in measured["results"].items() if name != OURS}
    name = min(ratios, key=ratios.__getitem__)
    return name, ratios[name]


def _print(told: dict[str, Any], measured: list[dict[str, Any]]) -> None:
    out = console()
    if "layers" in told:
        out.print(told["layers"])
    rows = [_row(m, name) for m in measured for name in (*m["results"], *m["missing"])]
    columns = ("zeros", "<engine", "median ms", "p10 ms", "p99 ms", "samples/s", "calls", "time / sparsenet's")
    caption = f"{told['cpu']}; {told['isa']}; {told['threads']} thread(s); batch {told['batch']}"
    out.print(table(told["model"], columns, rows, caption))
    for name, why in {name: why for m in measured for name, why in m["missing"].items()}.items():
        out.print(f"{name}: {why}", markup=False)
    if "answer" in told:
        out.print(told["answer"], markup=False)


def _row(measured: dict[str, Any], name: str) -> tuple[object, ...]:
    zeros = f"{measured.get('sparsity', measured['zeros']):.0%}" if name == OURS else ""
    if name in measured["missing"]:
        return (zeros, name, *["-"] * 6)
    told: dict[str, float] = measured["results"][name]
    times = (f"{told[key]:.3f}" for key in ("median_ms", "p10_ms", "p99_ms"))
    return (zeros, name, *times, f"{told['per_second']:,.1f}", int(told["calls"]), f"{told['speedup']:.2f}x")
