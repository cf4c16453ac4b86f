"""sparsenet report: prune, fine-tune, compile and measure a network by many methods; one page tells what it bought."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsenet import peers
from sparsenet.cli.common import CommandError, UsageError, add_json, positive_float, positive_int, print_json
from sparsenet.cli.source import add_factory, call_factory, from_factory, load_module, one_line

if TYPE_CHECKING:
    from sparsenet.report.study import Study

_BUILT_IN = ("digits", "lenet5", "vgg")  # as in sparsenet.report.builtin, which needs torch


def add(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "report",
        help="prune, fine-tune and measure by many methods; writes one page",
        description="Prunes a trained network by each method and ratio, fine-tunes, compiles and measures it, in "
        "sparsenet and in each installed peer, and writes report.html, report.md and report.json to a folder. "
        "Interrupted, it continues where it was.",
    )
    parser.add_argument("model", metavar="MODEL", help=f"{', '.join(_BUILT_IN)} (built in), or pkg.mod:factory")
    add_factory(parser)
    parser.add_argument(
        "--loader",
        metavar="PKG.MOD:FUNCTION",
        help="returns (train, test), iterables of batches (x, y); without it only speed is measured",
    )
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="MNIST for lenet5, Fashion-MNIST for vgg (default: as packaged)"
    )
    parser.add_argument("--methods", help="names, separated by commas (default: all)")
    parser.add_argument("--ratios", help="for all methods, as 0.5,0.8,0.9 (default: each method's own)")
    parser.add_argument("--skip", default=None, help="layers to leave whole, separated by commas")
    parser.add_argument("--epochs", type=int, default=None, help="of fine-tuning after each pruning")
    parser.add_argument("--learning-rate", type=positive_float, default=None, help="of Adam, for fine-tuning")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    parser.add_argument("--peers", default="all", help=f"all (default), none, or some of {','.join(peers.NAMES)}")
    parser.add_argument("--threads", type=positive_int, default=1, help="threads a call uses (default 1)")
    parser.add_argument("--batch", type=positive_int, default=1, help="samples a call is timed on (default 1)")
    parser.add_argument("--seconds", type=positive_float, default=3.0, help="of timing a run (default 3)")
    parser.add_argument("--loss", type=positive_float, default=1.0, help="points of accuracy that count as equal")
    parser.add_argument("--out", type=Path, default=Path("sparsenet-report"), help="folder for all files")
    parser.add_argument(
        "--device",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="what `sparsenet bench --target ... --json` printed, to be shown as well; once for each file",
    )
    parser.add_argument("--fresh", action="store_true", help="do not continue what the folder holds")
    parser.add_argument("--render", action="store_true", help="only write the page of what the folder holds")
    add_json(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    try:
        from sparsenet.report import devices
        from sparsenet.report.run import run as work
        from sparsenet.report.store import read
        from sparsenet.report.write import write
    except ImportError as error:
        raise CommandError(f"this needs more packages ({error}): pip install 'sparsenet[report]'") from None
    measured = [devices.read(path) for path in args.device]  # what is wrong with a file shows before the work begins
    if not args.render:
        options = {name: getattr(args, name) for name in ("threads", "batch", "seconds", "fresh")}
        try:
            work(_study(args), args.out, peers=_peers(args.peers), **options)
        except KeyboardInterrupt:
            print(f"sparsenet report: interrupted; the same command continues {args.out}", file=sys.stderr)
            raise
    if measured:
        devices.add(args.out, measured)
    files = write(args.out, args.loss / 100)
    if args.json:
        print_json(read(args.out))
    else:
        print("\n".join(f"wrote {path}" for path in files))
    return 0


def _peers(names: str) -> list[str]:
    if names in ("all", "none"):
        return list(peers.NAMES) if names == "all" else []
    chosen = names.split(",")
    unknown = [name for name in chosen if name not in peers.NAMES]
    if unknown:
        raise UsageError(f"--peers {names}: no {', '.join(unknown)}; there are {', '.join(peers.NAMES)}")
    return chosen


def _study(args: argparse.Namespace) -> Study:
    import torch

    torch.set_num_threads(args.threads)
    if args.model in _BUILT_IN:
        if args.weights or args.shape or args.loader:
            raise UsageError(f"--weights, --shape and --loader go with pkg.mod:factory; {args.model} is built in")
        from sparsenet.report import builtin

        study = builtin.study(args.model, args.seed, args.data)
    elif args.data:
        raise UsageError(f"--data goes with {', '.join(_BUILT_IN[1:])}; {args.model} has a --loader")
    else:
        study = _own(args)
    changed: dict[str, Any] = {"methods": _methods(args, study)}
    if args.skip is not None:
        changed["skip"] = tuple(name for name in args.skip.split(",") if name)
    if args.epochs is not None and args.epochs < 0:
        raise UsageError(f"--epochs {args.epochs}: expected 0 or more")
    if args.epochs is not None:
        changed["epochs"] = args.epochs
    if args.learning_rate is not None:
        changed["learning_rate"] = args.learning_rate
    study = dataclasses.replace(study, **changed)
    unknown = [name for name in study.skip if name not in dict(study.architecture().named_modules())]
    if unknown:
        raise UsageError(f"--skip: the network has no layer {', '.join(unknown)}")
    return study


def _own(args: argparse.Namespace) -> Study:
    import torch

    from sparsenet.report.study import Study

    if len(args.shape) > 1:
        raise UsageError("sparsenet report takes networks with one input: give --shape once")
    from_factory(args)  # so that what is wrong with the network shows before the work begins
    example = torch.randn((1, *args.shape[0][1:]), generator=torch.Generator().manual_seed(0))
    train, test = _loaders(args.loader, args.shape[0]) if args.loader else (None, None)
    note = f"{args.model}{f' with {args.weights}' if args.weights else ''}; data: {args.loader or 'none'}"
    return Study(args.model, lambda: load_module(args), example, train, test, seed=args.seed, note=note)


def _loaders(name: str, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """(train, test) of --loader, whose first batches are looked at: better now than after an hour of training."""
    found = call_factory(name)
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise CommandError(f"{name} must return (train, test), two iterables of batches (x, y)")
    for what, loader in zip(("train", "test"), found, strict=True):
        if isinstance(loader, Iterator):
            raise CommandError(f"{name}: {what} can be read only once: return a list or a DataLoader, not an iterator")
        try:
            batch = next(iter(loader), None)
        except Exception as error:  # the user's loader may raise anything
            raise CommandError(f"{name}: {what} raised {one_line(error)}") from None
        if batch is None:
            raise CommandError(f"{name}: {what} yields no batch")
        if not isinstance(batch, (tuple, list)) or len(batch) != 2 or not all(hasattr(t, "shape") for t in batch):
            raise CommandError(f"{name}: {what} must yield pairs of tensors (x, y), got {type(batch).__name__}")
        if tuple(batch[0].shape[1:]) != shape[1:]:
            x, given = list(batch[0].shape), ",".join(str(n) for n in shape)
            raise CommandError(f"{name}: {what} yields x of shape {x}, which is not that of --shape {given}")
    return found[0], found[1]


def _methods(args: argparse.Namespace, study: Study) -> dict[str, tuple[float, ...]]:
    names = args.methods.split(",") if args.methods else list(study.methods)
    unknown = [name for name in names if name not in study.methods]
    if unknown:
        raise UsageError(f"--methods: no {', '.join(unknown)}; there are {', '.join(study.methods)}")
    if args.ratios is None:
        return {name: study.methods[name] for name in names}
    try:
        ratios = tuple(float(part) for part in args.ratios.split(","))
    except ValueError:
        ratios = (-1.0,)
    if any(not 0 < ratio < 1 for ratio in ratios):
        raise UsageError(f"--ratios {args.ratios}: expected numbers between 0 and 1 such as 0.5,0.8,0.9")
    return dict.fromkeys(names, ratios)
