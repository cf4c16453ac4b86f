"""bench --target: what goes over the wire, what comes back, what is left behind. The devices are this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from target_tools import FAKE_ADB, FAKE_SSH, build_runner, script, sshd

import sparsenet as sn
from sparsenet import targets
from sparsenet.cli import main
from sparsenet.targets.runner import check_runner

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
QUICK = ["--rounds", "2", "--cooldown", "0.01", "--seconds", "0.05", "--no-tune"]


def needs_sshd() -> None:
    if not (shutil.which("sshd") or Path("/usr/sbin/sshd").exists()) or not shutil.which("ssh-keygen"):
        pytest.skip("needs sshd: apt install openssh-server")


def aarch64_runner() -> str:
    runner = os.environ.get("SPARSENET_AARCH64_RUNNER", "")
    if not runner or not shutil.which("qemu-aarch64"):
        pytest.skip("needs qemu-aarch64 and SPARSENET_AARCH64_RUNNER, the path of a static sparsenet-run for aarch64")
    return runner


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_runner(tmp_path_factory.mktemp("runner"))


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the device's temporary folders are made; a model stands in the working directory."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    graph = sn.Graph()
    x = graph.add_input("x", (None, 4, 9, 7))
    w = graph.add_constant("w", rng.standard_normal((6, 4, 3, 3)).astype(np.float32))
    conv = {"stride": [1, 1], "padding": [1, 1, 1, 1], "dilation": [1, 1]}
    graph.set_outputs([graph.add_node("Conv", [x, w], conv, "y")])
    graph.save("net.snet")
    (tmp_path / "device").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "device"))
    monkeypatch.setenv("DEVICE", str(tmp_path / "device"))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "device"


def log(device: Path) -> list[list[str]]:
    """The arguments of each call of a fake program."""
    return [call.split("\037")[:-1] for call in (device.parent / "log").read_text().split("\036") if call]


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["bench", "net.snet", "--json", *QUICK, *arguments]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def check_timed(told: dict, device: Path) -> None:
    assert told["timed"] is True
    assert [of["sparsity"] for of in told["models"]] == [0.0, 0.9]
    for of in told["models"]:
        assert 0 < of["worst"] <= 1
        assert 0 < of["fastest_ms"] <= of["median_ms"] <= of["slowest_ms"]
        assert of["p10_ms"] <= of["p99_ms"]
        assert len(of["rounds"]) == 2
        assert of["batch"] == 2
    assert told["before"]["arch"] == os.uname().machine
    assert len(told["before"]["cpus"]) >= 1
    assert told["answer"].startswith("times as fast as with 0% zeros: 90% zeros ")
    assert list(device.iterdir()) == []


def test_ssh_line(device, built, capsys):
    script(device.parent / "ssh", FAKE_SSH)
    options = ["--runner", str(built), "--sparsity", "0,0.9", "--batch", "2", "--affinity", "0"]
    told = bench(capsys, "--target", "ssh:pi@board:2222", *options)
    check_timed(told, device)
    assert told["affinity"] == 0
    calls = log(device)
    for call in calls:
        assert call[:2] == ["-o", "BatchMode=yes"]
        assert call[-4:-1] == ["-p", "2222", "pi@board"]
    runs = [call[-1] for call in calls if "/sparsenet-run --json" in call[-1]]
    assert len(runs) == 2 + 2 * 2  # each model's outputs, then two rounds of both
    assert all("--affinity 0" in run for run in runs)
    order = [run.split(".snet")[0][-1] for run in runs[2:]]
    assert order == ["0", "1", "1", "0"]  # the turns rotate
    assert "rm -rf" in calls[-1][-1]


def test_adb_line(device, built, capsys):
    script(device.parent / "adb", FAKE_ADB)
    options = ["--runner", str(built), "--sparsity", "0,0.9", "--batch", "2"]
    check_timed(bench(capsys, "--target", "adb:R58M", *options), device)
    calls = log(device)
    assert all(call[:2] == ["-s", "R58M"] for call in calls)
    pushed = [call[4] for call in calls if call[2] == "push"]
    assert len(pushed) == 1 + 2 * 2  # the runner; each model and its input
    assert all(place.startswith("/data/local/tmp/sparsenet.") for place in pushed)
    assert sum(call[2] == "pull" for call in calls) == 2


def test_sshd(device, built, capsys, monkeypatch):
    needs_sshd()
    keys = device.parent / "keys"
    keys.mkdir()
    with sshd(keys) as command:
        monkeypatch.setenv("SPARSENET_SSH", command)
        told = bench(capsys, "--target", "ssh:board", "--runner", str(built), "--sparsity", "0,0.9", "--batch", "2")
        check_timed(told, device)
        here = targets.open_target("ssh:board")
        assert here.shell("printf %s \"it's $((40 + 2))\"") == "it's 42"
        with pytest.raises(targets.TargetError, match="ssh:board: no luck"):
            here.shell("echo no luck >&2; exit 3")
        with pytest.raises(targets.TargetError, match="ssh:nobody@board"):
            targets.open_target("ssh:nobody@board").shell("true")
        assert main(["bench", "net.snet", "--target", "ssh:board", "--runner", "net.snet"]) == 1
        assert "no 64-bit little-endian ELF" in capsys.readouterr().err


def test_sshd_with_an_emulated_aarch64_behind_it(device, capsys, monkeypatch):
    needs_sshd()
    runner = aarch64_runner()
    keys = device.parent / "keys"
    keys.mkdir()
    with sshd(keys) as command:
        monkeypatch.setenv("SPARSENET_SSH", command)
        options = ["--target", "ssh:board", "--runner", runner]
        assert main(["bench", "net.snet", *options]) == 1
        assert "is built for aarch64, the target is x86_64" in capsys.readouterr().err
        told = bench(capsys, *options, "--wrap", "qemu-aarch64 -cpu cortex-a53")
    [of] = told["models"]
    assert (told["timed"], of["isa"], told["wrap"]) == (False, "neon", ["qemu-aarch64", "-cpu", "cortex-a53"])
    assert 0 < of["worst"] <= 1
    assert "median_ms" not in of


@pytest.mark.parametrize("core", ["cortex-a53", "cortex-a55", "cortex-a76"])
def test_qemu_computes_and_never_times(device, capsys, core):
    told = bench(capsys, "--target", f"qemu:{core}", "--runner", aarch64_runner(), "--sparsity", "0,0.9")
    assert told["timed"] is False
    assert "answer" not in told
    for of in told["models"]:
        assert 0 < of["worst"] <= 1
        assert not any(key.endswith("_ms") for key in of)
    assert list(device.iterdir()) == []


def test_wrong_outputs_are_an_error(device, built, capsys):
    spoil = 'for a; do [ "$was" = --output ] && y=$a; was=$a; done\n[ "$y" ] && printf AAAA | dd of="$y" conv=notrunc'
    runner = script(device.parent / "bad", f'#!/bin/sh\n{built} "$@"\n{spoil} 2>/dev/null\nexit 0\n')
    assert main(["bench", "net.snet", *QUICK, "--target", "local", "--runner", str(runner)]) == 1
    assert "wrong output: error" in capsys.readouterr().err
    assert list(device.iterdir()) == []


def test_an_error_there_is_told_and_cleaned_up(device, built, capsys):
    options = [*QUICK, "--target", "local", "--runner", str(built)]
    assert main(["bench", "net.snet", *options, "--isa", "vax"]) == 1
    assert "isa=vax" in capsys.readouterr().err
    assert main(["bench", "net.snet", *options, "--engines", "torch"]) == 2
    assert list(device.iterdir()) == []


def test_an_interrupt_stops_the_runner_and_cleans_up(device):
    script(device.parent / "ssh", FAKE_SSH)
    waits = script(device.parent / "waits", f"#!{sys.executable}\nimport time\ntime.sleep(120)\n")
    command = [sys.executable, "-m", "sparsenet", "bench", "net.snet", "--target", "ssh:x", "--runner", str(waits)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pid = 0
    for _ in range(600):
        pids = list(device.glob("sparsenet.*/pid"))
        if pids and pids[0].read_text().strip():
            pid = int(pids[0].read_text())
            if b"sparsenet-run" in Path(f"/proc/{pid}/cmdline").read_bytes():
                break
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(pid, 0)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, "interrupted" in error) == (130, True)
    assert list(device.iterdir()) == []
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail(f"process {pid} goes on")


def test_no_such_target():
    for name in ("phone", "ssh:", "ssh:-oProxyCommand=x", "ssh:host:port", "qemu:vax", "adb:-e"):
        with pytest.raises(targets.TargetError, match=f"target '{name}': expected"):
            targets.open_target(name)


def elf(machine: int, interpreter: bool) -> bytes:
    header = bytearray(64)
    header[:7] = b"\x7fELF\x02\x01\x01"
    struct.pack_into("<HH", header, 16, 2, machine)
    struct.pack_into("<Q", header, 32, 64)
    struct.pack_into("<HH", header, 54, 56, 2)
    return bytes(header) + b"".join(struct.pack("<I52x", kind) for kind in (1, 3 if interpreter else 1))


def test_the_runner_must_fit(tmp_path):
    runner = tmp_path / "run"
    with pytest.raises(targets.TargetError, match=r"which sparsenet-run for aarch64\? .*--toolchain .ci/aarch64.cmake"):
        check_runner(None, "arm64")
    with pytest.raises(targets.TargetError, match="No such file"):
        check_runner(runner, "aarch64")
    runner.write_bytes(elf(0xB7, False))
    assert check_runner(runner, "aarch64") == (runner, "aarch64")
    assert check_runner(runner, "x86_64", any_machine=True) == (runner, "aarch64")
    with pytest.raises(targets.TargetError, match="is built for aarch64, the target is x86_64"):
        check_runner(runner, "x86_64")
    runner.write_bytes(elf(0xB7, True))
    with pytest.raises(targets.TargetError, match="link it static"):
        check_runner(runner, "aarch64")
