"""Renders a folder's report.json: report.html, one self-contained page, and report.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparsenet.atomic import write_text
from sparsenet.report.analysis import answer
from sparsenet.report.page import all_tables, page
from sparsenet.report.store import read
from sparsenet.report.tables import markdown


def write(folder: Path, loss: float = 0.01) -> list[Path]:
    """The files written. ``loss`` is how much accuracy counts as equal: 0.01 is a point.

    Raises InvalidArgumentError if there is no report in the folder, SparsenetIOError if it cannot be written.
    """
    content = read(folder)
    files = {folder / "report.html": page(content, loss), folder / "report.md": text(content, loss)}
    for path, told in files.items():
        write_text(path, told)
    return list(files)


def text(content: Mapping[str, Any], loss: float) -> str:
    """The Markdown: the answer and the tables."""
    settings, machine = content["settings"], content["machine"]
    head = f"{machine['cpu']}, {settings['threads']} thread(s), batch {settings['batch']}."
    parts = [f"## What pruning buys: {settings['name']}", head, *answer(content, loss)]
    return "\n\n".join([*parts, *(markdown(table) for table in all_tables(content, loss))]) + "\n"
