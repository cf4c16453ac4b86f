"""How much memory a process holds that loads, compiles and runs a .snet; prints JSON, Linux only.

    python -m benchmarks.resident model.snet --threads 1

The peak while running is the growth of the resident set over that of the process with an engine of one tiny layer.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import sparsenet as sn


def status(key: str) -> int:
    """Bytes from /proc/self/status: VmRSS is resident now, VmHWM the most so far."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"no {key} in /proc/self/status")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    # A first small engine brings along what every process with an engine pays once: libcrypto for the file's SHA-256,
    # NumPy's random numbers for the input, the heap's arenas.
    rng = np.random.default_rng(0)
    graph = sn.Graph()
    w = graph.add_constant("w", np.ones((4, 4), np.float32))
    graph.set_outputs([graph.add_node("Linear", [graph.add_input("x", (None, 4)), w], {}, "y")])
    with tempfile.TemporaryDirectory() as folder:
        graph.save(Path(folder) / "small.snet")
        small = sn.compile(Path(folder) / "small.snet", threads=args.threads)
        small(rng.standard_normal((1, 4), np.float32))
    before = status("VmRSS")
    engine = sn.compile(args.model, threads=args.threads, tune=False)
    compiling = status("VmHWM") - before
    inputs = [rng.standard_normal((1, *info.shape[1:]), np.float32) for info in engine.inputs]
    engine(*inputs)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the high-water mark begins anew
    for _ in range(3):
        engine(*inputs)
    told = {
        "running_bytes": status("VmHWM") - before,
        "compiling_bytes": compiling,
        "packed_bytes": engine.packed_bytes,
        "arena_bytes": engine._backend.arena_bytes(1),
        "dense_bytes": engine.dense_bytes,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
