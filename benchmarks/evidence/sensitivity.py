"""Sensitivity of each layer of the small VGG on Fashion-MNIST (Li et al. 2017, figure 2b).

    python -m benchmarks.evidence.sensitivity [--quick] [--seeds 1] [--out DIR]

One convolution at a time loses its filters of smallest L1 norm, without retraining. The curves are taken on the
held-out images, since ratios are chosen from them; the ratios so proposed are then applied together and that network's
test error told, as pruned and after retraining.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Sequence
from typing import Any

from torch import nn

from benchmarks.evidence.criteria import PLANS, QUICK, layers_of
from benchmarks.evidence.plots import curve, picture
from benchmarks.evidence.run import Run, mean, show, start
from benchmarks.evidence.training import error, errors, train
from sparsenet import prune
from sparsenet.report.data import Data

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MAX_DROP = 1.0  # points of held-out accuracy that each layer alone may cost


def one_seed(run: Run, data: Data, seed: int) -> dict[str, Any]:
    """Curves, the proposal, and what it costs."""
    recipe, retrain = (QUICK if run.quick else PLANS["vgg"])[:2]
    model, dense = run.dense("vgg", data, recipe, seed)
    x = data.valid.x[:1]

    def cut(net: nn.Module, ratios: dict[str, float]) -> nn.Module:
        return prune.filters(net, ratios, "l1")

    def work() -> dict[str, Any]:
        layers = layers_of("vgg", model)
        ratios = RATIOS[4:5] if run.quick else RATIOS
        scan = prune.sensitivity(model, lambda net: 100 - error(net, data.valid), ratios, method=cut, layers=layers)
        proposed = scan.propose(MAX_DROP)
        small = prune.shrink(cut(copy.deepcopy(model), proposed), x)
        before = errors(small, data)["test_error"]
        train(small, data.train, retrain, seed + 100)
        cost = {"macs": prune.macs(small, x), "dense_macs": prune.macs(model, x)}
        return {"scan": scan.to_dict(), "proposed": proposed, "before": before, **errors(small, data), **cost}

    told = run.step(f"sensitivity/vgg-{seed}", {"dense": recipe.told(), "retrain": retrain.told()}, work)
    return {"seed": seed, "dense_test_error": dense["test_error"], **told}


def averaged(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The curves of all seeds: their means and half their ranges."""
    scans = [one["scan"] for one in found]
    points = {name: list(zip(*(scan["scores"][name] for scan in scans), strict=True)) for name in scans[0]["scores"]}
    return {
        "ratios": scans[0]["ratios"],
        "baseline": mean(scans, "baseline"),
        "scores": {name: [statistics.fmean(at) for at in curve_of] for name, curve_of in points.items()},
        "half_ranges": {name: [(max(at) - min(at)) / 2 for at in curve_of] for name, curve_of in points.items()},
        "proposed": {name: [one["proposed"].get(name, 0.0) for one in found] for name in points},
    }


def main(argv: Sequence[str] | None = None) -> None:
    run = start("sensitivity", __doc__, argv, seeds=1)
    data = run.data("fashion")
    found = [one_seed(run, data, seed) for seed in run.seeds]
    means = averaged(found)
    rows: list[dict[str, Any]] = []
    for name, scores in means["scores"].items():
        proposed = ", ".join(f"{share:.0%}" for share in means["proposed"][name])
        rows.append({"layer": name, "proposed": proposed, **dict(zip(map(str, means["ratios"]), scores, strict=True))})
    columns = {"<layer": "layer", **{f"{r:.0%}": str(r) for r in means["ratios"]}, "proposed": "proposed"}
    show(f"Held-out accuracy on {data.name} with one layer pruned, of {means['baseline']:.2f} %", rows, columns)
    for one in found:
        flops = one["macs"] / one["dense_macs"]
        print(f"seed {one['seed']}: the proposal, all layers at once, leaves {flops:.0%} of the FLOPs; test error")
        print(f"{one['dense_test_error']:.2f}, {one['before']:.2f} as pruned, {one['test_error']:.2f} retrained")
    recipe, retrain = (QUICK if run.quick else PLANS["vgg"])[:2]
    settings = {"dense": recipe.told(), "retrain": retrain.told(), "max_drop": MAX_DROP}
    file = run.save(data, settings, {"means": means, "seed_results": found})

    def draw(axes: list[Any]) -> None:
        for number, (name, scores) in enumerate(means["scores"].items()):
            half = [0.0, *means["half_ranges"][name]]
            curve(axes[0], number, [0, *means["ratios"]], [means["baseline"], *scores], name, half)
        axes[0].set(xlabel="share of filters pruned", ylabel="held-out accuracy, %", title="small VGG, no retraining")
        axes[0].legend(fontsize=7, frameon=False)

    picture(file.with_suffix(".svg"), f"{data.name}, {run.seeds_told}, bars: half the range", 1, draw, 5.0)


if __name__ == "__main__":
    main()
