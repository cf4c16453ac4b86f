"""The page: one HTML file with everything in it, plots, tables and the JSON; nothing is fetched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sparsenet.report import devices
from sparsenet.report.analysis import DENSE, OURS, Point, answer, points
from sparsenet.report.figures import Figure
from sparsenet.report.store import finite
from sparsenet.report.tables import Table, calls, engines, equal, failures, milliseconds, runs

_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c1c1c; --soft: #666; --line: #ddd; --rule: #999;
  --bar: #b9d4e8; --told: #f4f8fb; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #17191c; --ink: #e4e4e4; --soft: #a2a2a2; --line: #3a3d41; --rule: #777; --bar: #2f6690;
    --told: #1f262d; }
  figure svg { filter: invert(0.9) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 75rem; padding: min(1.5rem, 4vw); background: var(--paper); color: var(--ink);
  font: 15px/1.5 "DejaVu Sans", Verdana, Arial, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
.sub, .note, figcaption { color: var(--soft); font-size: .85rem; }
.answer { border-left: 4px solid #0072b2; padding: .3rem 1rem; background: var(--told); max-width: 60rem; }
.answer p { margin: .5rem 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1.5rem; }
figure { margin: 0; } figure svg { width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; } .wide svg { min-width: 44rem; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .5rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { border-bottom: 2px solid var(--rule); font-weight: 600; vertical-align: bottom; white-space: normal;
  min-width: 4.6em; }
th.text, td.text { text-align: left; } td.wrap { white-space: normal; min-width: 18rem; max-width: 40rem; }
tbody tr:hover { background: var(--told); }
details { margin: .3rem 0; border: 1px solid var(--line); border-radius: 4px; padding: .3rem .8rem; }
summary { cursor: pointer; }
.bar { min-width: 9rem; } .bar span { display: inline-block; height: .7em; background: var(--bar); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .85rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
"""


def all_tables(content: Mapping[str, Any], loss: float) -> list[Table]:
    """Those that have rows, in their order on the page."""
    found = points(content)
    tables = [equal(found, loss), runs(content, found), engines(content, found), calls(content, found)]
    tables += [*devices.tables(content), failures(content)]
    return [table for table in tables if table.rows]


def page(content: Mapping[str, Any], loss: float, drawn: Sequence[Figure]) -> str:
    """The whole document; ``loss`` is how much accuracy counts as equal, ``drawn`` what `figures` returns."""
    settings, found = content["settings"], points(content)
    name = escape(str(settings["name"]))
    answers = "".join(f"<p>{escape(sentence)}</p>" for sentence in answer(content, loss))
    done, count = len([r for r in content["records"].values() if "engines" in r]), len(content["records"])
    threads, batch = settings["threads"], settings["batch"]
    how = f"{content['machine']['cpu']}, {threads} thread{'s' * (threads > 1)}, batch {batch}; "
    how += f"{done} of {count} runs measured"
    parts = [
        f"<h1>What pruning buys: {name}</h1>",
        f'<p class="sub">{escape(content.get("note", ""))}<br>{escape(how)}</p>',
        f'<div class="answer">{answers}</div>',
    ]
    *small, wide = [_figure(figure) for figure in drawn] or [""]
    parts += [f'<div class="plots">{"".join(small)}</div>', f'<div class="wide">{wide}</div>']
    parts += [_table(table) for table in all_tables(content, loss)]
    if found:
        parts.append("<h2>Layer by layer</h2>")
        parts += [_layers(point) for point in found]
    parts.append(_conditions(content))
    data = json.dumps(finite(dict(content))).replace("</", "<\\/")
    parts.append(f'<script type="application/json" id="report">{data}</script>')
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}: what pruning buys</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n<body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _figure(figure: Figure) -> str:
    return (
        f'<figure><h2>{escape(figure.title)}</h2><div class="scroll">{figure.svg}</div>'
        f"<figcaption>{escape(figure.caption)}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    text = [name.startswith("<") for name in table.columns]
    head = "".join(_cell("th", name.removeprefix("<"), left) for name, left in zip(table.columns, text, strict=True))
    rows = "".join(
        f"<tr>{''.join(_cell('td', cell, left) for cell, left in zip(row, text, strict=True))}</tr>"
        for row in table.rows
    )
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    shown = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}'
    if table.folded:
        return f"<details><summary>{escape(table.title)}</summary>{shown}</details>"
    return f"<h2>{escape(table.title)}</h2>{shown}"


def _cell(tag: str, value: str, left: bool) -> str:
    kinds = ["text"] * left + ["wrap"] * (left and len(value) > 60)
    return f'<{tag} class="{" ".join(kinds)}">{escape(value)}</{tag}>' if kinds else f"<{tag}>{escape(value)}</{tag}>"


def _layers(point: Point) -> str:
    """Every step of a run, folded away: time as a bar, density, rate, kernel, why."""
    rows, longest = [], max((row["ms"] for row in point.record["layers"]), default=0) or 1
    for row in point.record["layers"]:
        shape = "x".join(str(n) for n in row["shape"][1:])
        bar = f'<td class="bar text"><span style="width:{100 * row["ms"] / longest:.1f}%"></span></td>'
        cells = [_cell("td", value, left) for value, left in ((row["node"], True), (row["op"], True), (shape, True))]
        cells += [_cell("td", f"{row['density']:.1%}" if row["weights"] else "", False)]
        cells += [_cell("td", milliseconds(row["ms"]), False), bar]
        cells += [_cell("td", "" if row["gflops"] is None else f"{row['gflops']:.1f}", False)]
        cells += [_cell("td", row["kernel"], True), _cell("td", row["why"], True)]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    names = ("<step", "<op", "<output", "density", "ms", "<", "GFLOP/s", "<kernel", "<why")
    head = "".join(_cell("th", name.removeprefix("<"), name.startswith("<")) for name in names)
    summary = f"{point.key}: {len(rows)} steps, {milliseconds(point.record['engines'][OURS]['median_ms'])} ms"
    return (
        f'<details{" open" * (point.key == DENSE)}><summary>{escape(summary)}</summary><div class="scroll">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _conditions(content: Mapping[str, Any]) -> str:
    machine, settings = dict(content["machine"]), content["settings"]
    told = {**machine, **{f"{name} version": number for name, number in content["versions"].items()}}
    told |= {key: settings[key] for key in ("seed", "epochs", "learning_rate", "threads", "batch", "seconds")}
    told["commands"] = "; ".join(" ".join(command) for command in content["commands"])
    items = "".join(f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in told.items())
    return f"<h2>Measured on, with, by</h2><dl>{items}</dl>"
