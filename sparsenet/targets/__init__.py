"""Measuring elsewhere: sparsenet-run and .snet files go to a device, JSON comes back.

`open_target("ssh:user@host")`, `"adb:SERIAL"` and `"local"` time; `"qemu:cortex-a76"` computes and estimates, and never
times. `measure` does the work for all of them.
"""

from __future__ import annotations

from sparsenet.targets.measure import Model, Options, measure
from sparsenet.targets.target import LOCAL, Target, TargetError

__all__ = ["Model", "Options", "Target", "TargetError", "measure", "open_target"]

FORMS = "local, ssh:[user@]host[:port], adb:SERIAL, qemu:cortex-a53, qemu:cortex-a55 or qemu:cortex-a76"


def open_target(spec: str) -> Target:
    """The target a user named; nothing is contacted yet.

    Raises:
        TargetError: no such kind of target, or the program that reaches it is not installed.

    Example:
        >>> open_target("ssh:pi@raspberry:2222").name
        'ssh:pi@raspberry:2222'
    """
    from sparsenet.targets import adb, local, qemu, ssh

    kind, _, rest = spec.partition(":")
    if spec == LOCAL:
        return local.Local()
    if kind == "ssh" and rest:
        return ssh.Ssh(rest)
    if kind == "adb" and rest:
        return adb.Adb(rest)
    if kind == "qemu" and rest:
        return qemu.Qemu(rest)
    raise TargetError(f"target {spec!r}: expected {FORMS}")
