"""Renders a folder's report.json: report.html, one self-contained page; report.md and the figures it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsenet.atomic import write_text
from sparsenet.report.analysis import answer, points
from sparsenet.report.figures import Figure, figures
from sparsenet.report.page import all_tables, page
from sparsenet.report.store import read
from sparsenet.report.tables import markdown


def write(folder: Path, loss: float = 0.01) -> list[Path]:
    """The files written. ``loss`` is how much accuracy counts as equal: 0.01 is a point.

    Raises InvalidArgumentError if there is no report in the folder, SparsenetIOError if it cannot be written.
    """
    content = read(folder)
    drawn = figures(content, points(content), loss)
    files = {"report.html": page(content, loss, drawn), "report.md": text(content, loss, drawn)}
    files |= {f"{figure.name}.svg": figure.svg for figure in drawn}
    for name, told in files.items():
        write_text(folder / name, told)
    return [folder / name for name in files]


def text(content: Mapping[str, Any], loss: float, drawn: Sequence[Figure] = ()) -> str:
    """The Markdown: the answer, the figures, which are files beside it, and the tables."""
    settings, machine = content["settings"], content["machine"]
    head = f"{machine['cpu']}, {settings['threads']} thread(s), batch {settings['batch']}."
    parts = [f"## What pruning buys: {settings['name']}", head, *answer(content, loss)]
    parts += [f"![{figure.title}]({figure.name}.svg)\n\n{figure.caption}" for figure in drawn]
    return "\n\n".join([*parts, *(markdown(table) for table in all_tables(content, loss))]) + "\n"
