"""sparsenet demo: the main job from end to end, on real digits and real photos."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sparsenet.cli.common import CommandError, add_json


def add(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="train, prune, compile and run real networks, in about a minute",
        description="Trains a small CNN on scikit-learn's digits, prunes it by weights and by filters, compiles and "
        "runs each; then runs MobileNetV2 with its ImageNet weights on photos. Ends with one table and a picture.",
    )
    parser.add_argument("--out", type=Path, default=Path("sparsenet-demo"), help="folder for files and picture")
    parser.add_argument("--quick", action="store_true", help="fewer training epochs and timings: a smoke test")
    add_json(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    try:
        from sparsenet.demo.story import tell
    except ImportError as error:
        raise CommandError(f"the demo needs more packages ({error}): pip install 'sparsenet[demo]'") from None
    tell(args.out, quick=args.quick, as_json=args.json)
    return 0
