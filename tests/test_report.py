"""sparsenet report: continuing after an interruption, peers that fail or crash, the page, what it concludes."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from target_tools import board
from torch import nn

import sparsenet as sn
from sparsenet.errors import InvalidArgumentError, SparsenetError
from sparsenet.report import analysis, energy
from sparsenet.report import run as run_module
from sparsenet.report.figures import figures
from sparsenet.report.methods import METHODS
from sparsenet.report.page import page
from sparsenet.report.run import plan, run
from sparsenet.report.store import read
from sparsenet.report.study import Study
from sparsenet.report.write import text, write

torch.set_num_threads(1)


def small_study(**changed: Any) -> Study:
    """Two classes of noise that a small network tells apart, trained by the study itself."""
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(64) % 2
    x = torch.randn(64, 2, 8, 8, generator=rng) + y[:, None, None, None].float()

    def architecture() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(2, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2),
        )  # fmt: skip

    def train_dense(model: nn.Module) -> None:
        trained.append(model)
        from sparsenet import prune

        prune.finetune(model, [(x, y)], epochs=10, progress=False)

    trained: list[nn.Module] = []
    options: dict[str, Any] = {
        "name": "noise", "architecture": architecture, "example": x[:1], "train": [(x, y)], "test": [(x, y)],
        "methods": {"weights": (0.5, 0.9), "filters": (0.5,)}, "epochs": 2, "train_dense": train_dense,
    }  # fmt: skip
    study = Study(**{**options, **changed})
    object.__setattr__(study, "trained", trained)
    return study


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole report, beside onnxruntime."""
    folder = tmp_path_factory.mktemp("report")
    run(small_study(), folder, peers=["onnxruntime"], seconds=0.05, say=quiet)
    write(folder)
    return folder


def test_every_run_is_measured(finished: Path) -> None:
    content = read(finished)
    assert list(content["records"]) == ["dense", "weights 0.5", "weights 0.9", "filters 0.5"]
    for record in content["records"].values():
        assert "error" not in record
        assert set(record["engines"]) == {"sparsenet", "onnxruntime"}
        assert 0 < record["engines"]["sparsenet"]["p10_ms"] <= record["engines"]["sparsenet"]["median_ms"]
        assert record["gzip_bytes"] > 0
        assert record["memory"]["packed_bytes"] > 0
        assert record["layers"][0]["bytes"] > 0
    dense, half, most, filters = content["records"].values()
    assert dense["nonzeros"] == 2 * 16 * 9 + 16 * 16 * 9 + 16 * 2
    assert 0.3 < half["nonzeros"] / dense["nonzeros"] < 0.51  # half of the weights, and dead channels with them
    assert 0.02 < most["nonzeros"] / dense["nonzeros"] < 0.11
    assert most["flops"] < half["flops"] < dense["flops"] == dense["dense_flops"]
    assert max(most["dense_flops"], filters["dense_flops"]) < dense["dense_flops"]  # dead channels are gone
    assert dense["accuracy"] == 1.0
    assert content["machine"]["cpu"]
    assert content["versions"]["torch"] == torch.__version__.split("+")[0] or "+" in content["versions"]["torch"]
    assert content["settings"]["seed"] == 0


def test_the_stored_network_is_the_measured_one(finished: Path) -> None:
    """The .snet in the folder has the accuracy that the report tells."""
    study, record = small_study(), read(finished)["records"]["filters 0.5"]
    engine = sn.compile(finished / "filters-0.5.snet")
    assert run_module.accuracy(engine, study.test or []) == record["accuracy"]


