"""One measurement on a target: ship, check the outputs, time in rounds, bring JSON back, leave nothing behind."""

from __future__ import annotations

import hashlib
import json
import secrets
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sparsenet import reference
from sparsenet.arrays import FloatArray
from sparsenet.graph import Graph
from sparsenet.targets.estimate import CORES, REFUSED, estimate
from sparsenet.targets.facts import facts, fastest_cpu, warnings
from sparsenet.targets.qemu import Qemu
from sparsenet.targets.runner import check_runner
from sparsenet.targets.target import Target, TargetError


@dataclass(frozen=True)
class Model:
    """A network to measure and what it is fed: fp32 arrays by input name, the batch first."""

    name: str
    graph: Graph
    inputs: Mapping[str, FloatArray]


@dataclass(frozen=True)
class Options:
    """How to measure. `affinity`: the first CPU, -1 for none, None to prefer the big cores of a big.LITTLE chip.

    `plugin` is for qemu targets: benchmarks/arm/plugin.c, built; with it cycles are estimated (see `estimate`).
    `wrap` goes before the runner on the device: `taskset`, `chrt`, an emulator. `rounds` of at least three runs and
    about `seconds` / rounds each, with `cooldown` seconds of idling before each. `say` is told what is done next.
    """

    runner: Path | None
    threads: int = 1
    isa: str | None = None
    tune: bool = True
    affinity: int | None = None
    wrap: tuple[str, ...] = ()
    plugin: Path | None = None
    rounds: int = 5
    seconds: float = 3.0
    cooldown: float = 1.0
    say: Callable[[str], None] = print


def measure(target: Target, models: Sequence[Model], options: Options) -> dict[str, Any]:
    """Runs every model on the target, first for its outputs, which must be right, then in turns for its time.

    Returns:
        target; timed (False where the runner is emulated); wrap; runner; threads; affinity; before and after (see
        `facts`); warnings; and models: for each its name, bytes, worst (error over bound), isa, batch and, if timed,
        median_ms, p10_ms and p99_ms (each the median of what the rounds found), fastest_ms and slowest_ms (the rounds'
        extreme medians), calls and the rounds themselves; with a plugin, estimate.

    Raises:
        TargetError: the device cannot be reached, the runner does not fit or fails there, or an output is wrong.
        Whatever happens, KeyboardInterrupt included, the temporary folder there is removed.
    """
    before = facts(target)
    machine = "aarch64" if target.emulator else before["arch"]
    runner, built = check_runner(options.runner, machine, any_machine=bool(options.wrap))
    emulated = bool(target.emulator) or built not in (None, before["arch"])
    cpu = options.affinity if options.affinity is not None else fastest_cpu(before, options.threads)
    cpu = None if cpu is None or cpu < 0 else cpu
    with tempfile.TemporaryDirectory(prefix="sparsenet-") as here, _folder(target) as there:
        options.say("copying")
        target.push(runner, f"{there}/sparsenet-run")
        target.shell(f"chmod 755 {shlex.quote(there)}/sparsenet-run")
        command = _command(target, there, options, cpu)
        told = []
        for index, model in enumerate(models):
            options.say(f"{model.name}: outputs")
            told.append(_first(target, command, f"{there}/{index}", Path(here), model, emulated))
        if isinstance(target, Qemu) and options.plugin:
            for index, of in enumerate(told):
                options.say(f"{of['name']}: counting instructions")
                of["estimate"] = _estimate(target, options.plugin, there, index, of)
        if not emulated:
            _rounds(target, command, there, models, told, options)
        after = facts(target)
    used = [] if cpu is None else [i for i in range(cpu, cpu + options.threads) if i in before["cpus"]]
    return {
        "target": target.name,
        "timed": not emulated,
        "wrap": [*target.emulator, *options.wrap],
        "runner": {"path": str(runner), "sha256": hashlib.sha256(runner.read_bytes()).hexdigest()},
        "threads": options.threads,
        "affinity": cpu,
        "before": before,
        "after": after,
        "warnings": [] if emulated else warnings(before, after, used or list(before["cpus"])[:1]),
        "models": told,
    }


@contextmanager
def _folder(target: Target) -> Iterator[str]:
    """A folder of our own there. At the end a runner that still goes (we were interrupted) is stopped."""
    there = f"{target.root().rstrip('/')}/sparsenet.{secrets.token_hex(6)}"
    quoted = shlex.quote(there)
    # Stop the process with the stored number only if it is ours still: numbers are used again.
    clean = (
        f"if pid=$(cat {quoted}/pid 2>/dev/null) && grep -qs {quoted}/sparsenet-run /proc/$pid/cmdline; "
        f"then kill $pid; fi; rm -rf {quoted}"
    )
    try:
        target.shell(f"mkdir -m 700 {quoted}")
        yield there
    except BaseException:
        with suppress(TargetError):  # the first error is the one to tell
            target.shell(clean)
        raise
    target.shell(clean)


