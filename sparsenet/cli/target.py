"""sparsenet bench --target: the same question put to a phone, a board or an emulated core."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

import sparsenet
from sparsenet import targets
from sparsenet.arrays import TensorInfo
from sparsenet.cli.common import (
    CommandError,
    UsageError,
    console,
    make_inputs,
    positive_float,
    positive_int,
    print_json,
    table,
)
from sparsenet.cli.source import load_source
from sparsenet.cli.zeros import with_zeros
from sparsenet.report.store import read as read_report
from sparsenet.report.store import snet_file
from sparsenet.targets.estimate import LABEL

_NOT_TIMED = "outputs checked, never timed"


def add_target(parser: argparse.ArgumentParser) -> None:
    """--target and what goes with it."""
    group = parser.add_argument_group("another machine", "Only sparsenet runs there, as the program sparsenet-run.")
    group.add_argument("--target", help=f"{targets.FORMS}; MODEL may be a folder of `sparsenet report`, all its runs")
    group.add_argument("--runner", type=Path, help="static sparsenet-run for the device; without it the error says how")
    group.add_argument("--wrap", type=shlex.split, default=[], help="put before the runner there, e.g. 'chrt -f 50'")
    group.add_argument("--plugin", type=Path, help="benchmarks/arm/plugin.c, built: qemu targets then estimate cycles")
    group.add_argument("--affinity", type=int, help="its first CPU, -1: none (default: the fastest, where CPUs differ)")
    group.add_argument("--rounds", type=positive_int, default=5, help="repeats of the whole measurement (default 5)")
    group.add_argument("--cooldown", type=positive_float, default=1.0, help="seconds idle before each (default 1)")


def run(args: argparse.Namespace) -> int:
    """`sparsenet bench` with --target."""
    if args.engines or args.layers or args.backend != "cpp":
        raise UsageError("--engines, --layers and --backend do not go with --target: sparsenet-run alone runs there")
    target = targets.open_target(args.target)
    if args.plugin and not args.target.startswith("qemu:"):
        raise UsageError("--plugin goes with --target qemu:...; other targets are timed")
    if args.plugin and args.threads > 1:
        raise UsageError("--plugin counts one thread: leave --threads out")
    found = list(_networks(args))
    inputs = make_inputs(args, [TensorInfo(name, tuple(shape)) for name, shape in found[0][1].inputs])
    models = [targets.Model(name, graph, inputs) for name, graph in found]
    with console(stderr=True).status(target.name) as status:
        told = targets.measure(
            target,
            models,
            targets.Options(
                runner=args.runner,
                threads=args.threads,
                isa=args.isa,
                tune=not args.no_tune,
                affinity=args.affinity,
                wrap=tuple(args.wrap),
                plugin=args.plugin,
                rounds=args.rounds,
                seconds=args.seconds,
                cooldown=args.cooldown,
                say=lambda what: status.update(what),
            ),
        )
    for share, of in zip(args.sparsity or [], told["models"], strict=False):
        of["sparsity"] = share
    told = {"model": args.model, "version": sparsenet.__version__, **told}
    if args.sparsity and told["timed"]:
        told["answer"] = _answer(told["models"])
    if args.sparsity and "cycles" in told["models"][0].get("estimate", {}):
        told["answer"] = _estimated_answer(told["models"])
    if args.json:
        print_json(told)
    else:
        _print(told)
    return 0


def _networks(args: argparse.Namespace) -> Iterator[tuple[str, sparsenet.Graph]]:
    """Names and networks to measure: MODEL, MODEL at each share of zeros, or each run of a report's folder."""
    folder = Path(args.model)
    if folder.is_dir():
        if args.sparsity:
            raise UsageError(f"--sparsity goes with one network; {folder} is a report's folder, with pruned ones")
        runs = [(key, folder / snet_file(key)) for key in read_report(folder)["records"]]
        runs = [(key, file) for key, file in runs if file.is_file()]
        if not runs:
            raise CommandError(f"{folder}: this report has no networks")
        yield from ((key, sparsenet.load(file)) for key, file in runs)
        return
    source = load_source(args)
    for share in args.sparsity or [None]:
        graph = source.graph.copy() if share is None else with_zeros(source.graph, share)
        graph.run_passes()
        yield source.name if share is None else f"{source.name} at {share:.0%} zeros", graph


