"""The report's one JSON file: what was asked for, where, with what, and a record for each run; saved after each."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from sparsenet.atomic import write_text
from sparsenet.errors import InvalidArgumentError

FORMAT = 1
FILE = "report.json"


class Store:
    """``content`` is the JSON; ``records`` its runs by key, in the order they were made."""

    def __init__(self, folder: Path, settings: dict[str, Any], fresh: bool = False) -> None:
        """Continues what the folder holds.

        Raises InvalidArgumentError if that was made under other settings or cannot be read, unless ``fresh``.
        """
        self.path = folder / FILE
        self.content: dict[str, Any] = {"format": FORMAT, "settings": settings, "records": {}}
        if fresh or not self.path.exists():
            return
        stored = read(folder)
        differing = sorted(
            key for key in {*stored["settings"], *settings} if stored["settings"].get(key) != settings.get(key)
        )
        if differing:
            told = ", ".join(f"{k} was {stored['settings'].get(k)!r}, is {settings.get(k)!r}" for k in differing)
            raise InvalidArgumentError(f"{self.path} was made under other settings ({told}): choose another folder")
        self.content = stored

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.content["records"]
        return found

    def save(self) -> None:
        """Writes everything; the old file stays until the new one is complete."""
        write_text(self.path, json.dumps(finite(self.content), indent=1))


def snet_file(key: str) -> str:
    """The name of a run's network in the folder, by the run's key."""
    return f"{key.replace(' ', '-').replace('+', '-')}.snet"


def read(folder: Path) -> dict[str, Any]:
    """The content of a folder's report; raises InvalidArgumentError."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InvalidArgumentError(f"{path}: not a report of format {FORMAT}")
    return content


def finite(value: Any) -> Any:
    """Infinities and NaN, which JSON lacks, as None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
