"""Learning both weights and connections (Han et al. 2015) on MNIST: how few weights, at which test error.

    python -m benchmarks.evidence.han [--quick] [--seeds 3] [--out DIR]

Each network is trained, then pruned and retrained in turn down to the compressions of `PLANS`. For LeNet-300-100 the
threshold is the paper's, q standard deviations of each layer's surviving weights, with one q for all layers, found by
bisection. That prunes LeNet-5's convolutions as hard as its big linear layer: 12-fold, the held-out error went from
0.80 to 1.36 %. The paper tunes q by layer and keeps 66 % of the first convolution. One threshold for the magnitudes of
all weights keeps 76 % of it by itself, at 0.76 % held-out error, so LeNet-5 gets that. All weights count, biases do
not. Controls: 12-fold in one shot (LeNet-300-100), and the dense network trained on for as long as the one pruned
12-fold.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from benchmarks.evidence.plots import curve, picture, times_axis
from benchmarks.evidence.run import Run, mean, restored, show, spread, start
from benchmarks.evidence.training import LENETS, QUICK_LENETS, Recipe, errors, train
from sparsenet import prune
from sparsenet.prune.masks import weight_of, weighted
from sparsenet.report.data import Data


@dataclass(frozen=True)
class Plan:
    """``rule`` is "deviations" or "magnitude"; ``retrain`` is for each compression; ``oneshot`` are controls."""

    dense: Recipe
    retrain: Recipe
    rule: str
    compressions: tuple[float, ...]
    oneshot: tuple[float, ...] = ()


PLANS = {
    "lenet300": Plan(LENETS["lenet300"], Recipe(4, 1e-3, decay=0.3), "deviations", (4, 8, 12, 20, 30), (12,)),
    "lenet5": Plan(LENETS["lenet5"], Recipe(2, 1e-3), "magnitude", (12, 20, 30, 50)),
}
QUICK = {
    "lenet300": Plan(QUICK_LENETS["lenet300"], Recipe(1, 1e-3, 32), "deviations", (4, 12), (12,)),
    "lenet5": Plan(QUICK_LENETS["lenet5"], Recipe(1, 1e-3, 32), "magnitude", (12,)),
}
PAPER = {  # error in percent before and after, compression (tables 1 and 3)
    "lenet300": {"dense_error": 1.64, "error": 1.59, "compression": 12},
    "lenet5": {"dense_error": 0.80, "error": 0.77, "compression": 12},
}


def compress(model: nn.Module, compression: float, rule: str) -> float | None:
    """Prunes in place; returns the q that hits the compression, where the rule has one."""
    if rule == "magnitude":
        prune.magnitude(model, 1 - 1 / compression, scope="global")
        return None
    layers = weighted(model)
    weights = {name: weight_of(module) for name, module in layers}
    alive = {name: float(w[w != 0].std(correction=0)) for name, w in weights.items()}
    keep = sum(w.numel() for w in weights.values()) / compression
    low, high = 0.0, 10.0
    for _ in range(40):
        q = (low + high) / 2
        left = sum(int((w.abs() >= q * alive[name]).logical_and(w != 0).sum()) for name, w in weights.items())
        low, high = (q, high) if left > keep else (low, q)
    prune.threshold(model, q, survivors=True)
    return q


def stages(run: Run, net: str, data: Data, seed: int) -> list[dict[str, Any]]:
    """Rows of one seed: dense, each compression reached in turn, and the one-shot controls."""
    plan = (QUICK if run.quick else PLANS)[net]
    model, told = run.dense(net, data, plan.dense, seed)
    rows = [{"net": net, "seed": seed, "way": "dense", "compression": 1.0, **told}]
    plain = copy.deepcopy(model)

    def stage(start: nn.Module, way: str, path: tuple[float, ...]) -> nn.Module:
        settings = {"dense": plan.dense.told(), "recipe": plan.retrain.told(), "path": path}

        def work() -> dict[str, Any]:
            q = compress(start, path[-1], plan.rule)
            before = errors(start, data)["test_error"]
            train(start, data.train, plan.retrain, seed + 100 * len(path))
            kept = {name: 100 * float((weight_of(m) != 0).float().mean()) for name, m in weighted(start)}
            state = prune.bake(copy.deepcopy(start)).state_dict()
            return {"q": q, "before_retraining": before, **errors(start, data), "kept_percent": kept,
                    "real": 1 / (1 - prune.sparsity(start)), "state": state}

        told = run.step(f"han/{net}-{way}-{path[-1]:g}-{seed}", settings, work)
        told = dict(told)
        restored(start, told.pop("state"))
        rows.append({"net": net, "seed": seed, "way": way, "compression": told.pop("real"), "target": path[-1], **told})
        return start

    for i in range(len(plan.compressions)):
        model = stage(model, "iterative", plan.compressions[: i + 1])
    for compression in plan.oneshot:
        stage(copy.deepcopy(plain), "one-shot", (compression,))
    rows.append({"net": net, "seed": seed, "way": "trained on", "compression": 1.0, **trained_on(run, net, data, seed)})
    return rows


def trained_on(run: Run, net: str, data: Data, seed: int) -> dict[str, Any]:
    """The control: the dense network with the retraining that the one pruned 12-fold has had, stage by stage."""
    plan = (QUICK if run.quick else PLANS)[net]
    count = sum(compression <= 12 for compression in plan.compressions)

    def work() -> dict[str, Any]:
        model, _ = run.dense(net, data, plan.dense, seed)
        for number in range(1, count + 1):
            train(model, data.train, plan.retrain, seed + 100 * number)
        return errors(model, data)

    settings = {"dense": plan.dense.told(), "recipe": plan.retrain.told(), "stages": count}
    return run.step(f"han/{net}-trained-on-{seed}", settings, work)


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the seeds; ``holds`` says that the mean error is within 0.1 points of the dense nets'."""
    result = []
    for net in dict.fromkeys(row["net"] for row in rows):
        mine = [row for row in rows if row["net"] == net]
        dense = mean([row for row in mine if row["way"] == "dense"], "test_error")
        for way, target in dict.fromkeys((row["way"], row.get("target", 1)) for row in mine):
            same = [row for row in mine if (row["way"], row.get("target", 1)) == (way, target)]
            error = mean(same, "test_error")
            before = mean(same, "before_retraining") if "before_retraining" in same[0] else None
            result.append({"net": net, "way": way, "target": target, "compression": mean(same, "compression"),
                           "test_error": error, "half_range": spread(same, "test_error"), "lost": error - dense,
                           "valid_error": mean(same, "valid_error"), "holds": error <= dense + 0.1 + 1e-9,
                           "before_retraining": before})
    return result


