"""This machine, by the same steps as a remote one."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from sparsenet.targets.target import LOCAL, call


class Local:
    """`--target local`. Also what an emulator on this machine is built from."""

    def __init__(self, name: str = LOCAL, emulator: tuple[str, ...] = ()) -> None:
        self.name = name
        self.emulator = emulator

    def shell(self, script: str) -> str:
        return call(self.name, ["sh", "-c", script])

    def push(self, source: Path, place: str) -> None:
        shutil.copyfile(source, place)

    def pull(self, place: str, to: Path) -> None:
        shutil.copyfile(place, to)

    def root(self) -> str:
        return tempfile.gettempdir()
