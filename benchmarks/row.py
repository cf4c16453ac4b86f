"""Measures one row of the targets in a process of its own, so that a peer's crash costs one row of one peer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsenet import apart

from .cases import CaseError
from .target_table import Target

TIMEOUT = 1200.0  # seconds


def measure(
    target: Target, engines: Sequence[str], seconds: float, highest: float = 0, patience: float = 0
) -> dict[str, Any]:
    """What is known of a target: its value and all that led to it, or why it could not be measured.

    `fma_peak` holds the core's GFLOP/s before and after; the row waits up to `patience` seconds until that is near the
    `highest` seen (machine.settle). A peer that kills the process is left out, with the signal as its reason, and the
    row is measured without it.
    """
    try:
        told, ended = apart.call_peers(_once, engines, target, seconds, highest, patience, patience=TIMEOUT + patience)
    except Exception as error:  # one row's, whatever it is; the others go on
        return {"error": " ".join(str(error).split())[:300] or type(error).__name__, "missing": {}}
    return {**told, "missing": told.get("missing", {}) | ended}


def _once(engines: Sequence[str], target: Target, seconds: float, highest: float, patience: float) -> dict[str, Any]:
    import torch

    from . import machine, own, side_by_side

    torch.set_num_threads(target.threads)
    cores = side_by_side.pin(target.threads)
    before = machine.settle(highest, patience)
    try:
        if target.kind == "peers":
            told = side_by_side.measure(target.case, engines, target.threads, seconds)
            ratios = told["ratios"]
            if ratios:
                told["best"] = min(ratios, key=ratios.__getitem__)
                told["value"] = ratios[told["best"]]
                told["value_p10"] = min(told["ratios_p10"].values())
        else:
            told = own.KINDS[target.kind](target.case, target.threads, seconds)
    except CaseError as error:
        told = {"error": str(error)}
    return {**told, "cores": cores, "fma_peak": [before, machine.fma_peak()]}
