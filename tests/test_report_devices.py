"""sparsenet report --device: what other machines measured, or were estimated to need, on the report's page."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from target_tools import BOARD, board, build_runner

import sparsenet as sn
from sparsenet.cli import main
from sparsenet.errors import InvalidArgumentError
from sparsenet.report import devices
from sparsenet.report.store import read
from sparsenet.targets import estimate as estimate_module
from sparsenet.targets.blocks import Counts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a report of a network that could not be measured here, and net.snet."""
    monkeypatch.chdir(tmp_path)
    settings = {"name": "n", "threads": 1, "batch": 1, "seed": 0, "epochs": 0, "learning_rate": 1.0, "seconds": 1.0}
    content = {"format": 1, "settings": settings | {"peers": []}, "records": {"dense": {"error": "no"}}}
    content |= {"machine": {"cpu": "one"}, "versions": {}, "commands": [], "note": ""}
    Path("out").mkdir()
    Path("out/report.json").write_text(json.dumps(content))
    graph = sn.Graph()
    w = graph.add_constant("w", np.random.default_rng(3).standard_normal((32, 64)).astype(np.float32))
    graph.set_outputs([graph.add_node("Linear", [graph.add_input("x", (None, 64)), w], {}, "y")])
    graph.save("net.snet")
    return tmp_path


