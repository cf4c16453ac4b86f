"""pytest-benchmark over networks and matrices: what to run, and engines that take turns.

    pytest benchmarks/ --benchmark-only                                 # a selection: some minutes
    pytest benchmarks/ --benchmark-only --networks resnet50,vgg16 --sparsity 0,80,95 --engines sparsenet,ncnn
    pytest benchmarks/ --benchmark-only --benchmark-save=mine           # then: --benchmark-compare

The process is pinned to as many cores as --threads says.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest

from sparsenet import peers
from sparsenet.timing import Timing, interleave

from . import peers as libraries
from .cases import PATTERNS, Case, CaseError, networks
from .layers import SPMM
from .side_by_side import OURS, Calls, pin, prepare, results

_DEFAULTS = {
    "--networks": ("resnet50,mobilenet_v1", "networks to time, comma-separated"),
    "--sparsity": ("0,90", "percent of zeros"),
    "--pattern": ("unstructured", f"of the zeros; of {', '.join(PATTERNS)}"),
    "--engines": (",".join((OURS, *peers.NAMES)), "sparsenet and peers"),
    "--threads": ("1", "threads of every engine"),
    "--batch": ("1", "images a call"),
    "--libraries": (",".join((OURS, *libraries.NAMES)), "for the products of matrices"),
    "--shapes": ("3", f"how many of the {len(SPMM)} matrix shapes"),
    "--turns": ("2", "seconds of taking turns in side_by_side"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sparsenet benchmarks")
    for name, (default, text) in _DEFAULTS.items():
        group.addoption(name, default=default, help=f"{text} (default {default})")


def _listed(config: pytest.Config, option: str, known: tuple[str, ...] | list[str] | None = None) -> list[str]:
    values = [value for value in config.getoption(option).split(",") if value]
    unknown = [value for value in values if known is not None and value not in known]
    if unknown:
        raise pytest.UsageError(f"{option}: no {', '.join(unknown)}; there are {', '.join(known or ())}")
    return values


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    config = metafunc.config
    if "case" in metafunc.fixturenames:
        made = [
            Case(network, pattern, int(zeros), int(batch))
            for network in _listed(config, "--networks", networks())
            for pattern in _listed(config, "--pattern", PATTERNS)
            for zeros in _listed(config, "--sparsity")
            for batch in _listed(config, "--batch")
        ]
        metafunc.parametrize("case", made, ids=str)
    if "threads" in metafunc.fixturenames:
        counts = [int(count) for count in _listed(config, "--threads")]
        metafunc.parametrize("threads", counts, ids=[f"t{count}" for count in counts])
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", _listed(config, "--engines", (OURS, *peers.NAMES)))
    if "shape" in metafunc.fixturenames:
        # Every third, so that a few are of different kinds.
        shapes = sorted(SPMM, key=lambda s: SPMM.index(s) % 3)[: int(config.getoption("--shapes"))]
        metafunc.parametrize("shape", shapes, ids=["x".join(map(str, shape)) for shape in shapes])
    if "zeros" in metafunc.fixturenames:
        metafunc.parametrize("zeros", [int(zeros) for zeros in _listed(config, "--sparsity")])
    if "library" in metafunc.fixturenames:
        metafunc.parametrize("library", _listed(config, "--libraries", (OURS, *libraries.NAMES)))


@pytest.fixture
def prepared(request: pytest.FixtureRequest) -> Callable[[Case, int], tuple[Calls, dict[str, str]]]:
    """(calls by engine, reasons of those that cannot) for a case; skips a case that cannot be built here."""
    import torch

    engines = tuple(_listed(request.config, "--engines", (OURS, *peers.NAMES)))

    def get(case: Case, threads: int) -> tuple[Calls, dict[str, str]]:
        pin(threads)
        torch.set_num_threads(threads)
        try:
            return _prepared(case, engines, threads)
        except CaseError as error:
            pytest.skip(str(error))  # says what to install, such as the package of trained weights

    return get


@lru_cache(maxsize=1)
def _prepared(case: Case, engines: tuple[str, ...], threads: int) -> tuple[Calls, dict[str, str]]:
    """Tests of one case follow each other, so one is kept: VGG-16 in five engines takes gigabytes."""
    calls, absent, _ = prepare(case, engines, threads, tune_seconds=2.0, try_first=True)
    return calls, absent


@pytest.fixture
def side_by_side(benchmark: Any, request: pytest.FixtureRequest) -> Callable[[Calls], dict[str, Timing]]:
    """Times candidates in turn, in this process, and stores their times and ratios to the first in extra_info.

    The numbers that pytest-benchmark itself keeps for the test are of the first candidate, right after.
    """

    def run(candidates: Calls) -> dict[str, Timing]:
        first = next(iter(candidates))
        timings = interleave(candidates, float(request.config.getoption("--turns")))
        benchmark.extra_info.update(results(timings, first))
        benchmark.pedantic(candidates[first], rounds=max(3, len(timings[first].turns)), warmup_rounds=1)
        return timings

    return run
