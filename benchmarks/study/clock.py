"""Times rows of one network: sparsenet and onnxruntime in turn, in one process, on one core."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import sparsenet as sn
from sparsenet import peers
from sparsenet.timing import interleave

PEER = "onnxruntime"


def measure(dense: Path, rows: dict[str, Path], shrunk: set[str], seconds: float, tune: float) -> dict[str, Any]:
    """A record for each row.

    Args:
        dense: the dense network's .snet; it takes turns here and in the peer.
        rows: key -> .snet.
        shrunk: the rows that are smaller dense networks, so that the peer has something to gain; zeros it multiplies.
        seconds: of timing for each candidate.
        tune: seconds for choosing kernels, for each network.

    Raises:
        PeerError: onnxruntime computes something else.
    """
    shape = [n or 1 for n in sn.load(dense).inputs[0][1]]
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    engines = {key: sn.compile(file, tune_seconds=tune) for key, file in {"dense": dense, **rows}.items()}
    calls: dict[str, Callable[[], object]] = {key: _call(engine, x) for key, engine in engines.items()}
    for key in ["dense", *(key for key in rows if key in shrunk)]:
        network = peers.Network(sn.load({"dense": dense, **rows}[key]), [x], [np.asarray(engines[key](x))])
        calls[f"{PEER} {key}"] = peers.prepare(PEER, network, 1)
    times = interleave(calls, seconds * len(calls), min_rounds=7)
    told = {}
    for key in ["dense", *rows]:
        ours, same = times[key], f"{PEER} {key}"
        told[key] = {
            "ms": 1e3 * ours.median,
            "p10_ms": 1e3 * ours.percentile(10),
            "dense_over_ours": times["dense"].over(ours),
            "peer_dense_over_ours": times[f"{PEER} dense"].over(ours),
            "peer_dense_ms": 1e3 * times[f"{PEER} dense"].median,
            "rounds": len(ours.turns),
            "kernels": dict(Counter(_family(step) for step in engines[key].steps if step.weights).most_common()),
            "isa": engines[key].isa,
        }
        if same in times:
            told[key] |= {
                "peer_ms": 1e3 * times[same].median,
                "peer_over_ours": times[same].over(ours),
                "peer_dense_over_peer": times[f"{PEER} dense"].over(times[same]),
            }
    return told


def _call(engine: sn.Engine, x: np.ndarray[Any, Any]) -> Callable[[], object]:
    return lambda: engine(x)


def _family(step: Any) -> str:
    """spmm_4x1_r7_avx512 -> spmm_4x1, gemm_8x3_avx512 -> gemm."""
    parts = step.kernel.split("_")
    return "_".join(parts[:2]) if parts[0] in ("spmm", "depthwise") else str(parts[0])
