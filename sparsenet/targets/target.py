"""What a target must be able to do, and the programs that reach it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

from sparsenet.errors import SparsenetError

LOCAL = "local"


class TargetError(SparsenetError):
    """The device cannot be reached, or a command failed there."""


class Target(Protocol):
    """A machine with a POSIX shell.

    `emulator` goes before every run of the runner; a target that has one computes but does not time.
    """

    name: str
    emulator: tuple[str, ...]

    def shell(self, script: str) -> str:
        """Standard output of `sh -c script` there. Raises TargetError with what it said on stderr if it fails."""

    def push(self, source: Path, place: str) -> None:
        """Copies a file there."""

    def pull(self, place: str, to: Path) -> None:
        """Copies a file from there."""

    def root(self) -> str:
        """An existing folder there, for temporary ones, in which programs may be executed."""


def program(name: str, package: str) -> str:
    """`name`, if it is on the PATH."""
    if shutil.which(name) is None:
        raise TargetError(f"this needs the program {name}: install it (Debian, Ubuntu: apt install {package})")
    return name


def call(
    what: str, command: Sequence[str], stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
) -> str:
    """Runs a command; its standard output, unless that goes to a file.

    The command has a session of its own, so that Ctrl-C reaches only us: we stop it, and the clean-up that follows has
    a connection to work with.
    """
    try:
        done = subprocess.run(
            command,
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            check=False,
        )
    except OSError as error:
        raise TargetError(f"{what}: {command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or f"{command[0]} ended with code {done.returncode}"
        raise TargetError(f"{what}: {said}")
    return (done.stdout or b"").decode(errors="replace")
