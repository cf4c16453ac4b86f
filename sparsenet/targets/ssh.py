"""A machine behind ssh: a board, a phone with Termux, another PC."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from sparsenet.targets.target import TargetError, call, program

# BatchMode: a question (password, unknown host) becomes an error instead of a wait. A device that is gone is noticed.
_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15")


class Ssh:
    """`--target ssh:[user@]host[:port]`; the host's entry in ~/.ssh/config counts.

    Files go through `cat`, so that the device needs neither scp nor an sftp server. The environment variable
    SPARSENET_SSH is the command to use in place of `ssh`, e.g. "ssh -F my_config".
    """

    emulator: tuple[str, ...] = ()

    def __init__(self, where: str) -> None:
        self.name = f"ssh:{where}"
        host, colon, port = where.rpartition(":")
        if not colon:
            host, port = where, ""
        if not host or host.startswith("-") or (colon and not port.isdecimal()):
            raise TargetError(f"target {self.name!r}: expected ssh:[user@]host[:port]")
        ssh = shlex.split(os.environ.get("SPARSENET_SSH", "ssh"))
        program(ssh[0], "openssh-client")
        self._ssh = [*ssh, *_OPTIONS, *(("-p", port) if port else ()), host]

    def shell(self, script: str) -> str:
        return call(self.name, self._command(script))

    def push(self, source: Path, place: str) -> None:
        with open(source, "rb") as file:
            call(self.name, self._command(f"cat > {shlex.quote(place)}"), stdin=file)

    def pull(self, place: str, to: Path) -> None:
        with open(to, "wb") as file:
            call(self.name, self._command(f"cat {shlex.quote(place)}"), stdout=file)

    def root(self) -> str:
        return self.shell('printf %s "${TMPDIR:-/tmp}"')

    def _command(self, script: str) -> list[str]:
        # The login shell there may be fish or csh; sh is the one we write for.
        return [*self._ssh, f"sh -c {shlex.quote(script)}"]
