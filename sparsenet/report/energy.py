"""Joules a call, from the CPU's own counter (RAPL) where the system lets us read it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class NoCounter(Exception):
    """There is no energy counter that this process may read; the message says why."""


def counters(root: Path = POWERCAP) -> list[Path]:
    """The folder of each CPU package; raises NoCounter."""
    found = sorted(path for path in root.glob("intel-rapl:[0-9]*") if path.name.count(":") == 1)
    if not found:
        raise NoCounter(f"no RAPL counter under {root}")
    for path in found:
        try:
            (path / "energy_uj").read_text(encoding="ascii")
        except OSError as error:
            raise NoCounter(f"{path / 'energy_uj'}: {error.strerror}") from None
    return found


def joules_per_call(call: Callable[[], object], seconds: float = 1.0, root: Path = POWERCAP) -> float:
    """What all CPU packages consume during a call, whoever else is running, over at least ``seconds`` of calls.

    Raises NoCounter.
    """
    packages = counters(root)
    before = [_microjoules(path) for path in packages]
    begin, calls = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds or calls == 0:
        call()
        calls += 1
    used = 0
    for path, start in zip(packages, before, strict=True):
        wrap = int((path / "max_energy_range_uj").read_text(encoding="ascii"))
        used += (_microjoules(path) - start) % (wrap + 1)  # the counter starts anew at its end
    return used / 1e6 / calls


def _microjoules(path: Path) -> int:
    return int((path / "energy_uj").read_text(encoding="ascii"))
