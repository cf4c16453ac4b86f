"""Criteria side by side on Fashion-MNIST or CIFAR-10: accuracy against FLOPs, .snet bytes and latency in our engine.

    python -m benchmarks.evidence.criteria [--quick] [--nets vgg,resnet20] [--dataset cifar10] [--seeds 1] [--out DIR]
    python -m benchmarks.evidence.criteria --latency     # the same, then times every file; on a quiet core

Filters: L1, FPGM, APoZ, Taylor and random at the same ratio in every layer; slimming ranks all filters together, on a
network trained with its L1 term. On the VGG also, at the larger ratio, greedy L1, L2 and mean activation, and, of the
first seed, a learned agent, which finds each layer's ratio itself. Pruned filters are taken out (prune.shrink) before
retraining. Weights: by magnitude, all layers but the first; on the VGG also ranked over all layers together, in
patterns (N:M, 4x1 blocks), and gradually while it retrains. In ResNet-20 the first convolution of each block is
pruned: residual sums stay as they are. Controls, trained from scratch for as many epochs as the others have had in
all: the shape that a ratio in every layer leaves, those that slimming finds, and the agent's.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import sparsenet
from benchmarks.evidence.nets import make
from benchmarks.evidence.pictures import criteria_picture
from benchmarks.evidence.run import Run, mean, show, spread, start
from benchmarks.evidence.training import Recipe, errors, train
from sparsenet import prune
from sparsenet.prune.cost import graph_macs
from sparsenet.report.data import Batches, Data
from sparsenet.timing import interleave

FILTERS = ("l1", "fpgm", "apoz", "taylor", "random", "slimming")
# Near relations of these, on the VGG at its larger ratio, where criteria differ most.
MORE_FILTERS = ("l1 greedy", "l2", "activation_mean")
QUICK_MORE = ("l1 greedy",)
QUICK_FILTERS = ("apoz", "slimming")
# Training, retraining, filter ratios, weight sparsities.
PLANS: dict[str, tuple[Recipe, Recipe, tuple[float, ...], tuple[float, ...]]] = {
    "vgg": (Recipe(4, 4e-3), Recipe(1), (0.3, 0.6), (0.8, 0.9, 0.95)),
    "resnet20": (Recipe(3, 4e-3, bf16=True), Recipe(1, bf16=True), (0.5,), (0.9,)),
}
QUICK = (Recipe(1, 4e-3, 32), Recipe(1, batch=32), (0.5,), (0.9,))
# Other ways to prune weights, on the VGG: the share of zeros that each is run at.
WAYS: dict[str, tuple[float, Callable[..., Any]]] = {
    "weights global": (0.9, partial(prune.magnitude, sparsity=0.9, scope="global")),
    "weights 2:4": (0.5, partial(prune.n_m, n=2, m=4)),
    "weights 1:4": (0.75, partial(prune.n_m, n=1, m=4)),
    "blocks 4x1": (0.8, partial(prune.blocks, sparsity=0.8, block=(4, 1))),
}
QUICK_WAYS = ("weights 2:4",)
GRADUAL = 0.9
# The paper's 1e-4 is for 160 epochs of SGD; in a few epochs of Adam it moves no scale.
SLIMMING_STRENGTH = 1e-3
SCORED_ON = 2000  # held-out images that APoZ, mean activation and Taylor look at
REWARDED_ON = 500  # held-out images that the agent's every draw is judged by


def layers_of(net: str, model: nn.Module) -> list[str]:
    """The convolutions whose filters are pruned."""
    convs = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    return [name for name in convs if "." in name and name.endswith("conv1")] if net == "resnet20" else convs


def prune_filters(
    net: str, model: nn.Module, criterion: str, ratio: float | None, data: Data, seed: int, draws: int = 60
) -> nn.Module:
    """A smaller network; without a ratio the agent finds one for each layer, in so many draws."""
    x, chosen = data.valid.x[:1], layers_of(net, model)
    scored = Batches(data.valid.head(SCORED_ON), 250)
    if ratio is None:
        judges = Batches(data.valid.head(REWARDED_ON), 250)
        prune.learn_filters(model, judges, x, episodes=draws, layers=chosen, seed=seed)
    elif criterion == "slimming":
        skip = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and n not in chosen]
        prune.filters(model, ratio, "bn_scale", example=x, scope="global", max_per_layer=0.9, skip=skip)
    else:
        name, greedy = criterion.removesuffix(" greedy"), criterion.endswith(" greedy")
        loader = scored if name in ("apoz", "activation_mean", "taylor") else None
        ratios = dict.fromkeys(chosen, ratio)
        prune.filters(model, ratios, name, example=x, loader=loader, greedy=greedy, seed=seed)
    return prune.shrink(model, x)


def shape_in(file: Path, dense: nn.Module, data: Data) -> nn.Module:
    """A VGG with as many filters in each layer as the .snet has; which ones stay is of no account."""
    graph, model = sparsenet.load(file), copy.deepcopy(dense)
    left = [len(graph.constant(node.inputs[1])) for node in graph.nodes if node.op == "Conv"]
    convs = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    # Half a filter more than is to stay, against rounding.
    ratios = {name: max(0.0, 1 - (n + 0.5) / len(c.weight)) for (name, c), n in zip(convs.items(), left, strict=True)}
    prune.filters(model, ratios, "l1", example=data.valid.x[:1])
    return prune.shrink(model, data.valid.x[:1])


def folder(data: Data) -> str:
    """Of the cache: what is trained on another data set lies elsewhere."""
    return f"criteria-{data.name}" if data.name == "cifar10" else "criteria"


def slimmed(run: Run, net: str, data: Data, recipe: Recipe, seed: int) -> nn.Module:
    """The network trained with an L1 term on the scales of its batch norms."""
    image = tuple(data.train.x.shape[1:])

    def work() -> dict[str, Any]:
        model = make(net, seed, image)
        slimming = prune.Slimming(model, SLIMMING_STRENGTH)
        slimming.start()
        train(model, data.train, recipe, seed, before_step=slimming.add_gradient)
        return {**errors(model, data), "state": model.state_dict()}

    told = run.step(f"{folder(data)}/{net}-slimming-{seed}", {**recipe.told(), "strength": SLIMMING_STRENGTH}, work)
    model = make(net, seed, image)
    model.load_state_dict(told["state"])
    return model.eval()


def measured(model: nn.Module, data: Data, file: Path) -> dict[str, Any]:
    """Errors, sizes, and the .snet, written to ``file``."""
    plain = prune.bake(copy.deepcopy(model)).eval()
    graph = sparsenet.from_torch(plain, (data.valid.x[:1],))
    graph.run_passes()
    file.parent.mkdir(parents=True, exist_ok=True)
    graph.save(file)
    nonzeros = sum(int(p.count_nonzero()) for p in plain.parameters())
    return {**errors(plain, data), "bytes": file.stat().st_size, "macs": graph_macs(graph, zeros=False),
            "nonzeros": nonzeros}


def one_seed(run: Run, net: str, data: Data, seed: int) -> list[dict[str, Any]]:
    """Rows: the dense net, every criterion at every ratio, weights, and the controls from scratch."""
    recipe, retrain, ratios, sparsities = QUICK if run.quick else PLANS[net]
    if run.args.stored and not run.place(f"dense/{net}-{data.name}-{seed}", recipe.told()).is_file():
        return []
    dense, _ = run.dense(net, data, recipe, seed)
    settings = {"dense": recipe.told(), "retrain": retrain.told(), "scored_on": SCORED_ON, "slim": SLIMMING_STRENGTH}
    rows: list[dict[str, Any]] = []

    def row(method: str, ratio: float | None, make_model: Callable[[Path], dict[str, Any]]) -> Path:
        key = f"{folder(data)}/{net}-{method.replace(' ', '-').replace(':', 'of')}-{ratio}-{seed}"
        file = run.args.cache / f"{key}{'-quick' * run.quick}.snet"
        if not run.args.stored or run.place(key, settings).is_file():
            told = run.step(key, settings, lambda: make_model(file))
            rows.append({"net": net, "method": method, "ratio": ratio, "seed": seed, "file": str(file), **told})
        return file

    @cache
    def pruned(criterion: str, ratio: float | None) -> nn.Module:
        base = slimmed(run, net, data, recipe, seed) if criterion == "slimming" else copy.deepcopy(dense)
        return prune_filters(net, base, criterion, ratio, data, seed, 10 if run.quick else 60)

    def filters(criterion: str, ratio: float | None, file: Path) -> dict[str, Any]:
        small = copy.deepcopy(pruned(criterion, ratio))
        before = errors(small, data)["test_error"]
        train(small, data.train, retrain, seed + 100)
        return {"before": before, **measured(small, data, file)}

    first = next(name for name, module in dense.named_modules() if isinstance(module, nn.Conv2d))

    def weights(way: Callable[..., Any], file: Path) -> dict[str, Any]:
        model = copy.deepcopy(dense)
        way(model, skip=[first])
        before = errors(model, data)["test_error"]
        train(model, data.train, retrain, seed + 100)
        return {"before": before, **measured(model, data, file)}

    def gradual(file: Path) -> dict[str, Any]:
        model, steps = copy.deepcopy(dense), retrain.epochs * len(Batches(data.train, retrain.batch))
        # Pruned over the first half, while the learning rate is high; what is left then trains on.
        pruner = prune.Gradual(model, GRADUAL, end=max(1, steps // 2), every=max(1, steps // 20), skip=[first])
        train(model, data.train, retrain, seed + 100, after_step=lambda _: pruner.step())
        return measured(model, data, file)

    def scratch(shape: Callable[[], nn.Module], file: Path) -> dict[str, Any]:
        longer = dataclasses.replace(recipe, epochs=recipe.epochs + retrain.epochs)
        control, _ = prune.from_scratch(shape(), lambda model: train(model, data.train, longer, seed), seed + 7)
        return measured(control, data, file)

    row("dense", 0.0, lambda file: measured(dense, data, file))
    for sparsity in sparsities:
        row("weights", sparsity, partial(weights, partial(prune.magnitude, sparsity=sparsity)))
    if net == "vgg":
        for method in QUICK_WAYS if run.quick else WAYS:
            share, way = WAYS[method]
            row(method, share, partial(weights, way))
        row("weights gradual", GRADUAL, gradual)
    criteria = QUICK_FILTERS if run.quick else FILTERS
    for ratio in ratios:
        for criterion in criteria:
            row(criterion, ratio, partial(filters, criterion, ratio))
        # Of the criteria with a ratio a layer, all leave the same shape.
        row("scratch", ratio, partial(scratch, partial(pruned, criteria[0], ratio)))
        row("scratch slimming", ratio, partial(scratch, partial(pruned, "slimming", ratio)))
    if net == "vgg":
        for criterion in QUICK_MORE if run.quick else MORE_FILTERS:
            row(criterion, ratios[-1], partial(filters, criterion, ratios[-1]))
    if net == "vgg" and seed == 0:
        agents = row("agent", None, partial(filters, "agent", None))  # whose draws the control does not make again
        row("scratch agent", None, partial(scratch, partial(shape_in, agents, dense, data)))
    return rows


def time_files(rows: list[dict[str, Any]], x: np.ndarray, seconds: float) -> None:
    """Adds "latency_ms": the median of one image, one thread, the networks of one kind in turn."""
    for net in dict.fromkeys(row["net"] for row in rows):
        mine = [row for row in rows if row["net"] == net and row["seed"] == 0]
        engines = {row["file"]: sparsenet.compile(row["file"], threads=1) for row in mine}
        timings = interleave({file: partial(engine, x) for file, engine in engines.items()}, seconds)
        for row in mine:
            row["latency_ms"] = 1e3 * timings[row["file"]].median


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the seeds, in percent and in shares of the dense network's cost; "lost" is against the same seeds."""
    result = []
    for net, method, ratio in dict.fromkeys((row["net"], row["method"], row["ratio"]) for row in rows):
        same = [row for row in rows if (row["net"], row["method"], row["ratio"]) == (net, method, ratio)]
        dense = [row for row in rows if (row["net"], row["method"]) == (net, "dense")
                 and any(row["seed"] == own["seed"] for own in same)]
        told = {"net": net, "method": method, "ratio": ratio, "after": 100 - mean(same, "test_error"),
                "lost": mean(same, "test_error") - mean(dense, "test_error"),
                "half_range": spread(same, "test_error"), "before": 100 - mean(same, "before") if "before" in same[0]
                else None, "latency_ms": same[0].get("latency_ms"), "seeds": len(same)}
        for key in ("macs", "bytes", "nonzeros"):
            told[key] = mean(same, key)
            told[f"{key}_percent"] = 100 * mean(same, key) / mean(dense, key)
        result.append(told)
    return result


