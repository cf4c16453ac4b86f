"""Runs `sparsenet.report.child` on a .snet file; a peer that kills it is noted, and the rest measured without it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsenet.arrays import FloatArray
from sparsenet.report.child import OURS

_PATIENCE = 600.0  # seconds beyond the timing itself: tuning, imports, peers that compile


class MeasureError(Exception):
    """sparsenet itself could not be measured; one line."""


def measure(
    snet: Path,
    inputs: Sequence[FloatArray],
    peers: Sequence[str],
    threads: int = 1,
    seconds: float = 3.0,
    baseline: Path | None = None,
) -> dict[str, Any]:
    """What the child tells; ``absent`` says of each peer that was not timed why: not installed, crashed, too slow.

    ``baseline`` is the dense network to compare with, None if this is it. Raises MeasureError.
    """
    left = list(peers)
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="sparsenet-report-") as folder:
        arrays = Path(folder) / "inputs.npz"
        np.savez(arrays, allow_pickle=False, **{f"input{i}": x for i, x in enumerate(inputs)})
        job = Path(folder) / "job.json"
        while True:
            told: dict[str, Any] = {"snet": str(snet), "baseline": None if baseline is None else str(baseline)}
            told |= {"inputs": str(arrays), "threads": threads, "seconds": seconds, "peers": left}
            job.write_text(json.dumps(told), encoding="utf-8")
            lines, failure = _run(job, seconds + _PATIENCE)
            for line in lines:
                if "result" in line:
                    result: dict[str, Any] = line["result"]
                    return {**result, "absent": {**absent, **result["absent"]}}
            last = next((line["preparing"] for line in reversed(lines) if "preparing" in line), OURS)
            if last == OURS or not left:
                raise MeasureError(f"{snet}: measuring failed: {failure}")
            # Under "timing" all peers are suspects.
            guilty = left if last == "timing" else [last]
            absent.update(dict.fromkeys(guilty, f"{failure} while {'timed' if last == 'timing' else 'prepared'}"))
            left = [name for name in left if name not in guilty]


def _run(job: Path, timeout: float) -> tuple[list[dict[str, Any]], str]:
    """The lines of JSON that the child printed before it ended, and how it ended if it failed."""
    # The parent's own path, so that a source tree in the working directory does not stand in for the installed package.
    code = "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); from sparsenet.report.child import main; main()"
    command = [sys.executable, "-c", code, str(job), json.dumps(sys.path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        output, errors, status = done.stdout, done.stderr, done.returncode
    except subprocess.TimeoutExpired as late:
        output = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        return _parsed(output), f"took more than {timeout:.0f} s"
    if status < 0:
        return _parsed(output), f"crashed ({signal.Signals(-status).name})"
    last = errors.strip().splitlines()[-1] if errors.strip() else f"exit code {status}"
    return _parsed(output), last[:300]


def _parsed(text: str) -> list[dict[str, Any]]:
    """The child's own lines; libraries print others."""
    lines = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            lines.append(value)
    return lines
