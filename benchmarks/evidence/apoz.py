"""Network trimming (Hu et al. 2016): LeNet-5 20-50-500 on MNIST, trimmed by the average percentage of zeros (APoZ).

    python -m benchmarks.evidence.apoz [--quick] [--seeds 3] [--controls both] [--out DIR]

The paper's table, row by row: conv2 and fc1 are trimmed to the sizes it reports, most zeros first, counted behind the
ReLU on the held-out images, and retrained from the weights that are left; each row starts from the row before. The
last network is retrained by the recipe of the dense network, its learning rate rewound (Renda et al. 2020, "Comparing
rewinding and fine-tuning in neural network pruning"): of the two, this had the smaller held-out loss. With --controls
both, two that the paper does not have: the untrimmed network trained on for as many epochs, and the last row's network
trained from scratch for as many epochs as the trimmed one has had in all.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.evidence.plots import curve, picture
from benchmarks.evidence.run import Run, mean, show, spread, start
from benchmarks.evidence.training import LENETS, QUICK_LENETS, Recipe, errors, train
from sparsenet import prune
from sparsenet.report.builtin import LeNet5
from sparsenet.report.data import Batches, Data, Split

DENSE, RETRAIN = LENETS["lenet5"], Recipe(2, 1e-3, decay=0.3)  # the last row is retrained by the former
QUICK_DENSE, QUICK_RETRAIN = QUICK_LENETS["lenet5"], Recipe(1, 1e-3, 32)
# (conv2, fc1), accuracy in percent right after trimming and after retraining: the paper's table 1.
PAPER = (
    ((50, 500), 10.52, 99.31),
    ((41, 426), 98.75, 99.29),
    ((31, 349), 95.34, 99.30),
    ((26, 293), 88.21, 99.25),
    ((24, 252), 96.75, 99.26),
)


def few_of(split: Split) -> Batches:
    return Batches(split, 500)


@torch.no_grad()
def zeros_of_units(model: nn.Module, layer: nn.Linear, split: Split) -> Tensor:
    """[units]: on which share of the images a hidden unit's ReLU gives zero."""
    counts: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: counts.append((output <= 0).sum(0)))
    try:
        for x, _ in few_of(split):
            model(x)
    finally:
        handle.remove()
    return torch.stack(counts).sum(0) / len(split)


def trim(model: LeNet5, sizes: tuple[int, int], split: Split) -> nn.Module:
    """A smaller network with (conv2, fc1) of these sizes: the filters and units with the most zeros are gone."""
    filters, units = sizes
    zeros = zeros_of_units(model, model.fc1, split)
    # Half a filter more than is to stay: whatever the rounding, int(n * (1 - ratio)) is that number.
    ratio = 1 - (filters + 0.5) / model.conv2.out_channels
    prune.filters(model, {"conv2": ratio}, criterion="apoz", loader=few_of(split))
    keep = torch.zeros(len(zeros), dtype=torch.bool)
    keep[torch.argsort(zeros, stable=True)[:units]] = True
    prune.set_mask(model.fc1, "weight", keep[:, None].expand(-1, model.fc1.in_features))
    prune.set_mask(model.fc1, "bias", keep)
    return prune.shrink(model, split.x[:1])


