"""Which sparsenet-run fits a machine."""

from __future__ import annotations

import struct
from pathlib import Path

from sparsenet.targets.target import TargetError

_MACHINES = {0x3E: "x86_64", 0xB7: "aarch64", 0x28: "arm", 0xF3: "riscv64"}  # e_machine of the ELF header
_NAMES = {"arm64": "aarch64", "armv8l": "aarch64", "amd64": "x86_64", "armv7l": "arm"}  # what `uname -m` may say
_PT_INTERP = 3  # the program header that names the dynamic loader


def build_line(machine: str) -> str:
    """How to build a sparsenet-run that needs nothing on the device."""
    toolchain = " --toolchain .ci/aarch64.cmake" if machine == "aarch64" else ""
    folder = f"build/{machine}-static"
    return (
        f"cmake -S . -B {folder}{toolchain} -DSPARSENET_TESTS=OFF -DCMAKE_EXE_LINKER_FLAGS=-static && "
        f"cmake --build {folder} --target sparsenet-run, then --runner {folder}/sparsenet-run"
    )


def check_runner(runner: Path | None, machine: str, any_machine: bool = False) -> tuple[Path, str | None]:
    """The runner and the machine it is built for, if it works on one that calls itself `machine` (by `uname -m`).

    A script is taken at its word: its machine is None. `any_machine` lets programs for others pass, to be emulated.

    Raises:
        TargetError: none given, not there, for another machine, or linked against shared libraries. Tells how to
            build one.
    """
    machine = _NAMES.get(machine, machine)
    hint = f"in sparsenet's source tree: {build_line(machine)}"
    if runner is None:
        raise TargetError(f"which sparsenet-run for {machine}? Build one, {hint}")
    try:
        head = runner.read_bytes()
    except OSError as error:
        raise TargetError(f"{runner}: {error.strerror}; build one, {hint}") from None
    if head[:2] == b"#!":
        return runner, None
    if head[:6] != b"\x7fELF\x02\x01":
        raise TargetError(f"{runner}: no 64-bit little-endian ELF program; build one, {hint}")
    built = _MACHINES.get(struct.unpack_from("<H", head, 18)[0], "another machine")
    if built != machine and not any_machine:
        raise TargetError(f"{runner} is built for {built}, the target is {machine}; build one, {hint}")
    (table,), (size, count) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
    if any(struct.unpack_from("<I", head, table + i * size)[0] == _PT_INTERP for i in range(count)):
        raise TargetError(f"{runner} needs the shared libraries of the machine that built it; link it static, {hint}")
    return runner, built
