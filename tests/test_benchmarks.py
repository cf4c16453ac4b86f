"""The benchmarks' own promises: peers agree with us, what is missing is said, names and numbers are stable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import sparsenet as sn
from benchmarks import machine, readme_table, row, spmm
from benchmarks import peers as libraries
from benchmarks.cases import Case, CaseError, build
from benchmarks.target_table import Target, table
from sparsenet import peers
from sparsenet.cli import main
from sparsenet.cli.breakeven import answer, break_even
from sparsenet.cli.zeros import with_zeros
from sparsenet.timing import Timing, interleave

ROOT = Path(__file__).parent.parent
CASE = Case("lenet5", zeros=80)


@pytest.fixture(scope="module")
def network() -> peers.Network:
    graph, x = build(Case("lenet5", zeros=80, batch=3))
    return peers.Network(graph, [x], [sn.compile(graph, tune=False)(x)])


@pytest.mark.parametrize("name", peers.NAMES)
def test_a_peer_computes_what_we_do(name: str, network: peers.Network) -> None:
    why = peers.missing(name)
    if why is not None:
        pytest.skip(why)
    [y] = peers.prepare(name, network, threads=1)()
    np.testing.assert_allclose(y.reshape(3, 10), network.expected[0], atol=1e-4)


def test_a_peer_that_computes_something_else_is_refused(network: peers.Network) -> None:
    wrong = peers.Network(network.graph, network.inputs, [1.01 * network.expected[0]])
    with pytest.raises(peers.PeerError, match="computes something else: off by"):
        peers.prepare("torch", wrong, threads=1)


def test_missing_and_failing_peers_say_why(network: peers.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install onnxruntime" in (peers.missing("onnxruntime") or "")
    with pytest.raises(peers.PeerError, match="not installed"):
        peers.prepare("onnxruntime", network, threads=1)
    graph, x = build(Case("conv1d"))
    if peers.missing("ncnn") is None:
        with pytest.raises(peers.PeerError, match="1-D convolutions"):
            peers.prepare("ncnn", peers.Network(graph, [x]), threads=1)
    with pytest.raises(peers.PeerError, match="no peer 'jax'"):
        peers.missing("jax")


# Stands in for a peer: its answers are right, and its process ends itself at the call of the given number.
DYING = """
import os, signal, numpy, sparsenet

class SessionOptions:
    def add_session_config_entry(self, *a): pass

class InferenceSession:
    left = {calls}
    def __init__(self, onnx, *a, **k):
        self.engine = sparsenet.compile(sparsenet.from_onnx(onnx), tune=False)
    def get_inputs(self): return self.engine.inputs
    def run(self, names, feed):
        self.left -= 1
        if self.left == 0: os.kill(os.getpid(), signal.SIGSEGV)
        return [self.engine(*feed.values())]
