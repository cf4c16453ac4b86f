"""The C API through its cffi view. tests/capi_embed.c has the same from C."""

import gc
import re
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

import sparsenet as sn
from sparsenet import _core
from sparsenet.errors import FileFormatError, InvalidArgumentError, ShapeError, SparsenetIOError

pytest.importorskip("cffi")
from sparsenet import capi

HEADER = Path(__file__).parent.parent / "csrc" / "include" / "sparsenet.h"


def random_sparse(shape: tuple[int, ...], density: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < density, rng.standard_normal(shape), 0).astype(np.float32)


def two_heads() -> sn.Graph:
    """Two inputs, two outputs, big enough for two threads to share."""
    graph = sn.Graph()
    x, skip = graph.add_input("x", (None, 8, 20, 20)), graph.add_input("skip", (None, 16, 20, 20))
    attrs = {"stride": [1, 1], "padding": [1, 1, 1, 1], "dilation": [1, 1], "act": "relu"}
    w = graph.add_constant("w", random_sparse((16, 8, 3, 3), 0.2, 1))
    b = graph.add_constant("b", random_sparse((16,), 1, 2))
    conv = graph.add_node("Conv", [x, w, b, skip], attrs, name="features")
    y = graph.add_node("AdaptiveAvgPool", [conv], {"output": [1, 1]})
    y = graph.add_node("Reshape", [y], {"shape": [0, -1]})
    y = graph.add_node("Linear", [y, graph.add_constant("fc", random_sparse((5, 16), 0.5, 3))], {}, name="logits")
    graph.set_outputs([y, conv])
    return graph


def inputs(batch: int, seed: int = 0) -> list[np.ndarray]:
    return [random_sparse((batch, c, 20, 20), 1, seed + i) for i, c in enumerate((8, 16))]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("capi") / "net.snet"
    two_heads().save(path)
    return path


def test_describes_the_network(model):
    with capi.Engine(model) as engine:
        assert engine.inputs == [("x", (None, 8, 20, 20)), ("skip", (None, 16, 20, 20))]
        assert engine.outputs == [("logits", (None, 5)), ("features", (None, 16, 20, 20))]
        assert engine.isa in repr(engine)
        assert "x[N, 8, 20, 20]" in repr(engine)
    assert capi.version() == sn.__version__


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_same_numbers_as_the_python_engine(model, threads, batch):
    engine = capi.Engine(model, threads=threads, tune=False, max_batch=batch)
    want = sn.compile(two_heads(), threads=1, tune=False, batch=batch)(*inputs(batch))
    got = engine.run(*inputs(batch))
    assert np.std(want[0]) > 0.1
    assert [a.tobytes() for a in got] == [b.tobytes() for b in want]
    assert [a.tobytes() for a in capi.Engine(model.read_bytes(), tune=False, max_batch=batch).run(*inputs(batch))] == [
        b.tobytes() for b in want
    ]


def test_one_engine_from_two_threads(model):
    engine = capi.Engine(model, threads=2, tune=False)
    want = {seed: [a.tobytes() for a in engine.run(*inputs(2, seed))] for seed in (0, 10)}
    wrong: list[int] = []

    def work(seed: int) -> None:
        arrays = inputs(2, seed)
        wrong.extend(seed for _ in range(50) if [a.tobytes() for a in engine.run(*arrays)] != want[seed])

    workers = [threading.Thread(target=work, args=(seed,)) for seed in want]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_the_hosts_own_thread_pool(model):
    ffi, lib = capi._library()
    calls: list[int] = []

    @ffi.callback("void(void*, int, void(*)(void*, int), void*)")
    def parallel_for(user, n, task, arg):
        calls.append(n)
        for i in reversed(range(n)):
            task(arg, i)

    def count_threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    gc.collect()  # engines of other tests, with their threads
    before = count_threads()
    options = ffi.new("sn_options*", {"size": ffi.sizeof("sn_options"), "threads": 3, "max_batch": 1})
    options.parallel_for = parallel_for
    place = ffi.new("sn_engine**")
    path = str(model).encode()
    assert lib.sn_load_path(path, options, place) == lib.SN_OK
    x, results = inputs(1), [np.zeros((1, 5), np.float32), np.zeros((1, 16, 20, 20), np.float32)]
    views = [ffi.new("float*[]", [ffi.from_buffer("float[]", a) for a in some]) for some in (x, results)]
    assert lib.sn_run(place[0], 1, *views) == lib.SN_OK
    assert count_threads() <= before
    lib.sn_free(place[0])
    want = sn.compile(two_heads(), tune=False)(*x)
    assert calls
    assert set(calls) == {3}
    assert [a.tobytes() for a in results] == [b.tobytes() for b in want]


