"""Makes a row: the pruned network as a .snet, and what can be told of it without a clock."""

from __future__ import annotations

import copy
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import sparsenet as sn
from benchmarks import models
from benchmarks.evidence.run import Run
from benchmarks.evidence.training import train
from benchmarks.models.classic import VGG
from sparsenet import prune
from sparsenet.demo import mobilenet
from sparsenet.demo.photos import PHOTOS, photo
from sparsenet.prune.cost import graph_macs
from sparsenet.report import data as datasets

from .plan import DENSE, SUBJECTS, Pruning, shape

VIEWS = 16  # of each photo
SEED = 0


class Maker:
    """Rows of one network; the dense one is made, trained or read once. ``seed`` is of what is trained."""

    def __init__(self, network: str, args: Namespace, seed: int = SEED) -> None:
        self.network, self.subject, self.args, self.seed = network, SUBJECTS[network], args, seed
        self.data: datasets.Data | None = None
        self.views: torch.Tensor | None = None
        if self.subject.dense is not None:
            run = Run("study", Namespace(quick=False, data=args.data, cache=args.trained))
            self.data = run.data(self.subject.data)
            self.dense, _ = run.dense(network, self.data, self.subject.dense, seed)
            self.example = self.data.valid.x[:1]
        elif self.subject.data == "photos":
            found = mobilenet.pretrained()
            if found is None:
                raise SystemExit(f"{network} needs its weights: {mobilenet.INSTALL_WEIGHTS}")
            self.dense, self.views = found, _views()
            self.example = self.views[:1]
        else:
            self.dense, self.example = _random(network)
        convs = [(name, m) for name, m in self.dense.named_modules() if isinstance(m, nn.Conv2d)]
        self.convs = [name for name, _ in convs]
        # The stem reads the image, depthwise layers hold few weights: pruners leave both.
        self.spared = [name for i, (name, m) in enumerate(convs) if i == 0 or m.groups == m.in_channels > 1]
        self.logits: np.ndarray[Any, Any] | None = None

    def make(self, row: Pruning, file: Path) -> dict[str, Any]:
        """Writes ``file`` and returns the record."""
        model = copy.deepcopy(self.dense)
        if row.filters:
            model = self._filters(model, row.filters)
            self._retrain(model)
        if row.method == "weights":
            prune.magnitude(model, row.ratio, skip=self.spared)
        elif row.method == "global":
            prune.magnitude(model, row.ratio, scope="global", skip=self.spared)
        elif row.method == "blocks":
            prune.blocks(model, row.ratio, (4, 1), skip=self.spared, strict=False)
        elif row.method == "nm":
            prune.n_m(model, round(4 * (1 - row.ratio)), 4, skip=self.spared, strict=False)
        if row.method or row == DENSE:  # the dense one is trained on for as long, so that it is a fair rival
            self._retrain(model)
        if row != DENSE and not self.subject.data:
            models.measure_batch_norm(model, SEED, tuple(self.example.shape[1:]))
        plain = prune.bake(model).eval()
        graph = sn.from_torch(plain, (self.example,))
        graph.run_passes()
        graph.save(file)
        engine = sn.compile(file, tune=False, batch=100 if self.data else 1)
        return {
            "parameters": sum(step.weights for step in engine.steps),
            "nonzeros": sum(step.nnz for step in engine.steps),
            "macs": graph_macs(graph, zeros=True),
            "useful_macs": graph_macs(graph, zeros=False),
            "snet_bytes": file.stat().st_size,
            **self._accuracy(engine),
            **self._agreement(engine),
        }

    def _filters(self, model: nn.Module, share: float | str) -> nn.Module:
        if isinstance(share, str):
            prune.filters(model, shape(self.network, share, self.convs), example=self.example)
        else:
            prune.filters(model, share, example=self.example, skip=self.convs[:1])
            if self.network == "lenet5":
                prune.units(model, share)  # of its hidden linear layer, where nine tenths of its weights are
        return prune.shrink(model, self.example)

    def _retrain(self, model: nn.Module) -> None:
        if self.subject.retrain is not None and self.data is not None:
            train(model, self.data.train, self.subject.retrain, self.seed + 100)

    def _accuracy(self, engine: sn.Engine) -> dict[str, float]:
        """Of the compiled network, in percent, on the held-out and on the test images."""
        if self.data is None:
            return {}
        told = {}
        for name, split in (("valid", self.data.valid), ("test", self.data.test)):
            right = sum(
                int((np.asarray(engine(x.numpy())).argmax(1) == y.numpy()).sum())
                for x, y in datasets.Batches(split, 100)
            )
            told[f"{name}_accuracy"] = 100 * right / len(split)
        return told

    def _agreement(self, engine: sn.Engine) -> dict[str, float]:
        """How far the pruned network says what the dense one says about the same views."""
        if self.views is None:
            return {}
        if self.logits is None:
            with torch.inference_mode():
                self.logits = self.dense(self.views).numpy()
        got = np.concatenate([np.asarray(engine(view[None].numpy())) for view in self.views])
        centred = [a - a.mean(1, keepdims=True) for a in (got, self.logits)]
        dot = (centred[0] * centred[1]).sum(1)
        cosine = dot / np.maximum(np.linalg.norm(centred[0], axis=1) * np.linalg.norm(centred[1], axis=1), 1e-30)
        same = got.argmax(1) == self.logits.argmax(1)
        return {"same_answer": 100 * float(same.mean()), "cosine": float(np.mean(cosine)), "views": len(got)}


def _views() -> torch.Tensor:
    """Each photo whole, and 15 random crops of 176 to 223 pixels scaled up again, half of them mirrored."""
    rng = np.random.default_rng(SEED)
    views = []
    for name in PHOTOS:
        image = torch.from_numpy(photo(name))
        views.append(image)
        for i in range(1, VIEWS):
            size = int(rng.integers(176, 224))
            top, left = rng.integers(0, 224 - size, 2)
            crop = image[:, :, top : top + size, left : left + size]
            crop = nn.functional.interpolate(crop, (224, 224), mode="bilinear", antialias=True)
            views.append(crop.flip(3) if i % 2 else crop)
    return torch.cat(views).contiguous()


def _random(network: str) -> tuple[nn.Module, torch.Tensor]:
    """A network with seeded random weights, and an input."""
    if network == "vgg16_cifar":
        # Li et al. 2017: VGG-16's convolutions with batch norm, then 512 and 10 units.
        features = VGG(16, True, width=1.0).features
        model: nn.Module = nn.Sequential(features, nn.Flatten(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
        size: tuple[int, ...] = models.CIFAR
    else:
        model, size = models.create(network), models.input_shape(network)
    models.seeded_init(model, SEED, size)
    return model.eval(), torch.randn(1, *size, generator=torch.Generator().manual_seed(2))
