"""The command line: see the package's docstring."""

from __future__ import annotations

import argparse
import json
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

import benchmarks.study as package
from sparsenet.atomic import write_text
from sparsenet.errors import SparsenetError
from sparsenet.peers import PeerError

from . import clock, layers, page
from .making import Maker
from .plan import SUBJECTS, Pruning

CHUNK = 6  # rows that take turns with the dense network in one process


def rows_of(network: str, args: Namespace) -> list[Pruning]:
    """Those that the command line leaves."""
    wanted = None if args.rows is None else args.rows.split(",")
    return [row for row in SUBJECTS[network].rows if wanted is None or any(row.key.startswith(w) for w in wanted)]


def place(args: Namespace, network: str, row: Pruning, end: str) -> Path:
    return Path(args.cache) / network / f"{row.key}.{end}"


def prune(args: Namespace) -> None:
    """Makes what is missing; a row that cannot be made is a record with the reason."""
    for network, seed in ((n, s) for s in range(args.seeds) for n in args.networks if not s or SUBJECTS[n].retrain):
        end = f"seed{seed}." * (seed > 0)
        left = [row for row in rows_of(network, args) if not place(args, network, row, f"{end}json").is_file()]
        maker = Maker(network, args, seed) if left else None
        for row in left:
            assert maker is not None
            begin = time.time()
            file = place(args, network, row, f"{end}snet")
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                record: dict[str, Any] = maker.make(row, file)
            except (ValueError, RuntimeError, SparsenetError) as error:
                record = {"error": " ".join(str(error).split())}
            write_text(place(args, network, row, f"{end}json"), json.dumps(record, indent=1))
            shown = {k: v for k, v in record.items() if k in ("error", "test_accuracy", "same_answer", "snet_bytes")}
            say(f"{network} {end}{row.key}: {shown} ({time.time() - begin:.0f} s)")


def timing(args: Namespace) -> None:
    """Times what has no time yet, a few rows beside the dense network at once."""
    begin = time.time()
    for network in args.networks:
        made = [row for row in rows_of(network, args) if place(args, network, row, "snet").is_file()]
        dense, *_ = SUBJECTS[network].rows
        left = [row for row in made if args.again or not place(args, network, row, "time.json").is_file()]
        left = [row for row in left if row != dense] or left
        for chunk in (left[i : i + CHUNK] for i in range(0, len(left), CHUNK)):
            if time.time() - begin > args.budget:
                return say(f"the time is up before {network} {chunk[0].key}")
            files = {row.key: place(args, network, row, "snet") for row in chunk if row != dense}
            shrunk = {row.key for row in chunk if row.filters}
            try:
                told = clock.measure(place(args, network, dense, "snet"), files, shrunk, args.seconds, args.tune)
            except PeerError as error:
                say(f"{network}: {error}")
                continue
            for row in SUBJECTS[network].rows:
                if row.key in told:
                    write_text(place(args, network, row, "time.json"), json.dumps(told[row.key], indent=1))
            shown = ", ".join(f"{k} {t['ms']:.3f} ms {t['peer_dense_over_ours']:.2f}x" for k, t in told.items())
            say(f"{network} [{time.time() - begin:.0f} s]: {shown}")


def say(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.study", description=package.__doc__, formatter_class=form)
    parser.add_argument("command", choices=("prune", "time", "layers", "tables"))
    parser.add_argument("--networks", default=",".join(SUBJECTS), help="comma-separated (default all)")
    parser.add_argument("--rows", help="beginnings of keys such as weights,filters-0.3; comma-separated (default all)")
    parser.add_argument("--seeds", type=int, default=1, help="of trained networks (default 1); the first is timed")
    parser.add_argument("--cache", type=Path, default=Path("build/study"), help="for .snet files and records")
    parser.add_argument("--trained", type=Path, default=Path("build/evidence/cache"), help="for trained dense networks")
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: $SPARSENET_DATA or as packaged)")
    parser.add_argument("--budget", type=float, default=float("inf"), help="begin no timing after so many seconds")
    parser.add_argument("--seconds", type=float, default=1.0, help="of timing for each engine and row (default 1)")
    parser.add_argument("--tune", type=float, default=1.0, help="seconds to choose kernels in, a network (default 1)")
    parser.add_argument("--again", action="store_true", help="time rows that have a time, too")
    parser.add_argument("--docs", type=Path, default=page.DOCS, help="where study.md and study.json are")
    args = parser.parse_args()
    args.networks = args.networks.split(",")
    unknown = set(args.networks) - set(SUBJECTS)
    if unknown:
        parser.error(f"no networks {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    torch.set_num_threads(1)
    commands = {"prune": prune, "time": timing, "layers": layers.run, "tables": page.write}
    commands[args.command](args)


if __name__ == "__main__":
    main()
