"""Weights against units at nine shares on MNIST, LeNet-300-100, before and after one epoch of retraining.

    python -m benchmarks.evidence.sweep [--quick] [--seeds 3] [--out DIR]

At each share k both hidden layers lose their smallest weights, or the units whose incoming weights have the smallest L2
norm (a unit goes with its bias); the output layer stays whole. Each k starts from the trained weights anew: pruning on
from the last k would take k of what is left, and 70 % would really be 95 %.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks.evidence.plots import curve, picture
from benchmarks.evidence.run import Run, mean, show, spread, start
from benchmarks.evidence.training import LENETS, QUICK_LENETS, Recipe, errors, train
from sparsenet import prune
from sparsenet.report.data import Data

SHARES = (0.25, 0.50, 0.60, 0.70, 0.80, 0.90, 0.95, 0.97, 0.99)
DENSE, RETRAIN = LENETS["lenet300"], Recipe(1, 1e-3, decay=0.3)
QUICK_DENSE, QUICK_RETRAIN = QUICK_LENETS["lenet300"], Recipe(1, 1e-3, 32)
WAYS = ("weights", "units")
OUTPUT, HIDDEN = "5", ("1", "3")


def rows_of(run: Run, data: Data, seed: int) -> list[dict[str, Any]]:
    """The dense net, then both ways at each share."""
    dense, retrain = (QUICK_DENSE, QUICK_RETRAIN) if run.quick else (DENSE, RETRAIN)
    model, told = run.dense("lenet300", data, dense, seed)
    rows: list[dict[str, Any]] = [{"way": "dense", "k": 0.0, "seed": seed, "before": told["test_error"], **told}]

    def pruned(way: str, k: float) -> dict[str, Any]:
        net = copy.deepcopy(model)
        if way == "weights":
            prune.magnitude(net, k, skip=[OUTPUT])
        else:
            prune.units(net, k, HIDDEN)
        before = errors(net, data)["test_error"]
        train(net, data.train, retrain, seed + 1000)
        return {"before": before, **errors(net, data)}

    for way in WAYS:
        for k in SHARES[1::4] if run.quick else SHARES:
            settings = {"dense": dense.told(), "retrain": retrain.told()}
            told = run.step(f"sweep/{way}-{k}-{seed}", settings, partial(pruned, way, k))
            rows.append({"way": way, "k": k, "seed": seed, **told})
    return rows


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean accuracies in percent over the seeds."""
    result = []
    for way, k in dict.fromkeys((row["way"], row["k"]) for row in rows):
        same = [row for row in rows if (row["way"], row["k"]) == (way, k)]
        result.append({"way": way, "k": k, "before": 100 - mean(same, "before"),
                       "after": 100 - mean(same, "test_error"), "half_range": spread(same, "test_error"),
                       "before_half_range": spread(same, "before")})
    return result


def main(argv: Sequence[str] | None = None) -> None:
    run = start("sweep", __doc__, argv)
    data = run.data("mnist")
    rows = [row for seed in run.seeds for row in rows_of(run, data, seed)]
    means = summary(rows)
    columns = {"<way": "way", "k": "k", "as pruned, %": "before", "retrained, %": "after", "+-": "half_range"}
    show(f"Test accuracy on {data.name}, means of {run.seeds_told}", means, columns, "+-: half the range")
    dense, retrain = (QUICK_DENSE, QUICK_RETRAIN) if run.quick else (DENSE, RETRAIN)
    file = run.save(data, {"dense": dense.told(), "retrain": retrain.told()}, {"means": means, "rows": rows})

    def draw(axes: list[Any]) -> None:
        stages = (("before", "before_half_range", "as pruned"), ("after", "half_range", "retrained for an epoch"))
        for ax, (key, half, title) in zip(axes, stages, strict=True):
            for number, way in enumerate(WAYS):
                points = [row for row in means if row["way"] in ("dense", way)]
                curve(ax, number, [p["k"] for p in points], [p[key] for p in points], way, [p[half] for p in points])
            ax.set(xlabel="share pruned of each hidden layer", ylabel="test accuracy, %", title=title, ylim=(0, 101))
            ax.legend(fontsize=8, frameon=False)

    picture(file.with_suffix(".svg"), f"LeNet-300-100, {data.name}, {run.seeds_told}", 2, draw)


if __name__ == "__main__":
    main()
