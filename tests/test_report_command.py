"""sparsenet report as a user calls it: what is wrong shows before the work begins, what Ctrl-C left is continued; the
built-in studies."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsenet.cli import main
from sparsenet.cli.report import _BUILT_IN
from sparsenet.report import builtin, data
from sparsenet.report import run as run_module
from sparsenet.report.run import plan
from sparsenet.report.store import read

torch.set_num_threads(1)


OWN = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))

def loaders():
    x, y = torch.randn(32, 2, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 2
    return [(x, y)], [(x, y)]

class Broken:
    def __iter__(self):
        raise OSError("unmounted")

def nothing(): return loaders()[0], []
def once(): return iter(loaders()[0]), loaders()[1]
def broken(): return Broken(), Broken()
def images(): return [loaders()[0][0][0]] * 2
def gray(): return tuple([(x[:, :1], y) for x, y in part] for part in loaders())
"""
LOADERS = {
    "nothing": "test yields no batch",
    "once": "train can be read only once",
    "broken": "train raised OSError: unmounted",
    "images": "pairs of tensors",
    "gray": "[32, 1, 8, 8], which is not that of --shape 1,2,8,8",
}


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "report_net.py").write_text(OWN)
    command = ["report", "report_net:net", "--shape", "1,2,8,8", "--loader", "report_net:loaders", "--seconds", "0.02"]
    command += ["--methods", "weights", "--ratios", "0.8", "--epochs", "1", "--peers", "none", "--out", "out"]
    assert main(command) == 0
    assert (tmp_path / "out" / "report.html").is_file()
    assert list(read(tmp_path / "out")["records"]) == ["dense", "weights 0.8"]
    capsys.readouterr()
    assert main([*command, "--json", "--render"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == 1
    wrongs = (["--methods", "magic"], ["--ratios", "2"], ["--peers", "rival"], ["--skip", "conv1"], ["--epochs", "-1"])
    for wrong in wrongs:
        assert main([*command, *wrong]) == 2
    assert main(["report", "report_net:net", "--shape", "1,2,8,8", "--out", "none", "--render"]) == 1
    assert main(["report", "digits", "--shape", "1,2"]) == 2
    assert main([*command, "--data", "out"]) == 2
    capsys.readouterr()
    for name, told in LOADERS.items():
        assert main([*command, "--loader", f"report_net:{name}", "--out", "none"]) == 1
        assert told in capsys.readouterr().err
    assert main([*command, "--shape", "1,3,8,8", "--out", "none"]) == 2
    assert main([*command[:2], "--shape", "1,3,8,8", "--out", "none"]) == 1
    assert "does not run on [1, 3, 8, 8]" in capsys.readouterr().err
    assert main(["report", "lenet5", "--data", "out", "--out", "none"]) == 1
    assert "npm pack" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    assert np.isfinite(read(tmp_path / "out")["records"]["dense"]["accuracy"])


def test_ctrl_c_and_the_same_command_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a terminal does it: the signal goes to the command and to the process that it times in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "report_net.py").write_text(OWN)
    command = ["report", "report_net:net", "--shape", "1,2,8,8", "--peers", "none", "--seconds", "0.5", "--out", "out"]
    command += ["--loader", "report_net:loaders", "--methods", "weights", "--ratios", "0.5", "--epochs", "1"]
    begun = subprocess.Popen(
        [sys.executable, "-m", "sparsenet", *command], stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert begun.stderr is not None
    while "dense: measuring" not in begun.stderr.readline():
        assert begun.poll() is None
    os.killpg(begun.pid, signal.SIGINT)
    _, told = begun.communicate(timeout=60)
    assert begun.returncode == 130
    assert "the same command continues out" in told
    assert "Traceback" not in told
    assert "engines" not in read(tmp_path / "out")["records"]["dense"]
    assert main(command) == 0
    told = capsys.readouterr().err
    assert "dense: pruning and training" not in told
    assert "dense: measuring" in told
    assert all("engines" in record for record in read(tmp_path / "out")["records"].values())


@pytest.mark.parametrize("name", builtin.NAMES)
def test_built_in_studies(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each trains its network, here on a few images of noise in the place of MNIST, and has batches for it."""
    assert builtin.NAMES == _BUILT_IN  # the command line names them before it imports torch
    rng = np.random.default_rng(0)
    split = data.Split(torch.from_numpy(rng.random((64, 1, 28, 28), np.float32)), torch.arange(64) % 10)
    monkeypatch.setattr(data, "load", lambda name, folder: data.Data(name, split, split, split))
    study = builtin.study(name, 0, tmp_path)
    if name == "digits":
        study = dataclasses.replace(study, train_dense=None)  # tests/test_demo.py trains it
    told = run_module.train(study, plan(study)[0], run_module._Dense(study, tmp_path, True), tmp_path / "d.snet")
    assert 0 <= told["accuracy"] <= 1
    assert set(study.skip) <= dict(study.architecture().named_modules()).keys()
    assert [len(x) for x, _ in study.train or []]