"""


@pytest.mark.parametrize(
    ("calls", "when"), [(None, "prepared"), (2, "timed"), (200, "timed")]
)
def test_a_peer_that_crashes_is_told_and_skipped(
    calls: int | None,
    when: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    network: peers.Network,
) -> None:
    """It would have taken the whole of `sparsenet bench` with it; those that are well lose nothing."""
    why = f"crashed ({'SIGABRT' if calls is None else 'SIGSEGV'}) while {when}"
    code = "import os; os.abort()" if calls is None else DYING.format(calls=calls)
    (tmp_path / "onnxruntime.py").write_text(code)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])  # the child's as well
    network.graph.save(tmp_path / "net.snet")
    command = ["bench", str(tmp_path / "net.snet"), "--engines", "onnxruntime,torch", "--no-tune"]
    assert main([*command, "--seconds", "0.5", "--json", "--sparsity", "0.5,0.9"]) == 0
    told = json.loads(capsys.readouterr().out)
    for measured in told["sweep"]:
        assert measured["missing"] == {"onnxruntime": why}
        assert set(measured["results"]) == {"sparsenet", "torch"}
    assert told["answer"]


@pytest.mark.parametrize("name", libraries.NAMES)
def test_a_matrix_library_multiplies(name: str) -> None:
    why = libraries.missing(name)
    if why is not None:
        pytest.skip(why)
    weight, x = spmm.problem((8, 20, 49), 0.7)
    got = libraries.prepare(name, weight, x, 1)()
    np.testing.assert_allclose(got, weight @ x, atol=1e-5)
    with pytest.raises(peers.PeerError, match="computes something else"):
        libraries.check(got * np.float32(1.001), weight, x)


def test_cases_have_the_zeros_they_say() -> None:
    for pattern, network, zeros in (("unstructured", "lenet300_100", 90), ("erk", "lenet5", 80), ("4x1", "lenet5", 50)):
        graph, x = build(Case(network, pattern, zeros))
        weights = [w for w in map(graph.constant, graph.values) if w is not None and w.ndim > 1]
        share = sum(int((w == 0).sum()) for w in weights) / sum(w.size for w in weights)
        assert share == pytest.approx(zeros / 100, abs=0.02)
        assert len(x) == 1
    small, _ = build(Case("lenet5", "filters", 50))
    small.run_passes()
    assert all(np.count_nonzero(w) == w.size for w in map(small.constant, small.values) if w is not None and w.ndim > 1)
    with pytest.raises(CaseError, match="no network"):
        build(Case("lenet6"))
    with pytest.raises(CaseError, match="trained weights"):
        build(Case("lenet5", "magnitude", 50))


def test_names_of_rows_are_unique_and_stable() -> None:
    names = [target.name for target in table()]
    assert len(set(names)) == len(names)
    known = {"peers-resnet50-unstructured-90", "batch-vgg16-unstructured-90-b8", "threads-vgg16-unstructured-0-t2"}
    assert known <= set(names)
    assert Target("peers", CASE, 2.0).passes(2.0)
    assert not Target("load", CASE, 1.2, at_most=True).passes(1.3)


def test_a_row_is_measured_in_its_own_process_and_a_crash_costs_one_peer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target("peers", CASE)
    told = row.measure(target, ["torch"], seconds=0.1)
    assert told["best"] == "torch"
    assert told["value"] == told["ratios"]["torch"] > 0
    assert min(told["fma_peak"]) > 0
    assert told["missing"] == {}
    told = row.measure(Target("peers", Case("lenet6")), [], seconds=0.1)
    assert "no network 'lenet6'" in told["error"]
    (tmp_path / "ncnn.py").write_text("import os; os.abort()")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    told = row.measure(target, ["torch", "ncnn"], 0.1)
    assert told["missing"] == {"ncnn": "crashed (SIGABRT) while prepared"}
    assert told["best"] == "torch"
    (tmp_path / "torch.py").write_text("import os; os.abort()")
    assert row.measure(target, ["ncnn"], 0.1) == {"error": "a process: crashed (SIGABRT) while started", "missing": {}}


def test_targets_resume_and_make_the_readmes_table(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "targets.json"
    command = [sys.executable, "-m", "benchmarks.targets", "--networks", "lenet5", "--sparsity", "90", "--engines"]
    command += ["torch", "--seconds", "0.1", "--json", str(file)]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "peers-lenet5-unstructured-90: " in first
    told = json.loads(file.read_text())
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "peers-lenet5-unstructured-90: " not in again
    assert json.loads(file.read_text())["rows"] == told["rows"]
    lines = readme_table.markdown(told).splitlines()
    assert lines[-1].startswith("| lenet5 | 90 % random | ")
    assert "(torch) |" in lines[-1]
    half = {"rows": {name: {**row, "isa": "less", "value": 0.5} for name, row in told["rows"].items()}}
    half["cpu"] = told["cpu"]
    assert readme_table.markdown(told, half).splitlines()[-1] == lines[-1] + " **0.50x** |"
    known = {"cpu": "X", "rows": {"peers-vgg16-unstructured-90": {"isa": "a", "value": 2.9}, "x": {"isa": "a"}}}
    short = {"cpu": "X", "rows": {"peers-vgg16-unstructured-90": {"isa": "b", "value": 2.7, "fma_peak": [9.0, 6.9]}}}
    short["rows"]["x"] = {"fma_peak": [10.0, 10.0]}
    targets = readme_table.targets_markdown(known, short)
    assert "a: 1 of 1 measured ones are met; b: 0 of 1" in targets
    assert "| `peers-vgg16-unstructured-90` | 2.8 | 4 | 2.90 | **2.70**† |" in targets
    short["cpu"] = "Y(R) Processor"
    assert "X, a: 1 of 1 measured ones are met; Y, b: 0 of 1" in readme_table.targets_markdown(known, short)


def test_rows_wait_for_a_core_at_full_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = [50.0, 60.0, 95.0, 40.0]
    monkeypatch.setattr(machine, "fma_peak", lambda: peaks.pop(0))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert machine.settle(100.0, patience=60) == 95.0
    assert machine.settle(100.0, patience=0) == 40.0


def test_break_even_is_where_the_ratio_stays_above_one() -> None:
    assert break_even([(0.0, 0.5), (0.5, 2.0), (0.9, 4.0)]) == pytest.approx(0.25)
    assert break_even([(0.0, 1.1), (0.5, 0.5), (0.9, 2.0)]) == pytest.approx(0.7)
    assert break_even([(0.0, 0.5), (0.9, 0.9)]) is None
    assert "not worth it up to 90 % zeros: x is 2.00x faster" in answer([(0.0, 0.4), (0.9, 0.5)], "x")
    assert "from about 25 % zeros on" in answer([(0.0, 0.5), (0.5, 2.0)], "x")


def test_zeros_in_a_graph_are_the_smallest_weights_but_the_stems() -> None:
    graph, _ = build(Case("mobilenet_v1"))
    sparse = with_zeros(graph, 0.9)
    assert [name for name, _ in sparse.outputs] == [name for name, _ in graph.outputs]
    for node in graph.nodes:
        if node.op not in ("Conv", "Linear"):
            continue
        before, after = graph.constant(node.inputs[1]), sparse.constant(node.inputs[1])
        kept = after != 0
        assert np.array_equal(after[kept], before[kept])
        if node.attrs.get("groups", 1) > 1 or before.shape[1] == 3:
            assert kept.all()
        else:
            assert 1 - kept.mean() == pytest.approx(0.9, abs=1e-3)
            assert np.abs(before[~kept]).max() <= np.abs(before[kept]).min()


def test_ratios_are_paired_by_round() -> None:
    slow = Timing((2.0, 4.0, 40.0), (2.0, 4.0, 40.0))
    fast = Timing((1.0, 2.0, 20.0), (1.0, 2.0, 20.0))
    assert slow.over(fast) == 2
    counted = []
    timings = interleave({"a": lambda: counted.append("a"), "b": lambda: counted.append("b")}, 0.0, min_rounds=4)
    assert len(timings["a"].turns) == len(timings["b"].turns) == 4
    assert counted[-1] == "a"  # the order turns


SUITES = [sys.executable, "-m", "pytest", "benchmarks/", "--benchmark-only", "-q", "-p", "no:cacheprovider"]
SUITES += ["--networks", "lenet5", "--sparsity", "80", "--turns", "0.1", "--benchmark-max-time", "0.05"]


def test_the_pytest_suites_run_save_and_compare(tmp_path: Path) -> None:
    pytest.importorskip("pytest_benchmark")
    command = [*SUITES, "--engines", "sparsenet,torch", "--shapes", "1", "--libraries", "sparsenet,blas"]
    command += [f"--benchmark-storage=file://{tmp_path}", "--benchmark-save=one"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [saved] = tmp_path.rglob("*_one.json")
    told = {bench["name"]: bench for bench in json.loads(saved.read_text())["benchmarks"]}
    assert set(told) == {
        "test_latency[lenet5-unstructured-80-t1-sparsenet]",
        "test_latency[lenet5-unstructured-80-t1-torch]",
        "test_in_turn[lenet5-unstructured-80-t1]",
        "test_spmm[64x256x3136-80-sparsenet]",
        "test_spmm[64x256x3136-80-blas]",
    }
    in_turn = told["test_in_turn[lenet5-unstructured-80-t1]"]
    assert in_turn["extra_info"]["ratios"]["torch"] > 0
    assert in_turn["group"] == "lenet5, 80 % zeros, unstructured, in turn"
    compared = subprocess.run([*command, "--benchmark-compare"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert "0001_one" in compared.stdout


def test_a_peer_that_crashes_in_a_timed_part_is_a_skipped_test(tmp_path: Path) -> None:
    pytest.importorskip("pytest_benchmark")
    (tmp_path / "onnxruntime.py").write_text(DYING.format(calls=20))
    command = [*SUITES, "-rs", "-k", "networks", "--engines", "sparsenet,onnxruntime,torch"]
    command += ["--benchmark-json", str(tmp_path / "told.json")]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed, 1 skipped" in done.stdout
    assert "onnxruntime: crashed (SIGSEGV) while timed" in done.stdout
    told = json.loads((tmp_path / "told.json").read_text())["benchmarks"]
    [in_turn] = [bench["extra_info"] for bench in told if bench["name"] == "test_in_turn[lenet5-unstructured-80-t1]"]
    assert in_turn["missing"] == {"onnxruntime": "crashed (SIGSEGV) while timed"}
    assert set(in_turn["results"]) == {"sparsenet", "torch"}
