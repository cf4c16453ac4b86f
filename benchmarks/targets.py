"""Every target of speed, measured here: target, measured, pass or short.

    python -m benchmarks.targets                                   # all rows, resumable: half an hour
    python -m benchmarks.targets --only resnet50 --seconds 5       # rows whose name contains this
    python -m benchmarks.targets --networks vgg16,alexnet --sparsity 0,80,95 --pattern erk     # other rows, no targets
    python -m benchmarks.targets --list

Each row is a process of its own, pinned to as many cores as it has threads. It holds sparsenet and the peers, each with
the same network, zeros and all, and checks that they agree; they take turns, and the ratio is the median over the
rounds. A dense peer is onnxruntime, OpenVINO, torch or ncnn in fp32; "best" is the fastest of those installed. Rows
already in the JSON file are kept unless --again; a row that could not be measured is tried again. With --patience a
row waits until nobody else is using the core: until its FMA peak is near the highest of the rows in the file.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from rich.table import Table

import sparsenet
from sparsenet import peers
from sparsenet.cli.common import console, replacing
from sparsenet.timing import cpu_model

from . import row
from .cases import PATTERNS, Case, networks
from .target_table import DENSE_ENGINES, WHAT, Target, highest_peak, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose name contains one of these, comma-separated")
    parser.add_argument("--networks", help="instead of the table: these networks beside the peers, comma-separated")
    parser.add_argument("--sparsity", default="0,50,70,80,90,95", help="percent of zeros, for --networks")
    parser.add_argument("--pattern", default="unstructured", choices=PATTERNS, help="of the zeros, for --networks")
    parser.add_argument("--batch", type=int, default=1, help="for --networks")
    parser.add_argument("--threads", type=int, default=1, help="for --networks")
    parser.add_argument("--engines", default=",".join(DENSE_ENGINES), help="peers to measure beside us")
    parser.add_argument("--seconds", type=float, default=10.0, help="of timing for each row")
    parser.add_argument("--patience", type=float, default=0, help="seconds to wait, at most, for a core at full speed")
    parser.add_argument("--json", type=Path, default=Path("targets.json"), help="kept up to date after every row")
    parser.add_argument("--again", action="store_true", help="measure rows that are in the JSON file already, too")
    parser.add_argument("--list", action="store_true", help="name the rows, measure nothing")
    args = parser.parse_args()
    args.engines = [name for name in args.engines.split(",") if name]
    asked = args.networks.split(",") if args.networks else []
    for given, known in ((args.engines, peers.NAMES), (asked, networks())):
        if set(given) - set(known):
            parser.error(f"unknown: {', '.join(sorted(set(given) - set(known)))}; there are {', '.join(known)}")
    rows = [t for t in _rows(args) if not args.only or any(part in t.name for part in args.only.split(","))]
    out = console()
    if args.list:
        for target in rows:
            out.print(f"{target.name:40} {WHAT[target.kind]}, {_wanted(target)}", soft_wrap=True)
        return
    told = _read(args.json)
    cores = len(os.sched_getaffinity(0))
    for target in rows:
        if not args.again and "value" in told["rows"].get(target.name, {}):
            continue
        if target.threads > cores:
            measured: dict[str, Any] = {"error": f"needs {target.threads} cores, {cores} available"}
        else:
            with out.status(target.name):
                measured = row.measure(target, args.engines, args.seconds, highest_peak(told), args.patience)
        told["rows"][target.name] = {**_described(target), **measured}
        out.print(_line(target, measured), soft_wrap=True)
        with replacing(args.json) as temporary:
            temporary.write_text(json.dumps(told, indent=1) + "\n")
    out.print(_table(rows, told))


def _rows(args: argparse.Namespace) -> list[Target]:
    if not args.networks:
        return table()
    known = {target.name: target for target in table()}
    made = [
        Target("peers", Case(network, args.pattern, int(zeros), args.batch), threads=args.threads)
        for network in args.networks.split(",")
        for zeros in args.sparsity.split(",")
    ]
    return [known.get(target.name, target) for target in made]


def _read(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": {}}
    told["cpu"] = cpu_model()
    told["versions"] = {"sparsenet": sparsenet.__version__}
    told["versions"] |= {name: peers.version(name) for name in peers.NAMES if peers.missing(name) is None}
    return told


def _described(target: Target) -> dict[str, Any]:
    case = target.case
    return {
        "kind": target.kind,
        "network": case.network,
        "pattern": case.pattern,
        "zeros": case.zeros,
        "batch": case.batch,
        "threads": target.threads,
        "enough": target.enough,
        "aim": target.aim,
        "at_most": target.at_most,
    }


def _wanted(target: Target) -> str:
    if target.enough is None:
        return "no target"
    aim = "" if target.aim is None else f", aim {target.aim:g}"
    return f"{'at most' if target.at_most else 'at least'} {target.enough:g}{aim}"


def _verdict(target: Target, measured: dict[str, Any]) -> str:
    if "value" not in measured:
        return "missing"
    passes = target.passes(measured["value"])
    return "" if passes is None else "pass" if passes else "SHORT"


def _line(target: Target, measured: dict[str, Any]) -> str:
    if "value" not in measured:
        return f"{target.name}: {measured.get('error', 'no peer could run it')}"
    times = ", ".join(f"{name} {t['median_ms']:.2f} ms" for name, t in measured.get("results", {}).items())
    why = "".join(f"; {name}: {reason}" for name, reason in measured.get("missing", {}).items())
    return f"{target.name}: {measured['value']:.2f} {_verdict(target, measured)} ({_wanted(target)}) {times}{why}"


def _table(rows: list[Target], told: dict[str, Any]) -> Table:
    shown = Table(title="targets", caption=f"{told['cpu']}; {told['versions']}", title_justify="left")
    for name in ("row", "best peer", "sparsenet ms", "peer ms", "measured", "by p10", "enough", "aim", ""):
        shown.add_column(name, justify="left" if name in ("row", "best peer", "") else "right")
    counts: dict[str, int] = {}
    for target in rows:
        measured = told["rows"].get(target.name, {})
        verdict = _verdict(target, measured)
        counts[verdict] = counts.get(verdict, 0) + 1
        best, times = measured.get("best", ""), measured.get("results", {})
        shown.add_row(
            target.name,
            best or measured.get("error", ""),
            f"{times['sparsenet']['median_ms']:.2f}" if "sparsenet" in times else "",
            f"{times[best]['median_ms']:.2f}" if best in times else "",
            f"{measured['value']:.2f}" if "value" in measured else "",
            f"{measured['value_p10']:.2f}" if "value_p10" in measured else "",
            "" if target.enough is None else f"{'<=' if target.at_most else '>='} {target.enough:g}",
            "" if target.aim is None else f"{target.aim:g}",
            verdict,
        )
    shown.caption = f"{shown.caption}; " + ", ".join(f"{n} {verdict}" for verdict, n in counts.items() if verdict)
    return shown


if __name__ == "__main__":
    main()
