"""Runs a command on a CPU that says it has no AVX-512, so that every engine in it takes its AVX2 path.

    python -m benchmarks.without_avx512 python -m benchmarks.targets --json docs/measured-avx2.json
    python -m benchmarks.without_avx512 python -c "import torch; print(torch.backends.cpu.get_cpu_capability())"

onnxruntime and ncnn ask the CPU and have no option to take less than it offers, so their CPUID is answered for them
(without_avx512.c, built by the C compiler at hand). It needs Linux and an x86-64 CPU with CPUID faulting. The clock,
the caches and the memory stay those of the machine.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


def why_not() -> str | None:
    """What this machine lacks, or None."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "it needs Linux on x86-64"
    if " cpuid_fault" not in Path("/proc/cpuinfo").read_text(encoding="ascii"):
        return "this CPU has no CPUID faulting (cpuid_fault in /proc/cpuinfo)"
    if compiler() is None:
        return "it needs a C compiler: set CC, or install cc, gcc or clang"
    return None


def compiler() -> str | None:
    return next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)


def build(folder: Path) -> Path:
    """Builds the library that is loaded first, in `folder`."""
    library = folder / "without_avx512.so"
    subprocess.run([str(compiler()), "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE)], check=True)
    return library


def main() -> int:
    command = sys.argv[1:]
    reason = why_not()
    if not command or command[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    if reason is not None:
        print(f"without_avx512: {reason}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        preload = [str(build(Path(folder))), *filter(None, [os.environ.get("LD_PRELOAD")])]
        return subprocess.run(command, env={**os.environ, "LD_PRELOAD": ":".join(preload)}).returncode


if __name__ == "__main__":
    sys.exit(main())