def test_options_in_the_header_are_the_ones_used():
    """SN_OPTIONS_INIT, which cffi cannot read, has one initialiser a member and the defaults of capi.Engine."""
    text = HEADER.read_text()
    init = text.split("#define SN_OPTIONS_INIT")[1].split("{")[1].split("}")[0].replace("\\", "").split(",")
    ffi, _ = capi._library()
    members = [name for name, _ in ffi.typeof("sn_options").fields]
    assert len(init) == len(members)
    assert dict(zip(members, (i.strip() for i in init), strict=True)) == {
        "size": "sizeof(sn_options)",
        "threads": "1",
        "tune": "1",
        "tune_seconds": "1.0",
        "max_batch": "1",
        "isa": "NULL",
        "parallel_for": "NULL",
        "parallel_for_user": "NULL",
        "max_file_bytes": "0",
        "max_elements": "0",
        "max_nodes": "0",
    }


def test_errors(model):
    engine = capi.Engine(model, tune=False)
    x, skip = inputs(2)
    with pytest.raises(InvalidArgumentError, match="expected 2 inputs, got 1"):
        engine.run(x)
    with pytest.raises(ShapeError, match=r"input 'skip': expected shape \(None, 16, 20, 20\), got \(1, 16, 20, 20\)"):
        engine.run(x, skip[:1])
    with pytest.raises(InvalidArgumentError, match="batch 0"):
        engine.run(x[:0], skip[:0])
    with pytest.raises(InvalidArgumentError, match="batch"):
        engine.reserve(-1)
    engine.reserve(4)
    engine.close()
    with pytest.raises(InvalidArgumentError, match="closed"):
        engine.run(x, skip)
    assert "closed" in repr(engine)
    engine.close()
    with pytest.raises(SparsenetIOError, match="No such file"):
        capi.Engine("/no/such/model.snet")
    with pytest.raises(FileFormatError, match="digest"):
        capi.Engine(model.read_bytes()[:-1] + b"x")
    with pytest.raises(FileFormatError, match="limit of 100"):
        capi.Engine(model, max_elements=100)
    with pytest.raises(InvalidArgumentError, match="threads=0"):
        capi.Engine(model, threads=0)
    with pytest.raises(InvalidArgumentError, match="isa"):
        capi.Engine(model, isa="pentium")


def test_a_fixed_batch_is_told_and_kept():
    graph = two_heads()
    graph.fixed_batch = 2
    engine = capi.Engine(_core.save_bytes(graph), tune=False)
    assert engine.inputs[0] == ("x", (2, 8, 20, 20))
    engine.run(*inputs(2))
    with pytest.raises(InvalidArgumentError, match="exported for batch 2"):
        engine.run(*inputs(3))


@pytest.mark.skipif(not shutil.which("nm"), reason="needs binutils")
def test_the_shared_library_exports_the_header_and_nothing_else():
    folders = (Path(capi.__file__).parent, Path(_core.__file__).resolve().parent)
    library = capi._find("libsparsenet.so", *folders)
    listing = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    exported = {line.split()[-1] for line in listing.splitlines()}
    assert exported == set(re.findall(r"\b(sn_\w+)\(", capi._declarations(HEADER.read_text())))