def emulated(cycles: list[tuple[float, float, float]], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What bench prints of qemu:cortex-a55; the estimates are made of given cycles in L1 and misses of L1 and L2."""
    models = []
    for index, (pipeline, l1, l2) in enumerate(cycles):
        counts = Counts({("0000018b",): pipeline}, 1000.0, l1, l2)
        monkeypatch.setattr(estimate_module, "count", lambda *arguments, of=counts: of)
        monkeypatch.setattr(estimate_module, "cycles", lambda blocks, triple, cpu: [1.0] * len(blocks))
        told = estimate_module.estimate(["qemu"], Path("p.so"), estimate_module.CORES["cortex-a55"], ["run"])
        name = f"dir/net.snet at {(0, 50, 90)[index]}% zeros"
        models.append({"name": name, "bytes": 1, "worst": 0.1, "isa": "neon", "batch": 1, "estimate": told})
    changed = {"timed": False, "wrap": ["qemu-aarch64"], "warnings": [], "affinity": None, "threads": 1}
    return board(target="qemu:cortex-a55", models=models, **changed)


def rendered(*files: dict[str, Any]) -> str:
    """The Markdown of the report with these results added by the command line."""
    options = []
    for index, content in enumerate(files):
        Path(f"{index}.json").write_text(json.dumps(content))
        options += ["--device", f"{index}.json"]
    assert main(["report", "digits", "--render", "--out", "out", *options]) == 0
    return Path("out/report.md").read_text()


def rows(text: str, title: str) -> list[list[str]]:
    """Cells of the table under a heading, without its head."""
    part = text.split(f"### {title}")[1].split("\n### ")[0]
    return [[cell.strip() for cell in line[1:-1].split(" |")] for line in part.splitlines() if line[:1] == "|"][2:]


def test_a_device_has_its_conditions_and_its_times(folder: Path) -> None:
    text = rendered(board())
    [machine] = rows(text, "Other machines")
    assert machine[:5] == ["ssh:board", "net.snet", BOARD, "2x Cortex-A76 (CPU 2 to 3)", "ondemand"]
    assert machine[5:] == ["2000", "2000 → 1600", "40 → 61"]
    dense, half, most = rows(text, f"ssh:board: {BOARD}, neon, 2 threads, batch 1")
    assert dense == ["net.snet at 0% zeros", "1,234", "8.000", "6.300", "18.0", "7.000 to 9.000", "5,000", ""]
    assert half[-1] == "overlap: no ranking"
    assert most[-1] == "4.00"
    assert "Warnings: CPU 2: governor ondemand" in text


def test_estimates_are_called_so_and_ranked_only_where_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a Cortex-A55 a miss of L1 adds 0 to 10 cycles, one of L2 0 to 100.
    text = rendered(emulated([(50e3, 1e3, 100), (45e3, 1e3, 0), (20e3, 500, 10)], monkeypatch))
    label = "simulated estimate (qemu + llvm-mca), never timed"
    dense, half, most = rows(text, f"qemu:cortex-a55, neon, 1 thread, batch 1: {label}")
    assert (dense[2], half[2], most[2]) == ("50 to 70", "45 to 55", "20 to 26")
    assert (dense[-1], half[-1], most[-1]) == ("", "overlap: no ranking", "faster (estimate)")
    head = text.split(label)[1].splitlines()[2]
    assert "| k cycles (simulated estimate) |" in head
    assert not re.search(r"\bms\b", text.split("### qemu")[1].split("\n### ")[0])
    assert "### Other machines" not in text  # that table is of conditions of times
    assert f"{label}</h2>" in Path("out/report.html").read_text()


def test_cores_without_an_estimate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = emulated([(1e3, 1, 1)], monkeypatch)
    told["models"][0]["estimate"] = {"refused": "no estimate: unrealistic"}
    assert rows(rendered(told), "qemu:cortex-a55, neon, 1 thread, batch 1")[0][2] == "no estimate: unrealistic"
    del told["models"][0]["estimate"]
    assert rows(rendered(told), "qemu:cortex-a55, neon, 1 thread, batch 1")[0][2] == "outputs checked, never timed"


def test_results_stay_until_measured_again(folder: Path) -> None:
    rendered(board(), board(target="adb:R58M"))
    text = rendered(board(model="other.snet"), board(warnings=["it was hot"]))
    assert len(read(Path("out"))["devices"]) == 3
    assert len(rows(text, "Other machines")) == 3
    assert len(rows(text, f"ssh:board: {BOARD}, neon, 2 threads, batch 1")) == 6
    assert "governor ondemand: the frequency" in text.split("### adb:R58M")[1]
    assert main(["report", "digits", "--render", "--out", "out"]) == 0
    assert Path("out/report.md").read_text() == text


def test_names_from_files_are_escaped(folder: Path) -> None:
    rendered(board())
    shown = Path("out/report.html").read_text().split("application/json")[0]
    assert BOARD not in shown
    assert "Board &lt;i&gt;5" in shown


def test_other_files_are_refused_before_the_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    less = board()
    del less["models"][1]["p99_ms"]
    for text in ("{", "[]", "{}", '{"model": "x"}', json.dumps(less), json.dumps(board(models=[]))):
        Path("bad.json").write_text(text)
        with pytest.raises(InvalidArgumentError, match=r"bad.json: (not what|cannot be read)"):
            devices.read(Path("bad.json"))
    assert main(["report", "digits", "--out", "new", "--device", "bad.json"]) == 1
    assert not Path("new").exists()
    assert "bench MODEL --target" in capsys.readouterr().err


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_what_bench_prints_is_what_the_report_reads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runner = build_runner(folder)
    quick = ["--rounds", "2", "--cooldown", "0.01", "--seconds", "0.02", "--no-tune", "--json"]
    assert main(["bench", "net.snet", "--target", "local", "--runner", str(runner), "--sparsity", "0,0.9", *quick]) == 0
    told = json.loads(capsys.readouterr().out)
    text = rendered(told)
    [title] = re.findall(r"### (local: .*)", text)
    for row, of in zip(rows(text, title), told["models"], strict=True):
        assert row[0] == of["name"]
        assert float(row[2]) == pytest.approx(of["median_ms"], abs=6e-4)
        assert float(row[4]) == pytest.approx(of["p99_ms"], abs=6e-4 if of["p99_ms"] < 10 else 0.06)


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_bench_measures_all_runs_of_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = read(Path("out"))
    content["records"] = {"dense": {"error": "no"}, "weights 0.5": {"error": "no", "accuracy": 0.875}, "nm 0.5": {}}
    Path("out/report.json").write_text(json.dumps(content))
    runner = ["--runner", str(build_runner(folder)), "--target", "local"]
    quick = ["--rounds", "1", "--cooldown", "0.01", "--seconds", "0.01", "--no-tune", "--json"]
    assert main(["bench", "out", *runner, *quick]) == 1
    assert "out: this report has no networks" in capsys.readouterr().err
    for name in ("dense", "weights-0.5"):
        shutil.copy("net.snet", f"out/{name}.snet")
    assert main(["bench", "out", *runner, *quick]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [of["name"] for of in told["models"]] == ["dense", "weights 0.5"]
    text = rendered(told)
    [title] = re.findall(r"### (local: .*)", text)
    assert [row[:2] for row in rows(text, title)] == [["dense", ""], ["weights 0.5", "87.5 %"]]
    assert main(["bench", "out", *runner, *quick, "--sparsity", "0.5"]) == 2