def main(argv: Sequence[str] | None = None) -> None:
    nets = {"default": "lenet300,lenet5", "help": "which networks (default both)"}
    run = start("han", __doc__, argv, nets=nets)
    data = run.data("mnist")
    rows = [row for net in run.args.nets.split(",") for seed in run.seeds for row in stages(run, net, data, seed)]
    means = summary(rows)
    columns = {"<net": "net", "<way": "way", "fewer weights, x": "compression", "test error, %": "test_error",
               "+-": "half_range", "points lost": "lost", "before retraining": "before_retraining"}
    show(f"Han et al. on {data.name}, means of {run.seeds_told}", means, columns, "+-: half the range")
    plans = QUICK if run.quick else PLANS
    settings = {net: {"rule": p.rule, "dense": p.dense.told(), "retrain": p.retrain.told()} for net, p in plans.items()}
    file = run.save(data, settings, {"paper": PAPER, "means": means, "rows": rows})

    def draw(axes: list[Any]) -> None:
        for ax, net in zip(axes, dict.fromkeys(row["net"] for row in means), strict=True):
            for number, way in enumerate(("iterative", "one-shot")):
                points = [row for row in means if row["net"] == net and row["way"] in ("dense", way)]
                x, y = [p["compression"] for p in points], [p["test_error"] for p in points]
                if len(points) > 1:
                    curve(ax, number, x, y, way, [p["half_range"] for p in points])
            paper = PAPER[net]
            ax.plot([1, paper["compression"]], [paper["dense_error"], paper["error"]], "k*", label="paper")
            ax.axhline(points[0]["test_error"] + 0.1, color="#999999", ls="--", lw=0.8, label="dense + 0.1")
            times_axis(ax, sorted({row["target"] for row in means if row["net"] == net}))
            ax.set(xlabel="times fewer weights", ylabel="test error, %", title=net)
            ax.legend(fontsize=7, frameon=False)

    count = len(dict.fromkeys(row["net"] for row in means))
    picture(file.with_suffix(".svg"), f"{data.name}, {run.seeds_told}, bars: half the range", count, draw)


if __name__ == "__main__":
    main()
