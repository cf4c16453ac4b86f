"""The ``sparsenet`` command: one module a subcommand, each with ``add(subparsers)`` and ``run(args)``."""

from sparsenet.cli.app import main

__all__ = ["main"]
