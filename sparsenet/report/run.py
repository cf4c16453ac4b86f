"""The work: prune, fine-tune, compile, measure, run after run, each stored once it is done."""

from __future__ import annotations

import copy
import gzip
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import sparsenet
from sparsenet import prune
from sparsenet.apart import Died
from sparsenet.errors import SparsenetError
from sparsenet.report.machine import machine, versions
from sparsenet.report.measure import measure
from sparsenet.report.methods import METHODS, Job
from sparsenet.report.store import Store, snet_file
from sparsenet.report.study import Study

DENSE = "dense"


@dataclass(frozen=True)
class Run:
    """One pruning to measure; ratio 0 of DENSE is the network as it is."""

    method: str
    ratio: float

    @property
    def key(self) -> str:
        return DENSE if self.method == DENSE else f"{self.method} {self.ratio:g}"

    @property
    def file(self) -> str:
        return snet_file(self.key)


def plan(study: Study) -> list[Run]:
    """The dense network first: all else starts from it."""
    pairs = [(name, ratio) for name, ratios in study.methods.items() for ratio in ratios]
    return [Run(DENSE, 0.0), *(Run(name, ratio) for name, ratio in pairs)]


def run(
    study: Study,
    folder: Path,
    *,
    peers: Sequence[str],
    threads: int = 1,
    batch: int = 1,
    seconds: float = 3.0,
    fresh: bool = False,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> Store:
    """Does what is left to do of a study in ``folder``. Each run is stored twice, once trained and once measured, so
    an interruption costs at most the step that it hits. A run that fails is a record with the reason, and is tried
    again the next time.

    Raises InvalidArgumentError if the folder holds another study, SparsenetIOError if it cannot be written,
    SparsenetError if the dense network fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = study.settings() | {"threads": threads, "batch": batch, "peers": list(peers), "seconds": seconds}
    store = Store(folder, settings, fresh)
    store.content |= {"machine": machine(), "versions": versions(), "note": study.note}
    program = Path(sys.argv[0])
    command = [program.parent.name if program.stem == "__main__" else program.name, *sys.argv[1:]]
    store.content.setdefault("commands", []).append(command)
    store.save()
    dense = _Dense(study, folder, fresh)
    runs = plan(study)
    for number, this in enumerate(runs, start=1):
        head = f"[{number}/{len(runs)}] {this.key}:"
        record = {key: value for key, value in store.records.get(this.key, {}).items() if key != "error"}
        if "engines" in record:
            say(f"{head} done before")
            continue
        try:
            if "snet_bytes" not in record or not (folder / this.file).is_file():
                say(f"{head} pruning and training")
                record = train(study, this, dense, folder / this.file)
                store.records[this.key] = record
                store.save()
            say(f"{head} measuring")
            x = np.random.default_rng(study.seed).standard_normal((batch, *study.example.shape[1:]), np.float32)
            baseline = None if this.method == DENSE else folder / runs[0].file
            record |= measure(folder / this.file, [x], peers, threads, seconds, baseline)
        except Exception as error:  # of a user's network or loader it may be any; the other runs go on
            if this.method == DENSE:
                raise SparsenetError(f"the dense network, with which all is compared, failed: {_why(error)}") from error
            record["error"] = _why(error)
        store.records[this.key] = record
        store.save()
        say(f"{head} {_summary(record)}")
    return store


def _why(error: Exception) -> str:
    """In one line, with the type where the text alone may say little."""
    text = " ".join(str(error).split())
    told = isinstance(error, (ValueError, Died, SparsenetError, RuntimeError)) and text
    return text if told else f"{type(error).__name__}: {text}"


def _summary(record: dict[str, Any]) -> str:
    if "error" in record:
        return f"failed: {record['error']}"
    score = "" if record["accuracy"] is None else f"accuracy {record['accuracy']:.2%}, "
    return f"{score}{record['engines']['sparsenet']['median_ms']:.3f} ms, {record['snet_bytes']:,} bytes"


class _Dense:
    """The trained network, made once and kept in the folder: continuing must start from the very same weights."""

    def __init__(self, study: Study, folder: Path, fresh: bool) -> None:
        self._study, self._path = study, folder / "dense.pt"
        self._state: dict[str, Any] | None = None
        if self._path.is_file() and not fresh:
            self._state = torch.load(self._path, weights_only=True)

    def model(self) -> nn.Module:
        """A network of its own for each caller."""
        torch.manual_seed(self._study.seed)
        model = self._study.architecture()
        if self._state is None:
            if self._study.train_dense is not None:
                self._study.train_dense(model)
            self._state = copy.deepcopy(model.state_dict())
            temporary = self._path.with_suffix(".tmp")
            torch.save(self._state, temporary)
            temporary.replace(self._path)
        model.load_state_dict(self._state)
        return model.eval()


def train(study: Study, this: Run, dense: _Dense, file: Path) -> dict[str, Any]:
    """Prunes, fine-tunes, writes the .snet, and tells what does not need a clock: accuracy, sizes, FLOPs."""
    begin = time.perf_counter()
    model = dense.model()
    losses: list[float] = []

    def retrain(module: nn.Module) -> None:
        if study.train is not None and study.epochs:
            adam = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], study.learning_rate)
            losses.extend(
                prune.finetune(module, study.train, epochs=study.epochs, optimizer=adam, seed=study.seed).losses
            )

    if this.method != DENSE:
        job = Job(this.ratio, study.example, study.skip, study.seed, retrain)
        model = METHODS[this.method].apply(model, job)
        retrain(model)
    graph = sparsenet.from_torch(prune.bake(model).eval(), (study.example,))
    graph.run_passes()
    graph.save(file)
    engine = sparsenet.compile(file, tune=False)
    data = file.read_bytes()
    weights = sum(step.weights for step in engine.steps)
    nonzeros = sum(step.nnz for step in engine.steps)
    return {
        "method": this.method,
        "ratio": this.ratio,
        "accuracy": None if study.test is None else accuracy(engine, study.test),
        "losses": losses,
        "parameters": weights,
        "nonzeros": nonzeros,
        "dense_flops": 2 * sum(step.macs for step in engine.steps),
        "flops": 2 * sum(step.useful_macs for step in engine.steps),
        "snet_bytes": len(data),
        "gzip_bytes": len(gzip.compress(data, 9, mtime=0)),
        "training_seconds": time.perf_counter() - begin,
    }


def accuracy(engine: sparsenet.Engine, batches: Iterable[Any]) -> float:
    """The share of labels, one for each sample or each pixel, that the compiled network, not torch's, gets right."""
    right = total = 0
    for x, y in batches:
        output, labels = engine(np.ascontiguousarray(x.numpy(), np.float32)), y.numpy()
        if isinstance(output, tuple):
            raise ValueError(f"accuracy is of a network with one output, this has {len(output)}; give no loader")
        guess = np.asarray(output).argmax(1)
        if guess.shape != labels.shape or labels.dtype.kind not in "iu":
            raise ValueError(
                f"expected integer labels of shape {list(guess.shape)} for outputs of shape {list(output.shape)}, "
                f"got {labels.dtype} of shape {list(labels.shape)}; without a loader only speed is measured"
            )
        right += int((guess == labels).sum())
        total += labels.size
    if total == 0:
        raise ValueError("the test loader is empty")
    return right / total