def _command(target: Target, there: str, options: Options, cpu: int | None) -> str:
    words = [*target.emulator, *options.wrap, f"{there}/sparsenet-run", "--json", "--threads", str(options.threads)]
    words += ["--isa", options.isa] if options.isa else []
    words += [] if cpu is None else ["--affinity", str(cpu)]
    words += ["--tune", "1" if options.tune and not target.emulator else "0"]
    return f"echo $$ > {shlex.quote(there)}/pid && exec {shlex.join(words)}"


def _run(target: Target, command: str, *words: str) -> dict[str, Any]:
    text = target.shell(f"{command} {shlex.join(words)}")
    try:
        told: dict[str, Any] = json.loads(text)
    except ValueError:
        raise TargetError(f"{target.name}: sparsenet-run printed no JSON: {text[:200]!r}") from None
    return told


def _first(
    target: Target, command: str, there: str, here: Path, model: Model, emulated: bool
) -> dict[str, Any]:
    """Ships a model, runs it on its inputs, holds the outputs against the fp64 reference."""
    file = here / "model.snet"
    model.graph.save(file)
    target.push(file, f"{there}.snet")
    words = [f"{there}.snet", "--batch", str(len(next(iter(model.inputs.values()))))]
    for index, (name, _) in enumerate(model.graph.inputs):
        (here / "x.f32").write_bytes(np.ascontiguousarray(model.inputs[name], np.float32).tobytes())
        target.push(here / "x.f32", f"{there}.x{index}")
        words += ["--input", f"{there}.x{index}"]
    for index in range(len(model.graph.outputs)):
        words += ["--output", f"{there}.y{index}"]
    # Three runs tell how many fill a round; an emulator takes seconds for one, and its times are of no use.
    ran = _run(target, command, *words, *(("--repeat", "1", "--warmup", "0") if emulated else ("--repeat", "3")))
    expected, limits = reference.run(model.graph, model.inputs), reference.bound(model.graph, model.inputs)
    worst = 0.0
    for index, (name, _) in enumerate(model.graph.outputs):
        target.pull(f"{there}.y{index}", here / "y.f32")
        got = np.fromfile(here / "y.f32", np.float32)
        if got.size != expected[name].size:
            raise TargetError(f"{target.name}: {model.name}: {name}: {got.size} numbers, not {expected[name].size}")
        worst = max(worst, reference.worst(got.reshape(expected[name].shape), expected[name], limits[name]))
    if worst > 1:
        raise TargetError(f"{target.name}: {model.name}: wrong output: error {worst:.3g} times its bound")
    told = {"name": model.name, "bytes": file.stat().st_size, "worst": worst, "isa": ran["isa"], "batch": ran["batch"]}
    return told | ({} if emulated else {"_first_ms": ran["median_ms"]})


def _estimate(target: Qemu, plugin: Path, there: str, index: int, of: dict[str, Any]) -> dict[str, Any]:
    if target.core in REFUSED:
        return {"refused": REFUSED[target.core]}
    words = [f"{there}/sparsenet-run", f"{there}/{index}.snet", "--isa", of["isa"], "--batch", str(of["batch"])]
    return estimate(target.emulator, plugin, CORES[target.core], [*words, "--tune", "0"])


def _rounds(
    target: Target, command: str, there: str, models: Sequence[Model], told: list[dict[str, Any]], options: Options
) -> None:
    """Times the models in turns, so that a device that grows warm slows all of them alike."""
    rounds: list[list[dict[str, Any]]] = [[] for _ in models]
    counts = [
        max(3, min(10000, int(1e3 * options.seconds / options.rounds / max(of.pop("_first_ms"), 1e-3)))) for of in told
    ]
    for turn in range(options.rounds):
        for step in range(len(models)):
            index = (turn + step) % len(models)
            options.say(f"{models[index].name}: round {turn + 1} of {options.rounds}")
            time.sleep(options.cooldown)
            words = [f"{there}/{index}.snet", "--batch", str(told[index]["batch"]), "--repeat", str(counts[index])]
            ran = _run(target, command, *words, "--warmup", str(max(2, counts[index] // 10)))
            rounds[index].append({key: ran[key] for key in ("median_ms", "p10_ms", "p99_ms", "repeat")})
    for of, found in zip(told, rounds, strict=True):
        of.update({key: median(one[key] for one in found) for key in ("median_ms", "p10_ms", "p99_ms")})
        medians = [one["median_ms"] for one in found]
        of.update(calls=sum(one["repeat"] for one in found), rounds=found)
        of.update(fastest_ms=min(medians), slowest_ms=max(medians))
