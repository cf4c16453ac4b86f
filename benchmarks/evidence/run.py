"""What the evidence scripts share: the command line, a cache to resume from, the JSON file and the tables."""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

import sparsenet
from benchmarks.evidence import nets
from benchmarks.evidence.training import Recipe, errors, train
from sparsenet import prune
from sparsenet.cli.common import console, positive_int, replacing, table
from sparsenet.report import data
from sparsenet.timing import cpu_model


@dataclass
class Run:
    """One call of one script."""

    name: str
    args: argparse.Namespace
    begin: float = field(default_factory=time.time)

    @property
    def quick(self) -> bool:
        return bool(self.args.quick)

    @property
    def seeds(self) -> range:
        return range(self.args.seeds)

    @property
    def seeds_told(self) -> str:
        return "1 seed" if self.args.seeds == 1 else f"{self.args.seeds} seeds"

    def data(self, name: str) -> data.Data:
        """The data set; with --quick a few hundred images, and digits in place of MNIST and Fashion-MNIST."""
        if not self.quick:
            return data.load(name, self.args.data)
        loaded = data.load("cifar10", self.args.data) if name == "cifar10" else data.load("digits")
        return loaded.head(256, 100)

    def place(self, key: str, settings: dict[str, Any]) -> Path:
        """Where a step's result lies once it is there."""
        told = json.dumps([settings, self.quick, torch.__version__], sort_keys=True)
        path: Path = self.args.cache / f"{key}-{hashlib.sha256(told.encode()).hexdigest()[:12]}.pt"
        return path

    def step(self, key: str, settings: dict[str, Any], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """``work()``, or what it returned in an earlier run with the same settings: plain values and tensors."""
        file = self.place(key, settings)
        if file.is_file():
            kept: dict[str, Any] = torch.load(file, weights_only=True)
            return kept
        file.parent.mkdir(parents=True, exist_ok=True)
        begin = time.time()
        result = work()
        with replacing(file) as temporary:
            torch.save(result, temporary)
        shown = ", ".join(f"{k} {v:.3g}" for k, v in result.items() if isinstance(v, float))
        print(f"{time.strftime('%H:%M:%S')} {key}: {shown} ({time.time() - begin:.0f} s)", file=sys.stderr, flush=True)
        return result

    def dense(self, net: str, dataset: data.Data, recipe: Recipe, seed: int) -> tuple[nn.Module, dict[str, Any]]:
        """A trained network and its errors; the scripts share them."""

        image = tuple(dataset.train.x.shape[1:])

        def work() -> dict[str, Any]:
            model = train(nets.make(net, seed, image), dataset.train, recipe, seed)
            return {**errors(model, dataset), "state": model.state_dict()}

        told = self.step(f"dense/{net}-{dataset.name}-{seed}", recipe.told(), work)
        model = nets.make(net, seed, image)
        model.load_state_dict(told["state"])
        return model.eval(), {k: v for k, v in told.items() if k != "state"}

    def save(self, dataset: data.Data, settings: dict[str, Any], results: dict[str, Any]) -> Path:
        """Writes OUT/NAME.json: what was measured, on what, with what."""
        self.args.out.mkdir(parents=True, exist_ok=True)
        report = {
            "command": f"python -m benchmarks.evidence.{self.name} " + " ".join(_options(self.args)),
            "quick": self.quick,
            "machine": {"cpu": cpu_model(), "system": f"{platform.system()} {platform.machine()}", "torch_threads": 1},
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "sparsenet": sparsenet.__version__,
            },
            "data": {
                "name": dataset.name,
                "train": len(dataset.train),
                "held_out": len(dataset.valid),
                "test": len(dataset.test),
            },
            "seeds": list(self.seeds),
            "settings": settings,
            **results,
        }
        file: Path = self.args.out / f"{self.args.name or self.name}.json"
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(_rounded(report), indent=1) + "\n", encoding="utf-8")
        return file


def start(name: str, doc: str | None, argv: Sequence[str] | None, seeds: int = 3, **options: Any) -> Run:
    """Parses the command line; torch gets one thread, so that a seed means the same result on any core count."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(f"python -m benchmarks.evidence.{name}", description=doc, formatter_class=layout)
    parser.add_argument("--quick", action="store_true", help="seconds on scikit-learn's digits: a test of the script")
    parser.add_argument("--seeds", type=positive_int, default=seeds, help=f"how many (default {seeds})")
    parser.add_argument("--data", type=Path, help="folder of the data set (default: $SPARSENET_DATA, then as packaged)")
    parser.add_argument("--out", type=Path, default=Path("build/evidence"), help="for NAME.json and NAME.svg")
    parser.add_argument("--name", help="of the files written (default: the script's)")
    parser.add_argument("--cache", type=Path, default=Path("build/evidence/cache"), help="trained weights, to resume")
    for option, given in options.items():
        parser.add_argument("--" + option.replace("_", "-"), **given)
    torch.set_num_threads(1)
    return Run(name, parser.parse_args(argv))


def show(title: str, rows: Iterable[dict[str, Any]], columns: dict[str, str], caption: str | None = None) -> None:
    """Prints rows as a table; ``columns`` is heading -> key."""
    cells = [[_cell(row.get(key)) for key in columns.values()] for row in rows]
    console().print(table(title, list(columns), cells, caption))


def mean(rows: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.fmean(row[key] for row in rows)


def spread(rows: Sequence[dict[str, Any]], key: str) -> float:
    """Half the range over the seeds: with three of them a standard deviation says no more."""
    values = [row[key] for row in rows]
    return (max(values) - min(values)) / 2


def restored(model: nn.Module, state: dict[str, Any]) -> nn.Module:
    """``model`` with baked weights of a pruned one, and masks where these are zero."""
    prune.bake(model).load_state_dict(state)
    for _, module in prune.masks.weighted(model):
        weight = prune.masks.weight_of(module)
        if (weight == 0).any():
            prune.set_mask(module, "weight", weight != 0)
    return model.eval()


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def _options(args: argparse.Namespace) -> list[str]:
    """The options that decide the result; folders are the caller's own."""
    kept = []
    for name, value in vars(args).items():
        if name in ("out", "cache", "data") or value is None or value is False:
            continue
        kept += ["--" + name.replace("_", "-")] + ([] if value is True else [str(value)])
    return kept


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value
