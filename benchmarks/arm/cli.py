"""What the scripts' command lines share."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.markdown import put


def parser(doc: str | None, runner: str) -> argparse.ArgumentParser:
    """``runner`` says what to run in qemu."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--runner", type=Path, required=True, help=runner)
    made.add_argument("--plugin", type=Path, required=True, help="plugin.c, built")
    made.add_argument("--docs", type=Path, help="Markdown file to put the table into")
    return made


def show(args: argparse.Namespace, name: str, text: str) -> None:
    """Prints a table, and puts it into --docs."""
    print(text)
    if args.docs:
        put(args.docs, name, text)
