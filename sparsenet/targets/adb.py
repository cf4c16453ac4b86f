"""An Android device behind adb."""

from __future__ import annotations

from pathlib import Path

from sparsenet.targets.target import TargetError, call, program


class Adb:
    """`--target adb:SERIAL`, the serial number as `adb devices` lists it. Needs no root; Android 7 or later.

    (Before 7, adb's shell did not pass exit codes on.)
    """

    emulator: tuple[str, ...] = ()

    def __init__(self, serial: str) -> None:
        self.name = f"adb:{serial}"
        if serial.startswith("-"):
            raise TargetError(f"target {self.name!r}: expected adb:SERIAL; `adb devices` lists serial numbers")
        self._adb = [program("adb", "adb"), "-s", serial]

    def shell(self, script: str) -> str:
        return call(self.name, [*self._adb, "shell", script]).replace("\r\n", "\n")

    def push(self, source: Path, place: str) -> None:
        call(self.name, [*self._adb, "push", str(source), place])

    def pull(self, place: str, to: Path) -> None:
        call(self.name, [*self._adb, "pull", place, str(to)])

    def root(self) -> str:
        return "/data/local/tmp"  # the one place that the shell user may both write to and execute from
