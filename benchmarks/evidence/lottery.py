"""Lottery tickets (Frankle & Carbin 2019): LeNet-300-100 on MNIST at 51, 21, 7 and 3.6 % of its weights.

    python -m benchmarks.evidence.lottery [--quick] [--seeds 3] [--epochs 4] [--out DIR]

The paper's recipe (Adam at 1.2e-3, batches of 60, Glorot weights, 20 % a round and 10 % of the output layer, optimiser
anew each round), shortened: the paper trains for 50,000 iterations. Each ticket is compared with its mask on weights
drawn anew, and with its first weights under a shuffled mask. "Iterations" is when the error on the held-out images is
first as low as the dense net's at its end; looked at every 100.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.evidence.nets import make
from benchmarks.evidence.plots import curve, log_axis, picture
from benchmarks.evidence.run import Run, mean, restored, show, spread, start
from benchmarks.evidence.training import Recipe, error, errors, train
from sparsenet import prune
from sparsenet.cli.common import positive_int
from sparsenet.report.data import Batches, Data

LEVELS = {3: "51 %", 7: "21 %", 12: "7 %", 15: "3.6 %"}
QUICK_LEVELS = {2: "64 %"}
CONTROLS: dict[str, Callable[[nn.Module, int], nn.Module]] = {
    "random reinit": lambda model, seed: prune.random_reinit(model, seed, glorot),
    "random mask": lambda model, seed: prune.random_mask(model, seed),
}


def glorot(model: nn.Module) -> nn.Module:
    """Gaussian Glorot weights and zero biases, as in the paper; in place, from torch's random state."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
            nn.init.zeros_(module.bias)
    return model


def one_seed(run: Run, data: Data, recipe: Recipe, seed: int) -> list[dict[str, Any]]:
    """Rows: the dense net, each round's ticket, and the controls at the levels."""
    levels = QUICK_LEVELS if run.quick else LEVELS
    every = 10 if run.quick else 100
    rows: list[dict[str, Any]] = []
    settings = recipe.told()
    steps = recipe.epochs * len(Batches(data.train, recipe.batch))

    def fit(key: str, way: str, model: nn.Module) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            curve: list[float] = []

            def look(step: int) -> None:
                if step % every == 0:
                    curve.append(error(model, data.valid))

            begin = 1 - prune.sparsity(model)
            train(model, data.train, recipe, seed, after_step=look)
            state = prune.bake(copy.deepcopy(model)).state_dict()
            end = errors(model, data)
            return {**end, "curve": [*curve, end["valid_error"]], "remaining": begin, "state": state}

        told = dict(run.step(f"lottery/{key}-{seed}", settings, work))
        restored(model, told.pop("state"))
        goal = rows[0]["valid_error"] if rows else told["valid_error"]
        when = next((i for i, at in enumerate(told.pop("curve")) if at <= goal), None)
        reached = None if when is None else min(every * (when + 1), steps)
        rows.append({"way": way, "seed": seed, "iterations": reached, **told})
        return told

    torch.manual_seed(seed)
    model = glorot(make("lenet300", seed))
    numbers = iter(range(max(levels) + 1))

    def train_round(model: nn.Module) -> dict[str, Any]:
        number = next(numbers)
        return fit(f"ticket-{number}", "dense" if number == 0 else "ticket", model)

    found = prune.lottery_ticket(model, train_round, max(levels))
    for number in levels:
        for way, control in CONTROLS.items():
            fit(f"{way.replace(' ', '-')}-{number}", way, control(copy.deepcopy(found.ticket(number)), seed + 7))
    return rows


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the seeds; iterations only where every seed got there."""
    result = []
    for way, remaining in dict.fromkeys((row["way"], round(row["remaining"], 3)) for row in rows):
        same = [row for row in rows if (row["way"], round(row["remaining"], 3)) == (way, remaining)]
        there = [row for row in same if row["iterations"] is not None]
        result.append({"way": way, "remaining": 100 * mean(same, "remaining"), "test_error": mean(same, "test_error"),
                       "half_range": spread(same, "test_error"), "reached": f"{len(there)} of {len(same)}",
                       "iterations": mean(there, "iterations") if len(there) == len(same) else None})
    return result


def main(argv: Sequence[str] | None = None) -> None:
    epochs = {"type": positive_int, "default": 4, "help": "of each training (default 4: 3668 iterations)"}
    run = start("lottery", __doc__, argv, epochs=epochs)
    data = run.data("mnist")
    recipe = Recipe(2 if run.quick else run.args.epochs, 1.2e-3, 60, constant=True)
    rows = [row for seed in run.seeds for row in one_seed(run, data, recipe, seed)]
    means = summary(rows)
    columns = {"<way": "way", "weights left, %": "remaining", "test error, %": "test_error", "+-": "half_range",
               "iterations": "iterations", "seeds that reach the dense error": "reached"}
    shown = [row for row in means if any(abs(row["remaining"] - c["remaining"]) < 0.1 or row["way"] == "dense"
                                         for c in means if c["way"] == "random mask")]
    show(f"Lottery tickets on {data.name}, means of {run.seeds_told}", shown, columns, "+-: half the range")
    file = run.save(data, recipe.told(), {"means": means, "rows": rows})

    def draw(axes: list[Any]) -> None:
        for ax, key, label in zip(axes, ("test_error", "iterations"), ("test error, %", "iterations"), strict=True):
            for number, way in enumerate(("ticket", *CONTROLS)):
                points = [p for p in means if p["way"] == way and p[key] is not None]
                half = [p["half_range"] for p in points] if key == "test_error" else None
                curve(ax, number, [p["remaining"] for p in points], [p[key] for p in points], way, half)
            if means[0][key] is not None:
                ax.axhline(means[0][key], color="#999999", ls="--", lw=0.8, label="dense")
            log_axis(ax)
            ax.set(xlabel="weights left, %", ylabel=label)
            ax.invert_xaxis()
            ax.legend(fontsize=7, frameon=False)
        axes[1].set_title("until the dense net's held-out error", fontsize=9)

    caption = f"LeNet-300-100, {data.name}, {run.seeds_told}, {recipe.epochs} epochs a training"
    picture(file.with_suffix(".svg"), caption, 2, draw)


if __name__ == "__main__":
    main()
