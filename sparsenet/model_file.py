"""The .snet file that an engine was compiled from: kept open, so that its weights need not be kept in memory."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

from sparsenet import _core
from sparsenet.errors import FileFormatError, InvalidArgumentError, SparsenetIOError
from sparsenet.graph import Graph


class ModelFile:
    """An open file, so one that may be renamed, replaced or deleted; its digest finds out if it is written over."""

    def __init__(self, path: Path, digest: str) -> None:
        self.path = path
        self.digest = digest
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SparsenetIOError(f"cannot open '{path}': {error.strerror}") from None
        weakref.finalize(self, os.close, self._fd)

    def load(self) -> Graph:
        """The graph in the file.

        Raises:
            InvalidArgumentError: the file has another content than the engine was compiled from.
            SparsenetIOError: it cannot be read any more.
        """
        try:
            parts, at = [], 0
            while part := os.pread(self._fd, 1 << 30, at):
                parts.append(part)
                at += len(part)
        except OSError as error:
            raise SparsenetIOError(f"cannot read '{self.path}': {error.strerror}") from None
        try:
            graph, digest = _core.load_bytes_with_digest(parts[0] if len(parts) == 1 else b"".join(parts))
        except FileFormatError:
            digest = ""
        if digest != self.digest:
            raise InvalidArgumentError(
                f"'{self.path}' was written over since this engine was compiled from it; compile it again"
            )
        return Graph(graph)
