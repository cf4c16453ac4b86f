"""The CPU that denies AVX-512: what is measured there takes its AVX2 path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import without_avx512

LAUNCHER = [sys.executable, without_avx512.__file__]


def test_every_process_sees_a_cpu_without_avx512(tmp_path: Path) -> None:
    reason = without_avx512.why_not()
    if reason is not None:
        pytest.skip(reason)
    asks = "from sparsenet import _core; print(*_core.isas())"
    again = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {asks!r}], check=True)"
    for program in (asks, again):  # a child of a child, too
        ran = subprocess.run([*LAUNCHER, sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
        if "no CPUID faulting" in ran.stderr:
            pytest.skip(ran.stderr.strip())
        assert ran.returncode == 0, ran.stderr
        isas = ran.stdout.split()
        assert "scalar" in isas
        assert "avx512" not in isas


def test_a_command_is_needed() -> None:
    ran = subprocess.run(LAUNCHER, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "benchmarks.targets" in ran.stderr
