"""Measures one row of the targets in a process of its own, so that a peer's crash costs one row of one peer.

    python -m benchmarks.row FOLDER     # reads FOLDER/row.json, writes FOLDER/told.json, keeps FOLDER/at up to date
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .cases import Case, CaseError
from .target_table import Target

TIMEOUT = 1200  # seconds


def measure(target: Target, engines: Sequence[str], seconds: float) -> dict[str, Any]:
    """What is known of a target: its value and all that led to it, or why it could not be measured.

    A peer that kills the process is left out, with the signal as its reason, and the row is measured without it.
    """
    crashed: dict[str, str] = {}
    while True:
        left = [name for name in engines if name not in crashed]
        told, died = _once(target, left, seconds)
        if died is None:
            return {**told, "missing": told.get("missing", {}) | crashed}
        engine, reason = died
        if engine not in left:
            return {"error": reason if engine == "" else f"{engine}: {reason}", "missing": crashed}
        crashed[engine] = reason


def _once(target: Target, engines: Sequence[str], seconds: float) -> tuple[dict[str, Any], tuple[str, str] | None]:
    """The result, or (who was at work, why the process ended)."""
    with tempfile.TemporaryDirectory(prefix="sparsenet-row-") as name:
        folder = Path(name)
        row = {"kind": target.kind, "case": asdict(target.case), "threads": target.threads}
        (folder / "row.json").write_text(json.dumps(row | {"engines": list(engines), "seconds": seconds}))
        try:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.row", str(folder)],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {}, (_at(folder), f"took longer than {TIMEOUT} s")
        if done.returncode == 0:
            result: dict[str, Any] = json.loads((folder / "told.json").read_text())
            return result, None
        if done.returncode < 0:
            return {}, (_at(folder), f"killed by {signal.Signals(-done.returncode).name}")
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return {}, ("", last[0][:300])


def _at(folder: Path) -> str:
    return (folder / "at").read_text() if (folder / "at").exists() else ""


def main() -> None:
    folder = Path(sys.argv[1])
    row = json.loads((folder / "row.json").read_text())
    case = Case(**row["case"])
    import torch

    from . import own, side_by_side

    torch.set_num_threads(row["threads"])
    cores = side_by_side.pin(row["threads"])
    try:
        if row["kind"] == "peers":
            told = side_by_side.measure(
                case, row["engines"], row["threads"], row["seconds"], lambda name: _note(folder, name)
            )
            ratios = told["ratios"]
            if ratios:
                told["best"] = min(ratios, key=ratios.__getitem__)
                told["value"] = ratios[told["best"]]
                told["value_p10"] = min(told["ratios_p10"].values())
        else:
            told = own.KINDS[row["kind"]](case, row["threads"], row["seconds"])
    except CaseError as error:
        told = {"error": str(error)}
    (folder / "told.json").write_text(json.dumps({**told, "cores": cores}))


def _note(folder: Path, name: str) -> None:
    (folder / "at").write_text(name)


if __name__ == "__main__":
    main()
