"""Every network, dense and pruned, on every instruction set, thread count and batch size, against PyTorch in fp64.

    python -m benchmarks.conformance                      # all networks at full size: a long run
    python -m benchmarks.conformance --small              # the same architectures narrowed: minutes
    python -m benchmarks.conformance resnet50 --isa avx2
    python -m benchmarks.conformance --small --isa neon --runner "qemu-aarch64 -L /usr/aarch64-linux-gnu sparsenet-run"

One row for each network and pruning: the largest error of all runs over the bound that sparsenet.reference derives for
the network (1 is the bound). Exit code 1 if any is above. `--runner` runs a saved .snet with sparsenet-run, on this
machine or under an emulator, instead of the engine in this process.
"""

from __future__ import annotations

import argparse
import copy
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import sparsenet as sn
from sparsenet import _core, reference
from sparsenet.frontends.torch_export import export_module

from .models import create, create_small, input_shape, measure_batch_norm, names, seeded_init, sparsify

Array = np.ndarray[Any, np.dtype[np.float32]]
# (graph, isa, threads) -> (a batch -> the network's first output)
Compile = Callable[[sn.Graph, str, int], Callable[[Array], Array]]

# The constant of the bound |y - ref| <= c sqrt(K) eps sum|w x|; rounding errors of random sign stay below 1 to 2.
C = 2.0
PRUNINGS = {
    "dense": (0.0, "unstructured"),
    "50 % of weights": (0.5, "unstructured"),
    "90 % of weights": (0.9, "unstructured"),
    "50 % of filters": (0.5, "filters"),
}


@dataclass
class Row:
    network: str
    pruning: str
    zeros: float  # fraction of the graph's constants that is zero
    errors: dict[str, float] = field(default_factory=dict)  # "avx2/2/3": ISA, threads, batch -> error over bound

    @property
    def worst(self) -> str:
        return max(self.errors, key=self.errors.__getitem__)


def in_process(graph: sn.Graph, isa: str, threads: int) -> Callable[[Array], Array]:
    """sparsenet's engine, its kernels chosen by the cost model."""
    engine = sn.compile(graph, threads=threads, isa=isa, tune=False)

    def run(x: Array) -> Array:
        y: Array = engine(x)
        return y

    return run


def by_runner(command: str) -> Compile:
    """sparsenet-run, called as `command`."""

    def compile_(graph: sn.Graph, isa: str, threads: int) -> Callable[[Array], Array]:
        def run(x: Array) -> Array:
            with tempfile.TemporaryDirectory() as folder:
                model, source, result = (str(Path(folder) / name) for name in ("model.snet", "x.raw", "y.raw"))
                graph.save(model)
                x.tofile(source)
                options = f"--isa {isa} --threads {threads} --batch {len(x)} --repeat 1 --warmup 0 --tune 0".split()
                files = ["--input", source, "--output", result]
                subprocess.run([*shlex.split(command), model, *options, *files], check=True, stdout=subprocess.DEVNULL)
                shape = graph.outputs[0][1][1:]
                return np.fromfile(result, np.float32).reshape(len(x), *(size or 0 for size in shape))

        return run

    return compile_


def conformance(
    name: str,
    small: bool = True,
    isas: Sequence[str] | None = None,
    threads: Sequence[int] = (1, 2),
    batches: Sequence[int] = (1, 3),
    prunings: Sequence[str] = tuple(PRUNINGS),
    compile_: Compile = in_process,
) -> Iterator[Row]:
    """A row for each pruning of one network. The import is done once: the program reads the weights of the model."""
    model = create_small(name) if small else create(name)
    shape = input_shape(name, small)
    x = torch.randn(max(batches), *shape, generator=torch.Generator().manual_seed(5))
    program, why_static = export_module(model, x[:1])
    if why_static is not None:
        raise AssertionError(f"{name}: the batch is not symbolic: {why_static}")
    for pruning in prunings:
        sparsity, pattern = PRUNINGS[pruning]
        sparsify(seeded_init(model, seed=0), sparsity, seed=1, pattern=pattern)
        measure_batch_norm(model, seed=2)
        graph = sn.from_torch(program)
        with torch.no_grad():
            truth = copy.deepcopy(model).double()(x.double()).numpy()
        (limit,) = reference.bound(graph, [x.numpy()], C).values()
        row = Row(name, pruning, _zeros(graph))
        for isa in isas or _core.isas():
            for count in threads:
                run = compile_(graph, isa, count)
                for batch in batches:
                    y = run(x[:batch].numpy())
                    ratio = reference.worst(y, truth[:batch], limit[:batch])
                    row.errors[f"{isa}/{count}/{batch}"] = ratio
        yield row


def _zeros(graph: sn.Graph) -> float:
    weights = [w for w in map(graph.constant, graph.values) if w is not None and w.ndim > 1]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.size for w in weights)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Every network against PyTorch in fp64.")
    parser.add_argument("networks", nargs="*", help=f"some of: {', '.join(names())} (all)")
    parser.add_argument("--small", action="store_true", help="narrowed networks and small images")
    parser.add_argument("--isa", action="append", help=f"instruction set, repeatable (here: {', '.join(_core.isas())})")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--runner", help="command that runs sparsenet-run; without it, the engine in this process")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.networks if name not in names()]
    if unknown:
        parser.error(f"no network {', '.join(unknown)}; there are {', '.join(names())}")
    if options.runner and not options.isa:
        parser.error("--runner needs --isa")
    torch.set_num_threads(1)
    console = Console()
    columns = "network", "pruning", "zeros", "runs", "error / bound", "isa/threads/batch"
    table = Table(*columns, title="conformance to fp64")
    failed = False
    for name in options.networks or names():
        with console.status(name):
            rows = conformance(
                name,
                options.small,
                options.isa,
                options.threads,
                options.batches,
                compile_=by_runner(options.runner) if options.runner else in_process,
            )
            for row in rows:
                error = row.errors[row.worst]
                failed |= not error <= 1
                mark = "" if error <= 1 else "[red]"
                runs = str(len(row.errors))
                table.add_row(row.network, row.pruning, f"{row.zeros:.0%}", runs, f"{mark}{error:.3f}", row.worst)
    console.print(table)
    console.print("[red]above the bound" if failed else "all within the bound")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
