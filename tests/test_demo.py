"""The demo end to end in its quick form, and the parts it is made of."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from sparsenet.cli import main
from sparsenet.demo import mobilenet, photos

torch.set_num_threads(1)


def test_quick_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--quick", "--json", "--out", str(tmp_path / "demo")]) == 0
    captured = capsys.readouterr()
    rows = {row["name"]: row for row in json.loads(captured.out)["rows"]}
    dense = rows["digits, dense"]
    assert dense["accuracy"] > 0.5  # two epochs; chance is 0.1
    for share in (80, 90, 95):
        row = rows[f"digits, weights {share}%"]
        kept = row["nonzeros"] / dense["nonzeros"]
        assert 0.5 * (1 - share / 100) < kept < 1.1 * (1 - share / 100)  # fewer where whole neurons died
        assert row["file_bytes"] < 6.2 * row["nonzeros"] + 8192
        assert row["flops"] < (1.1 - share / 100) * dense["flops"]
    for share in (30, 50):
        row = rows[f"digits, filters {share}%"]
        assert row["file_bytes"] < (1.05 - share / 100) * dense["file_bytes"]
        assert row["nonzeros"] < (1 - share / 100) * dense["nonzeros"]
    for row in rows.values():
        assert row["speedup"] == pytest.approx(row["torch_ms"] / row["sparsenet_ms"])
        assert row["sparsenet_ms"] > 0
    picture = ElementTree.parse(tmp_path / "demo" / "demo.svg")
    words = "".join(picture.getroot().itertext())
    assert all(name in words for name in rows)
    assert captured.err.count("the same digit as torch for 450 of 450") == 6
    if mobilenet.find_weights() is None:
        assert "skipped" in captured.err
        assert mobilenet.INSTALL_WEIGHTS in captured.err
    else:
        assert captured.err.count("Egyptian cat") == 2


def test_missing_weights_are_told_and_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mobilenet, "WEIGHTS_PACKAGE", "no-such-package-anywhere")
    assert mobilenet.find_weights() is None
    assert mobilenet.pretrained() is None


def test_mobilenet_v2_is_the_published_one() -> None:
    model = mobilenet.MobileNetV2()
    assert sum(p.numel() for p in model.parameters()) == 3_504_872
    names = list(model.state_dict())
    assert names[0] == "features.0.0.weight"
    assert "features.17.conv.3.running_var" in names
    assert names[-1] == "classifier.1.bias"


@pytest.mark.parametrize("name", photos.PHOTOS)
def test_photos_are_what_the_network_wants(name: str) -> None:
    image = photos.photo(name)
    assert (image.shape, image.dtype) == ((1, 3, 224, 224), np.float32)
    assert image.flags.c_contiguous
    assert -2.2 < image.min() < image.max() < 2.7  # (0 - 0.485) / 0.229 and (1 - 0.406) / 0.225
    assert image.std() > 0.3


def test_class_names_admit_what_they_do_not_know() -> None:
    assert photos.class_name(285) == "Egyptian cat"
    assert photos.class_name(999) == "class 999"