def main(argv: Sequence[str] | None = None) -> None:
    nets = {"default": "vgg,resnet20", "help": "which networks (default both)"}
    latency = {"action": "store_true", "help": "time every file too"}
    seconds = {"type": float, "default": 15.0, "help": "of timing for each kind of network (default 15)"}
    stored = {"action": "store_true", "help": "train nothing: the rows that earlier runs left; each has its own seeds"}
    dataset = {"choices": ["fashion", "cifar10"], "default": "fashion", "help": "which images (default fashion)"}
    options = {"nets": nets, "dataset": dataset, "stored": stored, "latency": latency, "seconds": seconds}
    run = start("criteria", __doc__, argv, seeds=1, **options)
    data = run.data(run.args.dataset)
    rows = [row for net in run.args.nets.split(",") for seed in run.seeds for row in one_seed(run, net, data, seed)]
    if run.args.latency:
        time_files(rows, data.valid.x[:1].numpy(), run.args.seconds)
    means = summary(rows)
    columns = {"<net": "net", "<method": "method", "ratio": "ratio", "as pruned, %": "before", "retrained, %": "after",
               "lost": "lost", "seeds": "seeds", "FLOPs, %": "macs_percent", "file, %": "bytes_percent",
               "ms": "latency_ms"}
    show(f"Test accuracy on {data.name}, {run.seeds_told}; costs against dense", means, columns)
    settings = {net: {"dense": plan[0].told(), "retrain": plan[1].told()} for net, plan in PLANS.items()}
    kept = [{key: value for key, value in row.items() if key != "file"} for row in rows]
    file = run.save(data, {"slimming_strength": SLIMMING_STRENGTH, **settings}, {"means": means, "rows": kept})
    criteria_picture(means, file.with_suffix(".svg"), f"{data.name}, {run.seeds_told}")


if __name__ == "__main__":
    main()
