"""Whole networks on emulated Arm cores: simulated estimates, dense and pruned, and which rankings they allow.

    python -m benchmarks.arm.nets --runner build/aarch64-static/sparsenet-run --plugin plugin.so --docs docs/arm.md

Weights are random, from a seed, so this is about speed alone. `sparsenet.prune` prunes, and spares the first
convolution and depthwise ones. Outputs are checked against the fp64 reference. --json FOLDER keeps a file for each core
and network, in the form that `sparsenet report --device` reads.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import sparsenet as sn
from benchmarks import markdown, models
from benchmarks.arm import cli
from sparsenet import prune, targets
from sparsenet.atomic import write_text
from sparsenet.targets.estimate import LABEL

TARGETS = ["qemu:cortex-a55", "qemu:cortex-a76"]
# Small enough that an emulator, some hundred times slower than a core, takes minutes: MobileNetV2 at its 96 pixels.
NETS = {"lenet5": (1, 28, 28), "resnet20": (3, 32, 32), "mobilenet_v2": (3, 96, 96)}


def _filters(model: nn.Module, example: torch.Tensor, skip: list[str]) -> nn.Module:
    return prune.shrink(prune.filters(model, 0.5, example=example, skip=skip), example)


WAYS: dict[str, Callable[[nn.Module, torch.Tensor, list[str]], nn.Module]] = {
    "dense": lambda model, example, skip: model,
    "90 % of weights": lambda model, example, skip: prune.magnitude(model, 0.9, skip=skip),
    "90 % in 4x1 blocks": lambda model, example, skip: prune.blocks(model, 0.9, (4, 1), skip=skip, strict=False),
    "50 % of filters": _filters,
}


def network(name: str, way: str) -> sn.Graph:
    """A network after its passes."""
    shape = NETS[name]
    model = models.seeded_init(models.create(name), 0, shape)
    convs = [(layer, m) for layer, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    spared = [layer for i, (layer, m) in enumerate(convs) if i == 0 or m.groups == m.in_channels > 1]
    example = torch.randn((1, *shape), generator=torch.Generator().manual_seed(1))
    model = prune.bake(WAYS[way](model, example, spared[:1] if "filters" in way else spared))
    graph = sn.from_torch(models.measure_batch_norm(model, 0, shape).eval(), (example,))
    graph.run_passes()
    return graph


def claims(rows: list[tuple[str, dict[str, Any]]]) -> str:
    """Pairs whose ranges are apart, the faster first."""
    ordered = sorted(rows, key=lambda row: row[1]["cycles"][0])
    pairs = itertools.combinations(ordered, 2)
    return "; ".join(f"{a} before {b}" for (a, x), (b, y) in pairs if x["cycles"][1] < y["cycles"][0]) or "none"


def table(found: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]]) -> str:
    """In Markdown: a row for each network, way and core, and what may be claimed."""
    columns = ["<network", "<pruned", "<core", "million cycles, simulated estimate", "million instructions"]
    columns += ["L1 misses, thousand", "L2 misses, thousand"]
    lines = []
    for (target, net), rows in found.items():
        for way, of in rows:
            low, high = (f"{cycles / 1e6:.2f}" for cycles in of["cycles"])
            cells = [net, way, target.removeprefix("qemu:"), f"{low} to {high}", f"{of['instructions'] / 1e6:.2f}"]
            lines.append([*cells, *(f"{of[f'l{i}_misses'] / 1e3:,.1f}" for i in (1, 2))])
    told = [markdown.table(columns, lines), f"All are a {LABEL}. Ranges that do not overlap, the faster first:", ""]
    told += [f"- {net} on {target.removeprefix('qemu:')}: {claims(rows)}" for (target, net), rows in found.items()]
    return "\n".join(told)


def main() -> None:
    parser = cli.parser(__doc__, "a static sparsenet-run for aarch64")
    parser.add_argument("--json", type=Path, help="folder for what is found; what it holds is not counted again")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {}
    for net, target in itertools.product(NETS, TARGETS):
        file = args.json / f"{target.removeprefix('qemu:')}-{net}.json" if args.json else None
        if file is not None and file.is_file():
            told = json.loads(file.read_text())
        else:
            begin = time.perf_counter()
            x = np.random.default_rng(0).standard_normal((1, *NETS[net]), np.float32)
            asked = []
            for way in WAYS:
                graph = network(net, way)
                asked.append(targets.Model(f"{net}, {way}", graph, {graph.inputs[0][0]: x}))
            options = targets.Options(runner=args.runner, plugin=args.plugin)
            told = {"model": net, "version": sn.__version__}
            told |= targets.measure(targets.open_target(target), asked, options)
            print(f"{net} on {target}: {time.perf_counter() - begin:.0f} s", flush=True)
            if file is not None:
                args.json.mkdir(parents=True, exist_ok=True)
                write_text(file, json.dumps(told, indent=1))
        found[target, net] = [(way, of["estimate"]) for way, of in zip(WAYS, told["models"], strict=True)]
    cli.show(args, "networks", table(found))


if __name__ == "__main__":
    main()