def _answer(models: list[dict[str, Any]]) -> str:
    """How much faster each share of zeros is than the first; no ranking where the rounds' ranges overlap."""
    first, *others = models
    told = []
    for of in others:
        overlap = of["slowest_ms"] >= first["fastest_ms"] and of["fastest_ms"] <= first["slowest_ms"]
        ratio = f"{of['sparsity']:.0%} zeros {first['median_ms'] / of['median_ms']:.2f}x"
        told.append(ratio + " (the rounds' ranges overlap: no ranking)" * overlap)
    return f"times as fast as with {first['sparsity']:.0%} zeros: {', '.join(told) or 'nothing to compare'}"


def _estimated_answer(models: list[dict[str, Any]]) -> str:
    """Who is faster than the first, claimed only where the ranges are apart."""
    (low, high), told = models[0]["estimate"]["cycles"], []
    for of in models[1:]:
        least, most = of["estimate"]["cycles"]
        verdict = "faster" if most < low else "slower" if least > high else "ranges overlap: no ranking"
        told.append(f"{of['sparsity']:.0%} zeros {verdict}")
    return f"{LABEL}: against {models[0]['sparsity']:.0%} zeros: {', '.join(told) or 'nothing to compare'}"


def _print_estimates(told: dict[str, Any], out: Console) -> None:
    found = [(of["name"], of["estimate"]) for of in told["models"] if "estimate" in of]
    for reason in dict.fromkeys(of["refused"] for _, of in found if "refused" in of):
        out.print(reason, markup=False)
    found = [(name, of) for name, of in found if "cycles" in of]
    if not found:
        return
    of = found[0][1]
    model = f"llvm-mca's {of['cpu']}" + ", the nearest it has" * of["proxy"]
    penalties = f"L1 miss {of['l1_penalty'][0]} to {of['l1_penalty'][1]}, L2 miss {of['l2_penalty'][0]} to "
    caption = f"thousands, for one run; {model}; cycles a miss adds: {penalties}{of['l2_penalty'][1]}"
    rows = []
    for name, of in found:
        low, high = (f"{cycles / 1e3:,.0f}" for cycles in of["cycles"])
        counted = (of[key] / 1e3 for key in ("instructions", "accesses", "l1_misses", "l2_misses"))
        rows.append((name, f"{low} to {high}", *(f"{number:,.1f}" for number in counted)))
    columns = ("<network", "cycles", "instructions", "accesses of <= 8 bytes", "L1 misses", "L2 misses")
    out.print(table(LABEL, columns, rows, caption))


def _print(told: dict[str, Any]) -> None:
    out = console()
    cpu = told["before"]["cpus"].get(told["affinity"] or 0, {})
    machine = told["before"].get("device") or cpu.get("part") or told["before"]["arch"]
    where = "any CPU" if told["affinity"] is None else f"from CPU {told['affinity']} ({cpu.get('part', '?')})"
    caption = f"{'' if told['timed'] else 'emulated on '}{machine}; {told['models'][0]['isa']}; "
    caption += f"{told['threads']} thread(s), {where}; "
    caption += "the rounds' extreme medians in brackets" if told["timed"] else _NOT_TIMED
    columns = ("<network", "KB", "error / bound", "median ms", "<", "p10 ms", "p99 ms", "calls")
    out.print(table(f"{told['model']} on {told['target']}", columns, [_row(of) for of in told["models"]], caption))
    _print_estimates(told, out)
    for line in [*told["warnings"], *([told["answer"]] if "answer" in told else [])]:
        out.print(line, markup=False)


def _row(of: dict[str, Any]) -> tuple[object, ...]:
    head = (of["name"], f"{of['bytes'] / 1000:,.0f}", f"{of['worst']:.3f}")
    if "median_ms" not in of:
        return (*head, *["-"] * 5)
    spread = f"[{of['fastest_ms']:.3f}, {of['slowest_ms']:.3f}]"
    return (*head, f"{of['median_ms']:.3f}", spread, f"{of['p10_ms']:.3f}", f"{of['p99_ms']:.3f}", of["calls"])
