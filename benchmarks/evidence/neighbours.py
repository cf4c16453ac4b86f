"""Pruning's neighbours on LeNet-300-100, MNIST: low rank, shared, binary and ternary weights; error against bytes.

    python -m benchmarks.evidence.neighbours [--quick] [--seeds 3] [--out DIR]

Each starts from the same dense networks as `sweep`, leaves the output layer as it is, and is retrained for two epochs.
"counted" are the bytes of Deep Compression's format (`prune.compressed_size`), "Huffman" the same coded further; the
.snet has no codebooks and no signs, so that file shrinks by zeros and by smaller matrices only.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

import sparsenet
from benchmarks.evidence.plots import curve, log_axis, picture
from benchmarks.evidence.run import Run, mean, show, spread, start
from benchmarks.evidence.training import LENETS, QUICK_LENETS, Recipe, errors, train
from sparsenet import prune

DENSE, RETRAIN = LENETS["lenet300"], Recipe(2, 1e-3)
QUICK_DENSE, QUICK_RETRAIN = QUICK_LENETS["lenet300"], Recipe(1, 1e-3, 32)
SHARED_LR = 1e-4  # an entry moves hundreds of weights at once
SKIP = ["5"]

Change = Callable[[nn.Module], nn.Module]
# (kind, setting): what is done at once, and, after a first retraining, again.
WAYS: dict[tuple[str, str], tuple[Change, ...]] = {
    ("dense", ""): (),
    ("low rank", "energy 0.9"): (partial(prune.low_rank, energy=0.9, skip=SKIP),),
    ("low rank", "energy 0.7"): (partial(prune.low_rank, energy=0.7, skip=SKIP),),
    ("low rank", "energy 0.5"): (partial(prune.low_rank, energy=0.5, skip=SKIP),),
    ("pruned", "0.9"): (partial(prune.magnitude, sparsity=0.9, skip=SKIP),),
    ("shared", "5 bits"): (partial(prune.share_weights, bits=5, skip=SKIP),),
    ("shared", "2 bits"): (partial(prune.share_weights, bits=2, skip=SKIP),),
    ("pruned, shared", "0.9, 5 bits"): (
        partial(prune.magnitude, sparsity=0.9, skip=SKIP),
        partial(prune.share_weights, bits=5, skip=SKIP),
    ),
    ("ternary", ""): (partial(prune.ternarize, skip=SKIP),),
    ("binary", ""): (partial(prune.binarize, skip=SKIP),),
}
QUICK_WAYS = (("dense", ""), ("low rank", "energy 0.7"), ("pruned, shared", "0.9, 5 bits"), ("binary", ""))


def rows_of(run: Run, seed: int) -> list[dict[str, Any]]:
    """A row for each way, of one seed."""
    data = run.data("mnist")
    dense, retrain = (QUICK_DENSE, QUICK_RETRAIN) if run.quick else (DENSE, RETRAIN)
    trained, _ = run.dense("lenet300", data, dense, seed)

    def changed(kind: str, changes: Sequence[Change]) -> dict[str, Any]:
        model, before = copy.deepcopy(trained), errors(trained, data)["test_error"]
        for change in changes:
            change(model)
            before = errors(model, data)["test_error"]
            shared = change is changes[-1] and "shared" in kind
            recipe = Recipe(retrain.epochs, SHARED_LR, retrain.batch) if shared else retrain
            train(model, data.train, recipe, seed + 2000)
        size, plain = prune.compressed_size(model), prune.bake(copy.deepcopy(model))
        graph = sparsenet.from_torch(plain, (data.valid.x[:1],))
        graph.run_passes()
        nonzeros = sum(int(parameter.count_nonzero()) for parameter in plain.parameters())
        return {"before": before, **errors(plain, data), "counted": size.bytes, "huffman": size.huffman_bytes,
                "snet": len(sparsenet._core.save_bytes(graph)), "nonzeros": nonzeros}

    rows = []
    for kind, setting in QUICK_WAYS if run.quick else WAYS:
        key = f"neighbours/{kind}-{setting}-{seed}".replace(", ", "-").replace(" ", "-")
        settings = {"dense": dense.told(), "retrain": retrain.told(), "shared_lr": SHARED_LR}
        told = run.step(key, settings, partial(changed, kind, WAYS[kind, setting]))
        rows.append({"kind": kind, "setting": setting, "seed": seed, **told})
    return rows


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the seeds, errors in percent."""
    result = []
    for kind, setting in dict.fromkeys((row["kind"], row["setting"]) for row in rows):
        same = [row for row in rows if (row["kind"], row["setting"]) == (kind, setting)]
        means = {key: mean(same, key) for key in ("before", "test_error", "counted", "huffman", "snet", "nonzeros")}
        result.append({"kind": kind, "setting": setting, "half_range": spread(same, "test_error"), **means})
    return result


def main(argv: Sequence[str] | None = None) -> None:
    run = start("neighbours", __doc__, argv)
    rows = [row for seed in run.seeds for row in rows_of(run, seed)]
    data, means = run.data("mnist"), summary(rows)
    columns = {"<way": "kind", "<setting": "setting", "as changed, error %": "before", "retrained": "test_error",
               "+-": "half_range", "counted, bytes": "counted", "Huffman": "huffman", ".snet": "snet"}
    show(f"Test error on {data.name}, means of {run.seeds_told}", means, columns, "+-: half the range")
    dense, retrain = (QUICK_DENSE, QUICK_RETRAIN) if run.quick else (DENSE, RETRAIN)
    settings = {"dense": dense.told(), "retrain": retrain.told(), "shared_lr": SHARED_LR}
    file = run.save(data, settings, {"means": means, "rows": rows})

    def draw(axes: list[Any]) -> None:
        for number, kind in enumerate(dict.fromkeys(row["kind"] for row in means)):
            mine = [row for row in means if row["kind"] == kind]
            curve(axes[0], number, [row["counted"] / 1e3 for row in mine], [row["test_error"] for row in mine], kind,
                  [row["half_range"] for row in mine])
        log_axis(axes[0])
        axes[0].set(xlabel="kB, counted", ylabel="test error, %", title="LeNet-300-100, retrained")
        axes[0].legend(fontsize=7, frameon=False)

    picture(file.with_suffix(".svg"), f"{data.name}, {run.seeds_told}, bars: half the range", 1, draw, 5.0)


if __name__ == "__main__":
    main()
