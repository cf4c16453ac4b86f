"""Files that appear under their name only when complete."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sparsenet.errors import SparsenetIOError

__all__ = ["write_bytes", "write_text"]


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a temporary file beside ``path``, then renames it: readers see the old content or all of the new.

    Raises `SparsenetIOError` naming the path; nothing is left behind then.
    """
    target = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's files are private
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise SparsenetIOError(f"{target}: cannot be written: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """`write_bytes` of UTF-8."""
    write_bytes(path, text.encode())