def test_an_interrupted_report_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    real = run_module.measure

    def interrupted(snet: Path, *arguments: Any) -> Any:
        if snet.name == "weights-0.9.snet":
            raise KeyboardInterrupt
        return real(snet, *arguments)

    first, second = small_study(), small_study()
    monkeypatch.setattr(run_module, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(first, tmp_path, peers=[], seconds=0.02, say=said.append)
    before = read(tmp_path)["records"]
    assert list(before) == ["dense", "weights 0.5", "weights 0.9"]
    assert "engines" not in before["weights 0.9"]
    assert before["weights 0.9"]["accuracy"] is not None  # trained, and kept so
    monkeypatch.setattr(run_module, "measure", real)
    said.clear()
    run(second, tmp_path, peers=[], seconds=0.02, say=said.append)
    after = read(tmp_path)["records"]
    assert list(after) == ["dense", "weights 0.5", "weights 0.9", "filters 0.5"]
    assert after["weights 0.5"] == before["weights 0.5"]
    assert "[2/4] weights 0.5: done before" in said
    assert "[3/4] weights 0.9: pruning and training" not in said
    assert "[4/4] filters 0.5: pruning and training" in said
    assert second.trained == []  # type: ignore[attr-defined]  # the dense weights came from the folder
    assert len(read(tmp_path)["commands"]) == 2


def test_other_settings_do_not_mix(finished: Path) -> None:
    before = (finished / "report.json").read_bytes()
    with pytest.raises(InvalidArgumentError, match="seed was 0, is 1"):
        run(small_study(seed=1), finished, peers=["onnxruntime"], seconds=0.05, say=quiet)
    assert (finished / "report.json").read_bytes() == before


def test_a_method_that_fails_is_a_record(tmp_path: Path) -> None:
    study = small_study(methods={"nm": (0.4,), "weights": (0.5,)})
    records = run(study, tmp_path, peers=[], seconds=0.02, say=quiet).records
    assert "no n:m pattern" in records["nm 0.4"]["error"]
    assert "engines" in records["weights 0.5"]
    assert "no n:m pattern" in text(read(tmp_path), 0.01)


def test_a_run_that_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, real = small_study(methods={"weights": (0.5,)}), run_module.measure

    def fails(snet: Path, *arguments: Any) -> Any:
        if snet.name == "dense.snet":
            return real(snet, *arguments)
        raise KeyError("torn")  # not one that the code foresees

    monkeypatch.setattr(run_module, "measure", fails)
    records = run(study, tmp_path, peers=[], seconds=0.02, say=quiet).records
    assert records["weights 0.5"]["error"] == "KeyError: 'torn'"
    monkeypatch.setattr(run_module, "measure", real)
    again = run(study, tmp_path, peers=[], seconds=0.02, say=quiet).records["weights 0.5"]
    assert "error" not in again
    assert again["engines"]


def test_without_the_dense_network_there_is_no_report(tmp_path: Path) -> None:
    """Not 25 rows that say the same; and nothing is kept that a mended command would take for done."""
    study = small_study(test=[])
    with pytest.raises(SparsenetError, match=r"the dense network.*the test loader is empty"):
        run(study, tmp_path, peers=[], seconds=0.02, say=quiet)
    assert read(tmp_path)["records"] == {}


# What stands in for each of three peers, and what the report tells of it. They fail beside one that works.
FAILING = {
    "ncnn": ("import os; os.abort()", "crashed (SIGABRT) while prepared"),
    "openvino": ("raise RuntimeError('no licence')", "no licence"),
    "onnxruntime": (
        "class SessionOptions:\n add_session_config_entry = lambda self, *a: None\n"
        "class InferenceSession:\n"
        " def __init__(self, *a, **k): pass\n"
        " def get_inputs(self): return [type('I', (), {'name': 'x'})]\n"
        " def run(self, names, feed): return [feed['x'][:, 0, 0, :2] * 0 + 7]\n",
        "computes something else",
    ),
}


def test_peers_that_fail_are_told_and_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (code, _) in FAILING.items():
        (tmp_path / "fake" / name).mkdir(parents=True)
        (tmp_path / "fake" / name / "__init__.py").write_text(code)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "fake"), *sys.path])  # the child's as well
    study = small_study(methods={})  # the dense network alone: each crash costs a process
    records = run(study, tmp_path / "out", peers=[*FAILING, "torch"], seconds=0.05, say=quiet).records
    shown = text(read(tmp_path / "out"), 0.01)
    for name, (_, told) in FAILING.items():
        for record in records.values():
            assert told in record["absent"][name]
        assert told in shown
    for record in records.values():
        assert set(record["engines"]) == {"sparsenet", "torch"}


