"""The page: one HTML file with everything in it, plots, tables and the JSON; nothing is fetched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sparsenet.report import devices, plots, plots_layers
from sparsenet.report.analysis import DENSE, OURS, Point, answer, at_equal_accuracy, fastest_dense_engine, points
from sparsenet.report.store import finite
from sparsenet.report.tables import Table, engines, equal, failures, milliseconds, runs

_STYLE = """
:root { color-scheme: light; --ink: #1c1c1c; --soft: #666; --line: #ddd; --bar: #b9d4e8; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 75rem; padding: 1.5rem; background: #fff; color: var(--ink);
  font: 15px/1.5 "DejaVu Sans", Verdana, Arial, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
.sub, .note, figcaption { color: var(--soft); font-size: .85rem; }
.answer { border-left: 4px solid #0072b2; padding: .3rem 1rem; background: #f4f8fb; max-width: 60rem; }
.answer p { margin: .5rem 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1.5rem; }
figure { margin: 0; } figure svg { width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { border-bottom: 2px solid #999; font-weight: 600; vertical-align: bottom; }
th.text, td.text { text-align: left; } td.wrap { white-space: normal; min-width: 18rem; max-width: 40rem; }
tbody tr:hover { background: #f6f6f6; }
details { margin: .3rem 0; border: 1px solid var(--line); border-radius: 4px; padding: .3rem .8rem; }
summary { cursor: pointer; }
.bar { min-width: 9rem; } .bar span { display: inline-block; height: .7em; background: var(--bar); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .85rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
"""


def all_tables(content: Mapping[str, Any], loss: float) -> list[Table]:
    """Those that have rows, in their order on the page."""
    found = points(content)
    tables = [equal(found, loss), runs(content, found), engines(content, found)]
    tables += [*devices.tables(content), failures(content)]
    return [table for table in tables if table.rows]


def page(content: Mapping[str, Any], loss: float = 0.01) -> str:
    """The whole document; ``loss`` is how much accuracy counts as equal."""
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
    if found:
        parts.append(_plots(content, found, loss))
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


def _plots(content: Mapping[str, Any], found: Sequence[Point], loss: float) -> str:
    engine = fastest_dense_engine(content)
    figures = []
    if len(found) > 1:
        told = "Above 1x pruning pays. Diamonds on the line: break-even, between the measured points."
        figures.append(_figure("Speed-up against sparsity", plots.speedup(found, engine), told))
    if found[0].accuracy is not None and len(found) > 1:
        told = "Up and to the left is better. Accuracy is that of the compiled network on the test data."
        label = "ms a call in sparsenet: dense median over speed-up"
        svg = plots.accuracy_against(found, lambda p: p.ms, "accuracy-latency", label)
        figures.append(_figure("Accuracy against latency", svg, told))
        svg = plots.accuracy_against(found, lambda p: p.record["snet_bytes"] / 1e3, "accuracy-size", "kB of the .snet")
        figures.append(_figure("Accuracy against file size", svg, "Up and to the left is better."))
        for number, (target, how, runs) in enumerate(devices.measured_elsewhere(content, found)):
            svg = plots.accuracy_against(runs, lambda p: p.ms, f"device-{number}", "ms a call, median of the rounds")
            told = f"{how}. Up and to the left is better."
            figures.append(_figure(f"Accuracy against latency on {target}", svg, told))
    chosen = shown_in_detail(found, loss)
    told = (
        "A mark a step, as large as its share of the time. Below the roof: what the kernels leave. Above its slope: "
        "data that stays in the caches."
    )
    figures.append(_figure("Roofline", plots_layers.roofline(chosen, content["settings"]["threads"]), told))
    told = f"The slowest steps with weights of {' and '.join(point.key for point in chosen)}."
    bars = _figure("Layers", plots_layers.bars(chosen), told)
    return f'<div class="plots">{"".join(figures)}</div>{bars}'


def shown_in_detail(found: Sequence[Point], loss: float) -> list[Point]:
    """The dense run, and the fastest that is as accurate, or the fastest of all."""
    equal = at_equal_accuracy(found, loss)
    pruned = equal or sorted(found[1:], key=lambda point: -point.speedup)
    return [found[0], *pruned[:1]]


def _figure(title: str, svg: str, caption: str) -> str:
    return f"<figure><h2>{escape(title)}</h2>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(table: Table) -> str:
    text = [name.startswith("<") for name in table.columns]
    head = "".join(_cell("th", name.removeprefix("<"), left) for name, left in zip(table.columns, text, strict=True))
    rows = "".join(
        f"<tr>{''.join(_cell('td', cell, left) for cell, left in zip(row, text, strict=True))}</tr>"
        for row in table.rows
    )
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<h2>{escape(table.title)}</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{note}"
    )


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
