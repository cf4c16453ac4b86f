"""The command line: what each command does, and that bad input ends in one line, an exit code and no file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import sparsenet as sn
from sparsenet import prune, reference
from sparsenet.cli import main

torch.set_num_threads(1)

NETWORKS = '''
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(16, 10))

class Odd(nn.Module):
    def forward(self, x):
        return torch.cumsum(x, 1)

class Broken:
    def __init__(self):
        raise ValueError("no such variant")

number = 3
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: holds networks.py (as a fresh module), pruned weights and a .snet file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "networks", raising=False)
    (tmp_path / "networks.py").write_text(NETWORKS)
    graph = tiny_graph()
    graph.save(tmp_path / "tiny.snet")
    return tmp_path


def tiny_graph() -> sn.Graph:
    rng = np.random.default_rng(0)
    graph = sn.Graph()
    x = graph.add_input("x", (None, 3, 9, 9))
    weight = rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    weight[rng.random(weight.shape) < 0.7] = 0
    w = graph.add_constant("w", weight)
    conv = {"stride": [2, 2], "padding": [1, 1, 1, 1], "dilation": [1, 1]}
    y = graph.add_node("Conv", [x, w], conv, "conv")
    y = graph.add_node("Activation", [y], {"act": "relu"}, "relu")
    y = graph.add_node("Reshape", [y], {"shape": [0, -1]}, "flat")
    v = graph.add_constant("v", rng.standard_normal((5, 200)).astype(np.float32))
    graph.set_outputs([graph.add_node("Linear", [y, v], {}, "y")])
    return graph


def pruned() -> nn.Module:
    namespace: dict[str, Any] = {}
    exec(NETWORKS, namespace)
    return prune.magnitude(namespace["net"]().eval(), 0.8)


def ok(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    """Runs a command with --json, expects success and a silent stderr; returns what it printed."""
    code = main([*argv, "--json"])
    captured = capsys.readouterr()
    assert captured.err == ""
    assert code == 0
    return json.loads(captured.out)


def fails(capsys: pytest.CaptureFixture[str], code: int, *argv: str) -> str:
    """Runs a command, expects its exit code, one line on stderr and nothing on stdout; returns the line."""
    assert main(argv) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("sparsenet")
    assert "Traceback" not in captured.err
    return captured.err


def test_convert_a_factory_with_masked_safetensors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = pruned()
    save_file(model.state_dict(), folder / "w.safetensors")
    told = ok(capsys, "convert", "networks:net", "--weights", "w.safetensors", "--shape", "1,3,12,12", "-o", "m.snet")
    assert told["bytes"] == (folder / "m.snet").stat().st_size
    assert told["imported"]["nonzeros"] < 0.5 * told["imported"]["parameters"]
    x = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    graph = sn.load("m.snet")
    with torch.no_grad():
        truth = model.double()(x.double()).numpy()
    assert reference.worst(sn.compile(graph)(x.numpy()), truth, next(iter(reference.bound(graph, [x]).values()))) < 1


def test_convert_a_program(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = torch.export.export(prune.bake(pruned()), (torch.zeros(2, 3, 12, 12),))
    torch.export.save(program, folder / "m.pt2")
    plain = ok(capsys, "convert", "m.pt2", "-o", "a.snet")
    half = ok(capsys, "convert", "m.pt2", "-o", "b.snet", "--fp16")
    kept = ok(capsys, "convert", "m.pt2", "-o", "c.snet", "--no-passes")
    assert half["bytes"] < plain["bytes"]
    assert plain["written"]["nodes"] < kept["written"]["nodes"] == kept["imported"]["nodes"]


def test_a_pickle_needs_a_word(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": pruned().state_dict()}, folder / "w.pt")
    argv = ("convert", "networks:net", "--weights", "w.pt", "--shape", "1,3,12,12", "-o", "m.snet")
    assert "--allow-pickle" in fails(capsys, 2, *argv)
    assert not (folder / "m.snet").exists()
    ok(capsys, *argv, "--allow-pickle")
    torch.save({"evil": Path()}, folder / "w.pt")
    assert "weights_only" in fails(capsys, 1, *argv, "--allow-pickle")


def test_torch_prune_masks_are_baked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from torch.nn.utils import prune as torch_prune

    model = prune.bake(pruned())
    torch_prune.l1_unstructured(model[5], "weight", amount=0.95)
    save_file(model.state_dict(), folder / "w.safetensors")
    told = ok(
        capsys, "convert", "networks:net", "--weights", "w.safetensors", "--shape", "1,3,12,12", "-o", "m.snet",
        "--no-passes",
    )  # fmt: skip
    layers = ok(capsys, "inspect", "m.snet")["layers"]
    assert layers[-1]["nonzeros"] == 8 + 10  # 5 % of 160, and the biases
    assert told["written"]["parameters"] == told["imported"]["parameters"]


def test_inspect(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ok(capsys, "inspect", "tiny.snet")
    assert [layer["op"] for layer in told["layers"]] == ["Conv", "Activation", "Reshape", "Linear"]
    conv = told["layers"][0]
    weight = tiny_graph().constant("w")
    assert (conv["weights"], conv["nonzeros"], conv["bytes"]) == (216, int(np.count_nonzero(weight)), 864)
    assert conv["shape"] == [None, 8, 5, 5]
    assert told["file_bytes"] == (folder / "tiny.snet").stat().st_size
    assert told["totals"]["parameters"] == 216 + 1000
    fused = {effect["pass"]: effect for effect in told["passes"]}["fuse_activation"]
    assert fused["after"]["nodes"] == fused["before"]["nodes"] - 1
    after = ok(capsys, "inspect", "tiny.snet", "--after-passes")
    assert [layer["op"] for layer in after["layers"]] == ["Conv", "Reshape", "Linear"]


def test_tables_are_printed_without_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["inspect"], ["run"], ["bench", "--seconds", "0.05", "--layers"], ["verify", "--layers"]):
        assert main([argv[0], "tiny.snet", *argv[1:]]) == 0
        captured = capsys.readouterr()
        assert "tiny.snet" in captured.out or argv == ["run"]
        assert "conv" in captured.out or argv == ["run"]
        assert captured.err == ""


def test_run_files_in_and_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(3).standard_normal((4, 3, 9, 9)).astype(np.float32)
    np.save("x.npy", x)
    np.savez("x.npz", x=x.astype(np.float64))
    told = ok(capsys, "run", "tiny.snet", "--input", "x.npy", "-o", "y.npy")
    expected = sn.compile(tiny_graph())(x)
    y = np.load("y.npy")
    assert y.dtype == np.float32
    assert told["outputs"][0]["argmax"] == expected.argmax(1).tolist()
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-4)
    ok(capsys, "run", "tiny.snet", "--input", "x.npz", "-o", "y.npz", "--no-tune")
    np.testing.assert_allclose(np.load("y.npz")["y"], expected, rtol=0, atol=1e-4)
    assert sorted(p.name for p in folder.iterdir() if p.name.startswith((".", "y"))) == ["y.npy", "y.npz"]


def test_random_inputs_are_seeded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("run", "tiny.snet", "--batch", "3", "--no-tune")
    first, again = ok(capsys, *argv), ok(capsys, *argv)
    assert first == again
    assert first["outputs"][0]["shape"] == [3, 5]
    assert ok(capsys, *argv, "--seed", "1") != first


def test_bench_takes_turns_with_torch(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ok(capsys, "bench", "networks:net", "--shape", "1,3,12,12", "--seconds", "0.2", "--batch", "2")
    assert set(told["results"]) == {"sparsenet", "torch"}
    for result in told["results"].values():
        assert 0 < result["p10_ms"] <= result["median_ms"] <= result["p99_ms"]
        assert result["per_second"] == pytest.approx(2e3 / result["median_ms"])
    assert told["results"]["sparsenet"]["speedup"] == 1


def test_bench_says_from_which_share_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = ("--sparsity", "0.9,0", "--engines", "sparsenet,torch", "--seconds", "0.1")
    told = ok(capsys, "bench", "tiny.snet", *sweep)
    assert [m["sparsity"] for m in told["sweep"]] == [0, 0.9]
    assert told["sweep"][0]["zeros"] < told["sweep"][1]["zeros"]
    for m in told["sweep"]:
        assert set(m["results"]) == {"sparsenet", "torch"}
        assert m["missing"] == {}
    assert "worth it" in told["answer"]
    assert (told["break_even"] is None) == ("not worth it" in told["answer"])


@pytest.mark.parametrize("extra", [(), ("--layers", "--batch", "3", "--threads", "2")])
def test_verify_against_torch_and_the_reference(
    folder: Path, capsys: pytest.CaptureFixture[str], extra: tuple[str, ...]
) -> None:
    told = ok(capsys, "verify", "networks:net", "--shape", "1,3,12,12", *extra)
    assert told["against"] == "torch"
    told = ok(capsys, "verify", "tiny.snet", *extra)
    assert told["against"] == "reference"
    assert all(0 <= check["ratio"] <= 1 for check in told["checks"])
    assert len(told["checks"]) == (4 if extra else 1)


def test_verify_against_a_stored_result_finds_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(3).standard_normal((2, 3, 9, 9)).astype(np.float32)
    np.save("x.npy", x)
    y = reference.run(tiny_graph(), [x])["y"]
    np.savez("good.npz", y=y)
    np.savez("unnamed.npz", y)
    y[1, 2] += 1e-2
    np.savez("bad.npz", y=y)
    ok(capsys, "verify", "tiny.snet", "--input", "x.npy", "--against", "good.npz")
    ok(capsys, "verify", "tiny.snet", "--input", "x.npy", "--against", "unnamed.npz")
    assert main(["verify", "tiny.snet", "--input", "x.npy", "--against", "bad.npz"]) == 1
    captured = capsys.readouterr()
    assert "WRONG" in captured.out
    assert "1 of 1 comparisons out of bound: y" in captured.err


BAD = [
    (2, "COMMAND", []),
    (2, "invalid choice", ["fly"]),
    (2, "MODEL", ["run"]),
    (2, "unrecognized", ["run", "tiny.snet", "--fast"]),
    (1, "no such file", ["run", "nosuch.snet"]),
    (2, "expected a .snet, .onnx or .pt2 file", ["run", "tiny.txt"]),
    (2, "weights but no network", ["run", "w.pt"]),
    (1, "not a .snet file", ["run", "garbage.snet"]),
    (1, "torch.export.load cannot read it", ["run", "garbage.pt2"]),
    (2, "holds its own", ["run", "tiny.snet", "--shape", "1,2"]),
    (2, "--shape", ["run", "networks:net"]),
    (2, "expected sizes", ["run", "networks:net", "--shape", "1,x"]),
    (2, "expected sizes", ["run", "networks:net", "--shape", "0,3"]),
    (1, "cannot import nosuch", ["run", "nosuch:net", "--shape", "1,3"]),
    (1, "has no missing", ["run", "networks:missing", "--shape", "1,3"]),
    (1, "not a callable", ["run", "networks:number", "--shape", "1,3"]),
    (1, "ValueError: no such variant", ["run", "networks:Broken", "--shape", "1,3"]),
    (1, "not a torch.nn.Module", ["run", "os:getcwd", "--shape", "1,3"]),
    (1, "does not run on [1, 4, 8, 8]", ["run", "networks:net", "--shape", "1,4,8,8"]),
    (1, "cumsum", ["run", "networks:Odd", "--shape", "1,4"]),
    (1, "no such file", ["run", "networks:net", "--shape", "1,3,8,8", "--weights", "nosuch.safetensors"]),
    (1, "not a readable safetensors", ["run", "networks:net", "--shape", "1,3,8,8", "--weights", "bad.safetensors"]),
    (1, "does not fit", ["run", "networks:net", "--shape", "1,3,8,8", "--weights", "other.safetensors"]),
    (2, "expected .safetensors", ["run", "networks:net", "--shape", "1,3,8,8", "--weights", "w.txt"]),
    (2, ".npy or .npz", ["run", "tiny.snet", "--input", "x.txt"]),
    (1, "No such file", ["run", "tiny.snet", "--input", "nosuch.npy"]),
    (1, "not a readable .npy", ["run", "tiny.snet", "--input", "garbage.npy"]),
    (1, "not a readable .npz", ["run", "tiny.snet", "--input", "garbage.npz"]),
    (1, "no array named x; it holds z", ["run", "tiny.snet", "--input", "z.npz"]),
    (1, "expected numbers", ["run", "tiny.snet", "--input", "text.npy"]),
    (1, "expected shape [N, 3, 9, 9], got [1, 3, 9, 8]", ["run", "tiny.snet", "--input", "shape.npy"]),
    (1, "the batch is empty", ["run", "tiny.snet", "--input", "empty.npy"]),
    (2, "--batch is for random", ["run", "tiny.snet", "--input", "shape.npy", "--batch", "2"]),
    (2, "integer >= 1", ["run", "tiny.snet", "--batch", "0"]),
    (2, "integer >= 1", ["run", "tiny.snet", "--threads", "many"]),
    (1, "isa", ["run", "tiny.snet", "--isa", "sse9"]),
    (2, ".npy or .npz", ["run", "tiny.snet", "-o", "y.txt"]),
    (1, "no such directory", ["run", "tiny.snet", "-o", "nosuch/y.npy"]),
    (1, "is a directory", ["run", "tiny.snet", "-o", "folder.npy"]),
    (2, ".snet", ["convert", "tiny.snet", "-o", "x.bin"]),
    (2, "-o", ["convert", "tiny.snet"]),
    (1, "no such directory", ["convert", "tiny.snet", "-o", "nosuch/x.snet"]),
    (2, "number > 0", ["bench", "tiny.snet", "--seconds", "nan"]),
    (2, "no engine jax; there are sparsenet", ["bench", "tiny.snet", "--engines", "torch,jax"]),
    (2, "shares of zeros like", ["bench", "tiny.snet", "--sparsity", "0,90"]),
    (2, "--layers goes without --sparsity", ["bench", "tiny.snet", "--sparsity", "0,0.9", "--layers"]),
    (2, "carries no torch module", ["verify", "tiny.snet", "--against", "torch"]),
    (2, "expected torch, onnxruntime, reference", ["verify", "tiny.snet", "--against", "jax"]),
    (2, "--input", ["verify", "tiny.snet", "--against", "z.npz"]),
    (1, "no array named y", ["verify", "tiny.snet", "--input", "good.npy", "--against", "z.npz"]),
    (1, "the engine's shape is", ["verify", "tiny.snet", "--input", "good.npy", "--against", "y.npz"]),
    (1, "--out", ["demo", "--out", "tiny.snet"]),
]


@pytest.mark.parametrize(("code", "says", "argv"), BAD, ids=[" ".join(argv) or "nothing" for _, _, argv in BAD])
def test_bad_input(folder: Path, capsys: pytest.CaptureFixture[str], code: int, says: str, argv: list[str]) -> None:
    for suffix in ("snet", "pt2", "npy", "npz", "onnx"):
        (folder / f"garbage.{suffix}").write_bytes(b"PK\x03\x04 this is no archive")
    (folder / "bad.safetensors").write_bytes(b"\xff" * 20)
    (folder / "folder.npy").mkdir()
    save_file({"0.weight": torch.zeros(2, 2)}, folder / "other.safetensors")
    np.savez("z.npz", z=np.zeros(3))
    np.savez("y.npz", y=np.zeros((1, 4)))
    np.save("text.npy", np.array(["a"]))
    np.save("shape.npy", np.zeros((1, 3, 9, 8), np.float32))
    np.save("empty.npy", np.zeros((0, 3, 9, 9), np.float32))
    np.save("good.npy", np.zeros((1, 3, 9, 9), np.float32))
    (folder / "w.txt").write_text("")
    before = {p.name for p in folder.rglob("*")} | {"__pycache__"}
    assert says in fails(capsys, code, *argv)
    assert {p.name for p in folder.rglob("*") if "__pycache__" not in p.parts} <= before


def test_a_failed_convert_leaves_the_old_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / "tiny.snet").read_bytes()
    fails(capsys, 1, "convert", "networks:Odd", "--shape", "1,4", "-o", "tiny.snet")
    assert (folder / "tiny.snet").read_bytes() == before


def test_debug_shows_the_traceback(folder: Path) -> None:
    (folder / "garbage.snet").write_bytes(b"12345678")
    with pytest.raises(sn.errors.FileFormatError):
        main(["inspect", "garbage.snet", "--debug"])


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("convert", "inspect", "run", "bench", "verify", "demo"):
        assert main([command, "--help"]) == 0
        assert f"sparsenet {command}" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert "sparsenet" in capsys.readouterr().out


def test_as_a_process_and_interrupted(folder: Path) -> None:
    command = [sys.executable, "-m", "sparsenet"]
    done = subprocess.run([*command, "inspect", "tiny.snet", "--json"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    json.loads(done.stdout)
    argv = [*command, "bench", "tiny.snet", "--seconds", "600", "--no-tune"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        # CPU time past start-up means that it is timing: interrupting an import is Python's affair.
        while _cpu_seconds(process.pid) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert (out, err) == ("", "sparsenet bench: error: interrupted\n")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
