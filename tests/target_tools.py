"""For tests of targets: programs named ssh and adb that stay on this machine, a real sshd, runners, a board's JSON."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sparsenet as sn
from sparsenet import _core

ROOT = Path(__file__).parent.parent

# Both write down their arguments, each with ASCII's unit separator behind it, and a record separator behind the call.
FAKE_SSH = """#!/bin/sh
{ printf '%s\\037' "$@"; printf '\\036'; } >> "$LOG"
for last; do :; done
exec sh -c "$last"
"""
FAKE_ADB = """#!/bin/sh
{ printf '%s\\037' "$@"; printf '\\036'; } >> "$LOG"
shift 2
case $1 in
  shell) shift; exec sh -c "$(printf '%s' "$*" | sed "s|/data/local/tmp|$DEVICE|g")" ;;
  push) exec cp "$2" "$(printf '%s' "$3" | sed "s|/data/local/tmp|$DEVICE|")" ;;
  pull) exec cp "$(printf '%s' "$2" | sed "s|/data/local/tmp|$DEVICE|")" "$3" ;;
esac
"""


BOARD = "Board <i>5</i>"


def board(**changed: Any) -> dict[str, Any]:
    """What bench prints of a board with two little cores and two big ones, to which it was pinned."""

    def told(mhz: float, celsius: float) -> dict[str, Any]:
        cpus = {
            str(i): {"part": part, "governor": "ondemand", "cur_mhz": of * mhz, "cpuinfo_max_mhz": of * 1000.0}
            for i, (part, of) in enumerate([("Cortex-A55", 1), ("Cortex-A55", 1), ("Cortex-A76", 2), ("Cortex-A76", 2)])
        }
        heat = {"board 0": 30.0, "cpu 1": celsius}
        return {"arch": "aarch64", "kernel": "Linux 6", "device": BOARD, "cpus": cpus, "celsius": heat}

    def model(zeros: int, fastest: float, median: float, slowest: float) -> dict[str, Any]:
        times = {"median_ms": median, "p10_ms": 0.9 * fastest, "p99_ms": 2 * slowest, "fastest_ms": fastest}
        times |= {"slowest_ms": slowest, "calls": 5000, "bytes": 1234, "isa": "neon", "batch": 1, "worst": 0.1}
        return {"name": f"dir/net.snet at {zeros}% zeros", **times}

    models = [model(0, 7.0, 8.0, 9.0), model(50, 6.5, 6.9, 7.5), model(90, 1.9, 2.0, 2.1)]
    content = {"model": "dir/net.snet", "target": "ssh:board", "timed": True, "wrap": [], "threads": 2, "affinity": 2}
    content |= {"before": told(1000.0, 40.0), "after": told(800.0, 61.0), "models": models}
    return content | {"warnings": ["CPU 2: governor ondemand: the frequency follows the load"]} | changed


def script(path: Path, text: str) -> Path:
    """An executable file."""
    path.write_text(text)
    path.chmod(0o755)
    return path


def build_runner(folder: Path) -> Path:
    """sparsenet-run of this machine behind a script: a static one would need the library's .a, which wheels lack."""
    places = Path(sn.__file__).parent, Path(_core.__file__).resolve().parent
    built = next(place for place in places if (place / "libsparsenet.so").exists())
    linker = [f"-L{built}", "-lsparsenet", "-lm", f"-Wl,-rpath,{built}", "-o", str(folder / "real")]
    source = ROOT / "csrc/tools/sparsenet_run.c"
    subprocess.run(["cc", "-std=c99", f"-I{ROOT / 'csrc/include'}", str(source), *linker], check=True)
    return script(folder / "runner", f'#!/bin/sh\nexec {folder / "real"} "$@"\n')


@contextmanager
def sshd(folder: Path) -> Iterator[str]:
    """An ssh server on a free loopback port, with keys of its own; yields the command `ssh -F config`; host: board."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where a root sshd locks its unprivileged half into
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server, client = folder / "sshd_config", folder / "ssh_config"
    server.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nPidFile none\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
    )
    client.write_text(
        f"Host board\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n IdentityFile {folder}/user\n"
        f" IdentitiesOnly yes\n UserKnownHostsFile {folder}/known\n StrictHostKeyChecking accept-new\n LogLevel ERROR\n"
    )
    program = shutil.which("sshd") or "/usr/sbin/sshd"  # sshd insists on an absolute path
    with open(folder / "sshd.log", "wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", str(server)], stderr=log)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "sshd.log").read_text()
            time.sleep(0.1)
        yield f"ssh -F {client}"
    finally:
        process.terminate()
        process.wait()