def test_accuracy_is_of_labels_that_fit() -> None:
    model = nn.Conv2d(2, 3, 1).eval()
    engine = sn.compile(sn.from_torch(model, (torch.zeros(1, 2, 4, 4),)), tune=False)
    x = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = model(x).argmax(1)  # a label a pixel
    assert run_module.accuracy(engine, [(x[:3], labels[:3]), (x[3:], labels[3:])]) == 1
    assert run_module.accuracy(engine, [(x, (labels + (torch.arange(4) < 1)) % 3)]) == 0.75
    for wrong in (labels[:, 0, 0], labels.float(), model(x).detach()):
        with pytest.raises(ValueError, match=r"expected integer labels of shape \[5, 4, 4\]"):
            run_module.accuracy(engine, [(x, wrong)])


def test_speed_only_without_data(tmp_path: Path) -> None:
    study = small_study(train=None, test=None, train_dense=None, methods={"weights": (0.9,)})
    records = run(study, tmp_path, peers=[], seconds=0.02, say=quiet).records
    assert records["weights 0.9"]["accuracy"] is None
    assert records["weights 0.9"]["losses"] == []
    assert "Speed only" in write(tmp_path)[0].read_text()


class _Page(HTMLParser):
    """What a page would fetch, and whether its tags match."""

    VOID = ("meta", "br", "link", "img", "path", "use", "rect", "line", "circle", "stop", "hr", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "action") and value and not value.startswith("#"):
                self.fetched.append(value)
            if name == "id" and value:
                self.ids.append(value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def drawn(content: dict[str, Any]) -> str:
    return page(content, 0.01, figures(content, analysis.points(content), 0.01))


def test_the_page_is_self_contained(finished: Path) -> None:
    text = (finished / "report.html").read_text()
    parsed = _Page(text)
    assert parsed.open == []
    assert parsed.fetched == []
    assert not re.search(r"@import|url\((?!#)", text)
    assert parsed.tags.count("svg") == 5
    assert len(parsed.ids) == len(set(parsed.ids))
    [data] = re.findall(r'<script type="application/json" id="report">(.*?)</script>', text, re.DOTALL)
    assert json.loads(data)["records"] == read(finished)["records"]


def test_the_answer_names_no_winner_where_nothing_wins(finished: Path) -> None:
    content = read(finished)
    content["records"] = {key: content["records"][key] for key in ("weights 0.9", "weights 0.5", "dense")}
    assert [point.key for point in analysis.points(content)] == ["dense", "weights 0.5", "weights 0.9"]
    for record in content["records"].values():
        record["accuracy"], record["speedup_over_dense"] = 0.9, record["ratio"]
        record["engines"] = {"sparsenet": {"median_ms": 1.0, "times_ours": 1.0}}
    assert "nothing is faster than the dense network in sparsenet; " in analysis.answer(content)[0]
    content["records"]["weights 0.5"]["speedup_over_dense"] = 3.0
    for record in content["records"].values():
        record["engines"]["torch"] = {"median_ms": 0.5, "times_ours": 0.5}
    told = analysis.answer(content)[0]
    assert " at 50% is fastest: 3.00 times as fast as the dense network in sparsenet, 1.50 times as fast as" in told
    assert told.endswith("smaller. torch runs that network 2.00 times as fast as sparsenet.")


def test_a_device_that_timed_the_runs_has_a_plot(finished: Path) -> None:
    content, told = read(finished), board()
    for of, name in zip(told["models"], ("dense", "weights 0.9", "filters 0.5"), strict=True):
        of["name"] = name
    content["devices"] = {"here": told}
    shown = drawn(content)
    assert _Page(shown).tags.count("svg") == 6
    assert "Accuracy against latency on ssh:board" in shown
    content["devices"] = {"here": board()}  # of other networks
    assert _Page(drawn(content)).tags.count("svg") == 5


def test_markdown_has_the_same_tables_and_figures(finished: Path) -> None:
    text = (finished / "report.md").read_text()
    shown = re.findall(r"^!\[.+\]\((.+\.svg)\)$", text, re.MULTILINE)
    assert len(shown) == 5
    for name in shown:
        assert ElementTree.parse(finished / name).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert "| weights 0.9 | onnxruntime |" in text  # p10, p99 and throughput of each engine
    for key in ("dense", "weights 0.9", "filters 0.5"):
        assert f"| {key} |" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_names_are_escaped(finished: Path, tmp_path: Path) -> None:
    content = read(finished)
    content["settings"]["name"] = "<script>alert(1)</script>"
    (tmp_path / "report.json").write_text(json.dumps(content))
    assert "<script>alert" not in write(tmp_path)[0].read_text().split("application/json")[0]


def fake(method: str, gone: float, overall: float, accuracy: float = 0.9, ms: float = 1.0) -> analysis.Point:
    record = {"snet_bytes": 100, "engines": {}}
    return analysis.Point(f"{method} {gone}", method, gone, accuracy, gone, ms, overall, overall, record)


def test_break_even() -> None:
    dense = fake("dense", 0, 0.5)
    line = [fake("weights", 0.4, 0.5), fake("weights", 0.8, 2.0)]
    assert analysis.break_even(line, dense) == pytest.approx(0.6)  # halfway in the logarithm
    assert analysis.break_even([fake("weights", 0.9, 0.9)], dense) is None
    assert analysis.break_even(line, fake("dense", 0, 1.0)) == pytest.approx(0.6)
    assert analysis.break_even([fake("weights", 0.5, 1.5)], fake("dense", 0, 1.0)) == 0
    relapse = [fake("weights", 0.2, 1.1), fake("weights", 0.5, 0.8), fake("weights", 0.9, 1.25)]
    assert 0.5 < (analysis.break_even(relapse, dense) or 0) < 0.9


def test_pareto_and_equal_accuracy() -> None:
    dense = fake("dense", 0, 1.0, 0.95, 4.0)
    a, b, c = (
        fake("weights", 0.5, 2.0, 0.95, 2.0),
        fake("weights", 0.9, 4.0, 0.93, 1.0),
        fake("filters", 0.5, 1.5, 0.90, 3.0),
    )
    assert analysis.pareto([dense, a, b, c]) == [b, a]
    assert analysis.at_equal_accuracy([dense, a, b, c], 0.01) == [a]
    assert analysis.at_equal_accuracy([dense, a, b, c], 0.06) == [b, c]


def test_energy_counter(tmp_path: Path) -> None:
    """A counter that wraps around, as RAPL's do; and none."""
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    (tmp_path / "intel-rapl:0:0").mkdir()  # a part of the package, not to be counted twice
    (package / "max_energy_range_uj").write_text("1000000\n")
    (package / "energy_uj").write_text("900000\n")

    def call() -> None:
        now = int((package / "energy_uj").read_text())
        (package / "energy_uj").write_text(str((now + 250_000) % 1_000_001))

    assert energy.joules_per_call(call, 0.0, tmp_path) == pytest.approx(0.25)
    with pytest.raises(energy.NoCounter, match="no RAPL counter"):
        energy.counters(tmp_path / "none")


def sparing_the_first(name: str = "weights") -> Study:
    """The study of one method, at its last ratio."""
    return small_study(methods={name: (METHODS[name].ratios[-1],)}, skip=("0",), epochs=1)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    """The trained network, and what the report tells of it."""
    study, folder = sparing_the_first(), tmp_path_factory.mktemp("dense")
    trained = run_module._Dense(study, folder, fresh=True)
    return trained, run_module.train(study, plan(study)[0], trained, folder / "d.snet")


@pytest.mark.parametrize("name", METHODS)
def test_methods_reach_their_share(name: str, tmp_path: Path, dense: tuple[Any, dict[str, Any]]) -> None:
    """Each method of the table, at its last ratio, on the compiled network."""
    study, (trained, whole), ratio = sparing_the_first(name), dense, METHODS[name].ratios[-1]
    told = run_module.train(study, plan(study)[1], trained, tmp_path / "m.snet")
    share = 1 - told["nonzeros"] / whole["nonzeros"]
    if METHODS[name].share_of == "filters":
        assert share > 0.5  # of weights, when 0.65 of one layer's filters go
    else:
        assert share == pytest.approx(ratio, abs=0.12)  # the first layer is skipped or biases count
