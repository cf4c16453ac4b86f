"""What a process holds while it runs a network from a file: packed weights and the arena, and never dense weights."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sparsenet as sn
from sparsenet import reference
from sparsenet.errors import InvalidArgumentError

MIB = 1 << 20
LAYERS, CHANNELS, SIDE = 8, 512, 7
DENSE = LAYERS * CHANNELS * CHANNELS * 9 * 4

SCRIPT = """
import gc, json, sys
import numpy as np
import sparsenet as sn
from sparsenet import reference
import sparsenet.engine

def status(key):
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))

x = np.ones({shape}, np.float32)
before = status("VmRSS")
engine = sn.compile(sys.argv[1], tune=sys.argv[2] == "tune", tune_seconds=0.3)
gc.collect()
compiled = status("VmRSS")
y = engine(x)
print(json.dumps(dict(compiled=compiled - before, running=status("VmRSS") - before, peak=status("VmHWM") - before,
                      packed=engine.packed_bytes, arena=engine._backend.arena_bytes(1))))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """75 MB of weights were they dense, 95 % of them zeros; with batch norms to fold."""
    rng = np.random.default_rng(0)
    graph = sn.Graph()
    x = graph.add_input("x", (None, CHANNELS, SIDE, SIDE))
    attrs = {"stride": [1, 1], "padding": [1] * 4, "dilation": [1, 1]}
    for i in range(LAYERS):
        shape = (CHANNELS, CHANNELS, 3, 3)
        w = np.where(rng.random(shape) < 0.05, rng.standard_normal(shape, np.float32), np.float32(0))  # no -0.0
        x = graph.add_node("Conv", [x, graph.add_constant(f"w{i}", 0.1 * w)], attrs)
        norm = [graph.add_constant(f"n{i}{j}", 0.5 + rng.random(CHANNELS, np.float32)) for j in range(4)]
        x = graph.add_node("Activation", [graph.add_node("BatchNorm", [x, *norm])], {"act": "relu"})
    graph.set_outputs([x])
    path = tmp_path_factory.mktemp("memory") / "model.snet"
    graph.save(path)
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("tune", ["tune", "choose"])
def test_a_process_holds_packed_weights_and_the_arena(model: Path, tune: str) -> None:
    script = SCRIPT.replace("{shape}", repr((1, CHANNELS, SIDE, SIDE)))
    command = [sys.executable, "-c", script, str(model), tune]
    held = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=model.parent).stdout)
    needed = held["packed"] + held["arena"]
    # Scratch of a thread is bounded by L2; the interpreter itself grows a little.
    slack = 5 * MIB
    assert needed < DENSE / 5
    assert held["compiled"] < 1.1 * held["packed"] + slack
    assert held["running"] < 1.1 * needed + slack
    # While compiling: the file's weights beside the packed ones, and one layer dense; two, or its packed form, to time.
    assert held["peak"] < 2.2 * held["packed"] + (2 if tune == "choose" else 4) * DENSE / LAYERS + slack


def test_a_graph_holds_sparse_weights_compressed(model: Path) -> None:
    script = (
        "import json, sys, numpy, sparsenet as sn\n"
        "def rss():\n"
        "    with open('/proc/self/statm') as f: return int(f.read().split()[1]) * 4096\n"
        "before = rss(); graph = sn.load(sys.argv[1]); print(rss() - before)"
    )
    command = [sys.executable, "-c", script, str(model)]
    out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=model.parent)
    assert int(out.stdout) < DENSE / 6


def test_graph_and_pickle_come_from_the_file_again(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.snet"
    path.write_bytes(model.read_bytes())
    engine = sn.compile(path, tune=False)
    x = np.random.default_rng(1).standard_normal((1, CHANNELS, SIDE, SIDE), np.float32)
    y = engine(x)
    assert {n.op for n in engine.graph.nodes} == {"Conv"}  # after passes
    path.unlink()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(engine))(x), y)

    path.write_bytes(model.read_bytes())
    engine = sn.compile(path, tune=False)
    with path.open("r+b") as file:  # the same file, other content
        file.seek(0)
        file.truncate()
        small = sn.Graph()
        small.set_outputs([small.add_node("Activation", [small.add_input("x", (None, 2))], {"act": "relu"})])
        small.save(tmp_path / "small.snet")
        file.write((tmp_path / "small.snet").read_bytes())
    with pytest.raises(InvalidArgumentError, match="written over"):
        _ = engine.graph
    with pytest.raises(InvalidArgumentError, match="written over"):
        pickle.dumps(engine)
    path.write_bytes(b"no .snet file at all")
    with pytest.raises(InvalidArgumentError, match="written over"):
        _ = engine.graph
    np.testing.assert_array_equal(engine(x), y)  # running needs no file


@pytest.mark.parametrize("read_again", [False, True])
@pytest.mark.parametrize("op", ["Conv", "Add", "Activation"])
def test_a_step_writes_over_its_operand_unless_somebody_reads_it_again(op: str, read_again: bool) -> None:
    rng = np.random.default_rng(1)
    attrs = {"stride": [1, 1], "padding": [1] * 4, "dilation": [1, 1]}
    graph = sn.Graph()

    def conv(x: str, *residual: str) -> str:
        w = rng.standard_normal((6, 6, 3, 3), np.float32) * (rng.random((6, 6, 3, 3)) < 0.3)
        w = graph.add_constant(f"w{len(graph.nodes)}", w)
        return graph.add_node("Conv", [x, w, *([None, *residual] if residual else [])], attrs)

    x = conv(graph.add_input("x", (None, 6, 15, 17)))
    branch = conv(x)
    steps = {
        "Conv": lambda: conv(branch, x),
        "Add": lambda: graph.add_node("Add", [x, branch], {}),
        "Activation": lambda: graph.add_node("Activation", [branch], {"act": "relu"}),
    }
    y = steps[op]()
    if read_again:  # what the step could have written over
        y = graph.add_node("Mul", [graph.add_node("Mul", [y, x], {}), branch], {})
    y = graph.add_node("Pad", [y], {"pads": [0, 0, 0, 0, 0, 1]})  # an output is not in the arena
    graph.set_outputs([y])
    feed = {"x": rng.standard_normal((3, 6, 15, 17), np.float32)}
    for threads in (1, 2):
        engine = sn.compile(graph, threads=threads, passes=False, tune=False)
        reference.assert_close(engine(feed), graph, feed)
    plane = -(-6 * 15 * 17 * 4 // 64) * 64
    assert engine._backend.arena_bytes(1) == (3 if read_again else 2) * plane
