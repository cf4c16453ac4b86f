"""ONNX files on the command line: every command takes them, convert writes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_checks import model_of
from strategies import normal

import sparsenet as sn
from sparsenet import reference
from sparsenet.cli import main

node = helper.make_node


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: net.onnx, and open.onnx which leaves height and width open."""
    monkeypatch.chdir(tmp_path)
    w = normal(np.random.default_rng(0), 4, 3, 3, 3)
    w[np.abs(w) < 1] = 0
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["y"])]
    for name, size in (("net", [8, 8]), ("open", ["h", "w"])):
        onnx.save(model_of(nodes, {"x": ["N", 3, *size]}, ["y"], {"w": w}), tmp_path / f"{name}.onnx")
    return tmp_path


def test_convert_both_ways(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "net.onnx", "-o", "net.snet", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] == (folder / "net.snet").stat().st_size
    assert main(["convert", "net.snet", "-o", "back.onnx"]) == 0
    x = normal(np.random.default_rng(1), 2, 3, 8, 8)
    graph = sn.from_onnx("net.onnx")
    reference.assert_close(sn.compile("net.snet", tune=False)(x), graph, [x])
    reference.assert_close(sn.compile(sn.from_onnx("back.onnx"), tune=False)(x), graph, [x])
    assert main(["convert", "net.snet", "-o", "half.onnx", "--fp16"]) == 2
    assert not (folder / "half.onnx").exists()


def test_inspect_run_verify_bench(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "net.onnx", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [layer["op"] for layer in told["layers"]] == ["Conv", "Activation"]
    assert main(["run", "net.onnx", "-o", "y.npy", "--no-tune"]) == 0
    assert np.load("y.npy").shape == (1, 4, 6, 6)
    capsys.readouterr()
    for against in ("reference", "onnxruntime"):
        assert main(["verify", "net.onnx", "--against", against, "--json", "--no-tune"]) == 0
        assert json.loads(capsys.readouterr().out)["ok"]
    assert main(["bench", "net.onnx", "--seconds", "0.05", "--no-tune"]) == 0


def test_open_sizes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "open.onnx", "-o", "open.snet"]) == 1
    assert "symbolic" in capsys.readouterr().err
    assert main(["convert", "open.onnx", "-o", "open.snet", "--shape", "1,3,9,7"]) == 0
    assert sn.load("open.snet").inputs == [("x", (None, 3, 9, 7))]


def test_what_goes_wrong_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.onnx").write_bytes(b"not a model")
    odd = model_of([node("LSTM", ["x", "x", "x"], ["y"], name="odd")], {"x": ["N", 3]}, ["y"])
    onnx.save(odd, folder / "odd.onnx")
    for command, code, told in (
        (["inspect", "bad.onnx"], 1, "bad.onnx"),
        (["inspect", "absent.onnx"], 1, "no such file"),
        (["inspect", "odd.onnx"], 1, "LSTM x1"),
        (["inspect", "net.onnx", "--weights", "w.safetensors"], 2, "--weights"),
        (["verify", "odd.pt2", "--against", "onnxruntime"], 1, "no such file"),
    ):
        assert main(command) == code
        error = capsys.readouterr().err
        assert told in error
        assert len(error.strip().splitlines()) == 1