def rows_of(run: Run, data: Data, seed: int) -> list[dict[str, Any]]:
    """The dense net, a row for each size, and the controls."""
    dense, retrain = (QUICK_DENSE, QUICK_RETRAIN) if run.quick else (DENSE, RETRAIN)
    sizes = [size for size, _, _ in PAPER[1:]]
    sizes = sizes[-1:] if run.quick else sizes
    trained, told = run.dense("lenet5", data, dense, seed)
    full = prune.parameters(trained)
    rows: list[dict[str, Any]] = [{"network": "20-50-500-10", "compression": 1.0, "seed": seed, **told}]
    settings = {"dense": dense.told(), "retrain": retrain.told(), "sizes": sizes}
    settings_of_last = {**settings, "last": dense.told()}
    model: nn.Module = trained

    def row(number: int) -> dict[str, Any]:
        small = trim(copy.deepcopy(model), sizes[number], data.valid)
        before = errors(small, data)["test_error"]
        recipe = dense if sizes[number] == sizes[-1] else retrain
        train(small, data.train, recipe, seed + 100 * (number + 1))
        return {"before": before, **errors(small, data), "parameters": prune.parameters(small),
                "state": small.state_dict()}

    for number, size in enumerate(sizes):
        chosen = settings_of_last if size == sizes[-1] else settings
        told = dict(run.step(f"apoz/{size[0]}-{size[1]}-{seed}", chosen, partial(row, number)))
        model = LeNet5((20, *size))
        model.load_state_dict(told.pop("state"))
        model.eval()
        rows.append({"network": f"20-{size[0]}-{size[1]}-10", "seed": seed,
                     "compression": full / told["parameters"], **told})

    def control(scratch: bool) -> dict[str, Any]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 5000)
            net = LeNet5((20, *sizes[-1])) if scratch else copy.deepcopy(trained)
        epochs = retrain.epochs * (len(sizes) - 1) + dense.epochs * (2 if scratch else 1)
        train(net, data.train, dataclasses.replace(dense, epochs=epochs), seed + 6000)
        return {**errors(net, data), "epochs": epochs}

    smallest = rows[-1]["compression"]
    names = {"trained-on": "20-50-500-10, trained on", "scratch": f"20-{sizes[-1][0]}-{sizes[-1][1]}-10, scratch"}
    for kind, name in names.items():
        if run.args.controls not in (kind, "both"):
            continue
        scratch = kind == "scratch"
        told = run.step(f"apoz/control-{scratch}-{seed}", settings_of_last, partial(control, scratch))
        rows.append({"network": name, "seed": seed, "compression": smallest if scratch else 1.0, **told})
    return rows


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean accuracies in percent beside the paper's."""
    paper = {f"20-{size[0]}-{size[1]}-10": (before, after) for size, before, after in PAPER}
    dense = mean([row for row in rows if row["network"] == "20-50-500-10"], "test_error")
    result = []
    for network in dict.fromkeys(row["network"] for row in rows):
        same = [row for row in rows if row["network"] == network]
        before = 100 - mean(same, "before") if "before" in same[0] else None
        error = mean(same, "test_error")
        before_paper, after_paper = paper.get(network, (None, None))
        result.append({"network": network, "compression": mean(same, "compression"), "before": before,
                       "after": 100 - error, "half_range": spread(same, "test_error"), "lost": error - dense,
                       "paper_before": before_paper, "paper_after": after_paper})
    return result


def main(argv: Sequence[str] | None = None) -> None:
    controls = {"choices": ["trained-on", "scratch", "both"], "help": "train these as well: up to twice as long"}
    run = start("apoz", __doc__, argv, controls=controls)
    data = run.data("mnist")
    means = summary(rows := [row for seed in run.seeds for row in rows_of(run, data, seed)])
    columns = {"<network": "network", "compression": "compression", "trimmed, %": "before", "paper": "paper_before",
               "retrained, %": "after", "+-": "half_range", "paper ": "paper_after", "points lost": "lost"}
    show(f"Test accuracy on {data.name}, means of {run.seeds_told}", means, columns, "+-: half the range")
    dense, retrain = (QUICK_DENSE, QUICK_RETRAIN) if run.quick else (DENSE, RETRAIN)
    settings = {"dense": dense.told(), "retrain": retrain.told(), "last": dense.told()}
    file = run.save(data, settings, {"means": means, "rows": rows})

    def draw(axes: list[Any]) -> None:
        ours = [row for row in means if row["before"] is not None or row["compression"] == 1.0][: len(PAPER)]
        ours = [row for row in ours if "trained" not in row["network"]]
        x = [row["compression"] for row in ours]
        curve(axes[0], 0, x, [row["after"] for row in ours], "ours", [row["half_range"] for row in ours])
        curve(axes[0], 1, x, [row["paper_after"] for row in ours], "paper")
        for number, row in enumerate(row for row in means if row["paper_after"] is None):
            curve(axes[0], 2 + number, [row["compression"]], [row["after"]], row["network"], [row["half_range"]])
        axes[0].set(xlabel="times fewer parameters", ylabel="test accuracy, %", title="LeNet-5 by APoZ, retrained")
        axes[0].legend(fontsize=7, frameon=False)

    picture(file.with_suffix(".svg"), f"{data.name}, {run.seeds_told}, bars: half the range", 1, draw, 5.0)


if __name__ == "__main__":
    main()
