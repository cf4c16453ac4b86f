"""pytest-benchmark over networks and matrices: what to run, and engines that take turns.

    pytest benchmarks/ --benchmark-only                                 # a selection: some minutes
    pytest benchmarks/ --benchmark-only --networks resnet50,vgg16 --sparsity 0,80,95 --engines sparsenet,ncnn
    pytest benchmarks/ --benchmark-only --benchmark-save=mine           # then: --benchmark-compare

Each test measures in a process of its own, pinned to as many cores as --threads says: one that a peer crashes, even in
the middle of the timing, is a skipped test with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import pytest

from sparsenet import apart, peers
from sparsenet.timing import Timing

from . import peers as libraries
from .cases import PATTERNS, Case, CaseError, networks
from .layers import SPMM
from .side_by_side import OURS, in_turn, results

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


class _Clock:
    """pytest-benchmark's timer: it tells what calls took in the process that they were timed in."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


_CLOCK = _Clock()
_PATIENCE = 1200.0  # seconds, for a process to build, compile and time a case


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.benchmark(timer=_CLOCK))


@pytest.fixture
def record(benchmark: Any) -> Callable[[Timing], None]:
    """Makes each timed call a round of the test."""

    def replay(timing: Timing) -> None:
        left = cycle(timing.seconds)

        def call() -> None:
            _CLOCK.now += next(left)

        benchmark.pedantic(call, rounds=len(timing.seconds))

    return replay


@pytest.fixture
def alone(request: pytest.FixtureRequest, record: Callable[[Timing], None]) -> Callable[..., None]:
    """Times one candidate, for as long as --benchmark-max-time says: ``function(*args, seconds)`` returns a Timing."""

    def run(function: Callable[..., Timing], *args: Any) -> None:
        seconds = float(request.config.getoption("benchmark_max_time"))
        try:
            record(apart.call(function, *args, seconds, patience=_PATIENCE + seconds))
        except apart.Died as died:
            pytest.skip(str(died))
        except (CaseError, peers.PeerError) as error:  # says what to install, such as the package of trained weights
            pytest.skip(str(error))

    return run


@pytest.fixture
def side_by_side(
    benchmark: Any, request: pytest.FixtureRequest, record: Callable[[Timing], None]
) -> Callable[[Case, int], dict[str, Timing]]:
    """Times the engines in turn, in one process, and stores their times, their ratios to ours and the reasons of those
    that cannot in extra_info. The numbers that pytest-benchmark itself keeps for the test are ours."""
    others = [name for name in _listed(request.config, "--engines", (OURS, *peers.NAMES)) if name != OURS]

    def run(case: Case, threads: int) -> dict[str, Timing]:
        seconds = float(request.config.getoption("--turns"))
        try:
            (timings, absent), ended = apart.call_peers(
                in_turn, others, case, threads, seconds, patience=_PATIENCE + seconds
            )
        except CaseError as error:
            pytest.skip(str(error))
        benchmark.extra_info.update(missing=absent | ended, **results(timings))
        record(timings[OURS])
        return dict(timings)

    return run
