"""The parser, and the one place where errors become a line on stderr and an exit code.

Exit codes: 0 done; 1 it failed, or verify found a difference; 2 the command line is wrong; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from sparsenet.cli import bench, convert, demo, inspect, report, run, verify
from sparsenet.cli.common import CommandError, UsageError
from sparsenet.errors import SparsenetError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The command line, for ``main`` and for whoever wants its help text."""
    top = _Parser(prog="sparsenet", description="Runs pruned neural networks on CPUs as fast as their zeros allow.")
    top.add_argument("--version", action="version", version=f"sparsenet {_version()}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (convert, inspect, run, bench, verify, report, demo):
        sub = module.add(commands)
        sub.set_defaults(run=module.run)
        sub.add_argument("--debug", action="store_true", help="show Python's traceback of an error")
    return top


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sparsenet")
    except PackageNotFoundError:
        return "(not installed)"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code. ``argv`` defaults to the process's arguments."""
    try:
        args = parser().parse_args(argv)
    except SystemExit as done:  # argparse has printed its help or its error
        return done.code if isinstance(done.code, int) else 2
    try:
        with warnings.catch_warnings():
            if not args.debug:
                warnings.simplefilter("ignore")  # torch.export's notes to its own developers
            code = int(args.run(args))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader (head, less) has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python's own flush at exit complains
        return 1
    except KeyboardInterrupt:
        return _fail(args, "interrupted", 130)
    except Exception as error:
        if args.debug:
            raise
        return _fail(args, *_describe(error))


def _describe(error: Exception) -> tuple[str, int]:
    if isinstance(error, UsageError):
        return str(error), 2
    if isinstance(error, (CommandError, SparsenetError)):
        return str(error), 1
    if isinstance(error, MemoryError):
        return f"out of memory: {error}".removesuffix(": "), 1
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror, 1
    return f"{type(error).__name__}: {error} (an error in sparsenet: --debug shows where)", 1


def _fail(args: argparse.Namespace, message: str, code: int) -> int:
    one_line = "; ".join(" ".join(line.split()) for line in message.splitlines() if line.strip())
    print(f"sparsenet {args.command}: error: {one_line}", file=sys.stderr)
    return code
