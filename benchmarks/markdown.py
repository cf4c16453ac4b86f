"""Tables that scripts write into Markdown pages, each between two marks of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sparsenet.atomic import write_text


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns whose names begin with "<" are text, the others numbers set right."""
    names = [name.removeprefix("<") for name in columns]
    rules = ["---" if name.startswith("<") else "---:" for name in columns]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (names, rules, *rows))


def put(page: Path, name: str, text: str) -> None:
    """Replaces what stands between `<!-- NAME begins -->` and `<!-- NAME ends -->`; ValueError if the marks do not."""
    begin, end = f"<!-- {name} begins -->", f"<!-- {name} ends -->"
    old = page.read_text(encoding="utf-8")
    if old.count(begin) != 1 or old.count(end) != 1:
        raise ValueError(f"{page}: expected {begin} and {end} once each")
    head, rest = old.split(begin)
    write_text(page, f"{head}{begin}\n{text.rstrip()}\n{end}{rest.split(end)[1]}")
