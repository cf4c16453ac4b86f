"""Calls in a process of their own, which may crash: who was at work is known, and nobody goes with it."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_CODE = "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); from sparsenet.apart import main; main()"
_at: int | None = None  # the file that tells who is at work, in such a process


class Died(Exception):
    """The process ended without a result: ``name`` was at work, ``reason`` is how and when."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason


def at(name: str, doing: str) -> None:
    """Tells the process that waits who is at work, such as at("torch", "timed"). Costs about a microsecond; a crash
    leaves no time for more. Elsewhere than in such a process it does nothing."""
    if _at is not None:
        os.pwrite(_at, f"{name}\n{doing}".encode().ljust(64), 0)


def call(function: Callable[..., Any], *args: Any, patience: float) -> Any:
    """function(*args) in a new process, whose output is thrown away.

    Args:
        function: of a module; it, the arguments, the result and exceptions are pickled.
        patience: seconds after which the process is killed.

    Raises:
        Died: the process crashed, ended or took too long.
        Exception: what the function raised.
    """
    with tempfile.TemporaryDirectory(prefix="sparsenet-apart-") as name:
        folder = Path(name)
        (folder / "call").write_bytes(pickle.dumps((function, args)))
        command = [sys.executable, "-c", _CODE, name, json.dumps(_path())]
        try:
            done = subprocess.run(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=patience,
                check=False,
                env={**os.environ, "TMPDIR": name},  # what it leaves there goes with the folder
            )
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            how = f"crashed ({_name(-done.returncode)})" if done.returncode < 0 else last[0][:300]
        except subprocess.TimeoutExpired:
            how = f"took more than {patience:.0f} s"
        if not (folder / "result").exists():
            who, doing = _read(folder / "at")
            raise Died(who, f"{how} while {doing}")
        good, result = pickle.loads((folder / "result").read_bytes())
    if not good:
        raise result
    return result


def call_peers(
    function: Callable[..., Any], peers: Sequence[str], *args: Any, patience: float
) -> tuple[Any, dict[str, str]]:
    """function(peers, *args) by `call`, once more without each peer that ended the process.

    Returns the result, and of each peer left out how it ended. Raises what `call` raises, Died if it was nobody of
    ``peers``.
    """
    ended: dict[str, str] = {}
    while True:
        left = [name for name in peers if name not in ended]
        try:
            return call(function, left, *args, patience=patience), ended
        except Died as died:
            if died.name not in left:
                raise
            ended[died.name] = died.reason


def _path() -> list[str]:
    """The caller's own path, where another sparsenet, such as a source tree that is not built, comes last."""
    own = Path(__file__).resolve().parents[1]

    def is_other(entry: str) -> bool:
        folder = Path(entry or ".").resolve()
        return folder != own and (folder / "sparsenet").is_dir()

    return sorted(sys.path, key=is_other)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _read(path: Path) -> tuple[str, str]:
    text = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    name, _, doing = text.partition("\n")
    return name or "a process", doing or "started"


def main() -> None:
    """The process: FOLDER."""
    global _at
    folder = Path(sys.argv[1])
    with open(folder / "call", "rb") as file:
        function, args = pickle.load(file)
    _at = os.open(folder / "at", os.O_CREAT | os.O_WRONLY)
    try:
        told = (True, function(*args))
    except Exception as error:
        told = (False, error)
    (folder / "started").write_bytes(pickle.dumps(told))
    os.rename(folder / "started", folder / "result")
