"""Where and with what a report was measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sparsenet import _core
from sparsenet.timing import cpu_model

_PACKAGES = ("sparsenet", "numpy", "torch", "onnx", "onnxruntime", "openvino", "ncnn")


def machine() -> dict[str, Any]:
    """CPU, cores this process may use, ISA, caches, governor, memory, system; what cannot be read is left out."""
    told: dict[str, Any] = {
        "cpu": cpu_model(),
        "arch": platform.machine(),
        "isa": _core.best_isa(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": _cores(),
    }
    for index in range(5):
        cache = Path(f"/sys/devices/system/cpu/cpu0/cache/index{index}")
        level, kind, size = (_read(cache / name) for name in ("level", "type", "size"))
        if level and kind != "Instruction":
            told[f"L{level}"] = size
    told["governor"] = _read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))
    memory = _read(Path("/proc/meminfo"))
    if memory:
        told["memory_bytes"] = 1024 * int(memory.split()[1])
    return {key: value for key, value in told.items() if value is not None}


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def versions(packages: Iterable[str] = _PACKAGES) -> dict[str, str]:
    """Of the packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if "sparsenet" not in found:  # run from its source tree
        found["sparsenet"] = _core.__version__
    return found
