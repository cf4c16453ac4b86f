"""The study's plan, its clock and its tables, on networks small enough for a test."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import sparsenet as sn
from benchmarks import models
from benchmarks.study import clock, page
from benchmarks.study.making import Maker
from benchmarks.study.plan import SUBJECTS, Pruning, shape
from sparsenet import prune


def test_every_row_has_a_key_of_its_own_and_the_dense_one_comes_first() -> None:
    for subject in SUBJECTS.values():
        keys = [row.key for row in subject.rows]
        assert keys[0] == "dense"
        assert len(set(keys)) == len(keys)
    assert Pruning(0.3, "nm", 0.75).told == "30 % + 1:4"


def test_a_row_is_made_with_the_published_flops(tmp_path: Path) -> None:
    maker = Maker("vgg16_cifar", Namespace())
    small = maker.make(Pruning("A"), tmp_path / "small.snet")
    # Li et al. 2017, table 1: 3.13e8 multiply-adds, 34.2 % fewer.
    assert small["macs"] == pytest.approx((1 - 0.342) * 3.135e8, rel=0.002)
    assert small["snet_bytes"] == (tmp_path / "small.snet").stat().st_size


def test_the_shape_of_resnet_110_spares_the_layers_that_the_paper_spares() -> None:
    convs = [name for name, m in models.create("resnet110").named_modules() if isinstance(m, nn.Conv2d)]
    shares = shape("resnet110", "B", convs)
    # 18 blocks a stage; layers 36, 38 and 74 are the last block of the first stage, the first of the two others.
    assert [list(shares.values()).count(share) for share in (0.5, 0.4, 0.3)] == [17, 17, 17]
    assert not {"layer1.17.conv1", "layer2.0.conv1", "layer3.0.conv1"} & set(shares)
    with pytest.raises(KeyError, match="no shape"):
        shape("resnet110", "A", convs)


def test_the_clock_times_shrunk_networks_in_the_peer_too(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU()).eval()
    x = torch.randn(1, 3, 12, 12)
    files = {}
    for key, share in {"dense": 0.0, "weights-0.5": 0.5}.items():
        files[key] = tmp_path / f"{key}.snet"
        graph = sn.from_torch(prune.bake(prune.magnitude(model, share)), (x,))
        graph.run_passes()
        graph.save(files[key])
    dense = files.pop("dense")
    told = clock.measure(dense, files | {"filters-0.5": dense}, {"filters-0.5"}, 0.01, 0.01)
    assert list(told) == ["dense", "weights-0.5", "filters-0.5"]
    assert told["dense"]["dense_over_ours"] == 1.0
    assert "peer_ms" not in told["weights-0.5"]
    assert told["filters-0.5"]["peer_over_ours"] > 0


def row(kind: str, key: str, speed: float, valid: float = 90.0, test: float = 90.0) -> dict[str, Any]:
    time = {"ms": 1 / speed, "dense_over_ours": speed, "peer_dense_over_ours": speed / 1.5, "isa": "avx2"}
    sizes = {"macs": 10, "useful_macs": 10, "nonzeros": 10, "parameters": 10, "snet_bytes": 40}
    accuracy = {"valid_accuracy": [valid], "test_accuracy": [test]}
    return {"key": key, "kind": kind, "amount": key, "time": time, **sizes, **accuracy}


def test_equal_accuracy_is_two_standard_errors_of_the_held_out_images() -> None:
    # 0.9 of 5000: a standard error of 0.424 points, so 89.16 counts as equal and 89.14 does not; accuracy on the test
    # set has no say.
    rows = [
        row("dense", "dense", 1.0),
        row("weights", "weights-0.5", 1.2, 89.9, 80.0),
        row("weights", "weights-0.8", 2.0, 89.16),
        row("weights", "weights-0.9", 3.0, 89.14),
        row("filters", "filters-0.5", 1.5, 80.0, 95.0),
    ]
    assert [r["key"] for r in page.as_accurate(rows)] == ["weights-0.5", "weights-0.8"]
    told = {"rows": {"vgg": rows}}
    assert page.lost({"x": [90.0, 92.0]}, {"x": [89.0]}, "x") == 1  # seed by seed
    assert "weights-0.8" in page.equal(told)
    assert "weights-0.5" not in page.equal(told)
    assert "filters" not in page.equal(told)


def test_crossing_says_from_which_share_on() -> None:
    rows = [row("dense", "dense", 1.0), row("weights", "weights-0.5", 1.0), row("weights", "weights-0.8", 3.0)]
    cells = page.crossing({"rows": {"vgg": rows}}).splitlines()[2].split(" | ")
    # Against onnxruntime: 0.67 at 50 %, 2 at 80 %, so the logarithm crosses 0 at 0.5 + 0.3 * log(1.5) / log(3).
    assert cells[2:] == ["at most 50 %", "61 % |"]


def test_tables_are_written_between_their_marks(tmp_path: Path) -> None:
    names = ["equal", "crossing", "layers", "published", "conditions", *SUBJECTS]
    names = [name for name in names if name not in page.PUBLISHED]
    text = "".join(f"before {n}\n<!-- {n} begins -->\nold\n<!-- {n} ends -->\n" for n in names)
    (tmp_path / "study.md").write_text(text)
    folder = tmp_path / "cache" / "vgg"
    folder.mkdir(parents=True)
    record = row("dense", "dense", 1.0) | {"valid_accuracy": 90.0, "test_accuracy": 91.0}
    (folder / "dense.time.json").write_text(json.dumps(record.pop("time")))
    (folder / "dense.json").write_text(json.dumps(record))
    (folder / "dense.seed1.json").write_text(json.dumps(record | {"test_accuracy": 91.5}))
    page.write(Namespace(cache=tmp_path / "cache", docs=tmp_path))
    written = (tmp_path / "study.md").read_text()
    assert "old" not in written
    assert "before vgg\n<!-- vgg begins -->\n| pruning |" in written
    assert "| 90.00 ± 0.00 | 91.25 ± 0.25 |" in written  # the mean of two seeds, and half their range
    assert json.loads((tmp_path / "study.json").read_text())["rows"]["vgg"][0]["key"] == "dense"
    (tmp_path / "study.md").write_text("no marks")
    with pytest.raises(ValueError, match="once each"):
        page.write(Namespace(cache=tmp_path / "cache", docs=tmp_path))
