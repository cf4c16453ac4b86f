"""The Numba backend against the reference and against the C++ kernels, layer by layer and on small networks."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import strategies as s
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_networks import Network, networks
from test_kernels import not_depthwise

import sparsenet as sn
from sparsenet import _core, reference

numba_engine = pytest.importorskip("sparsenet.numba_engine", exc_type=sn.errors.InvalidArgumentError)

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
THREADS = st.sampled_from([1, 2])
SPMM = [name for name in numba_engine.KERNELS if name.startswith("numba_spmm")]


def compiled(graph: Any, **options: Any) -> Any:
    return sn.compile(graph, backend="numba", **options)


@pytest.mark.parametrize("kernel", numba_engine.KERNELS)
def test_forced_kernel_equals_the_reference(kernel: str) -> None:
    convs, linears = s.convs().filter(not_depthwise), s.linears()

    @QUICK
    @given(linears if kernel == "numba_spmv" else st.one_of(convs, linears), THREADS)
    def run(case: s.Case, threads: int) -> None:
        graph = case.graph()
        engine = compiled(graph, kernel=kernel, threads=threads, passes=False)
        assert [step.kernel for step in engine.steps] == [kernel]
        reference.assert_close(engine(case.feeds), graph, case.feeds, statistical=False)

    run()


@pytest.mark.parametrize("op", sorted(s.OP_STRATEGIES))
def test_every_op_runs_and_equals_the_reference(op: str) -> None:
    @QUICK
    @given(s.OP_STRATEGIES[op])
    def run(case: s.Case) -> None:
        graph = case.graph()
        y = compiled(graph, passes=False)(case.feeds)
        assert y.dtype == np.float32
        reference.assert_close(y, graph, case.feeds, statistical=False)

    run()


@settings(QUICK, max_examples=60)
@given(networks(), THREADS, st.booleans())
def test_networks_equal_the_cpp_engine_and_the_reference(net: Network, threads: int, passes: bool) -> None:
    ours = compiled(net.graph, threads=threads, passes=passes)(net.feeds)
    theirs = sn.compile(net.graph, tune=False, passes=passes)(net.feeds)
    reference.assert_close(ours, net.graph, net.feeds)
    limit = reference.bound(net.graph, net.feeds)
    for got, expected, name in zip(as_list(ours), as_list(theirs), limit, strict=True):
        assert reference.worst(got, expected.astype(np.float64), 2 * limit[name]) <= 1


def as_list(y: Any) -> list[np.ndarray]:
    return list(y) if isinstance(y, tuple) else [y]


def test_the_choice_follows_density_and_blocks() -> None:
    """Sparse layers go to the format that fits them, dense ones to BLAS, small batches of rows to SpMV."""
    rng = np.random.default_rng(0)

    def kernel_of(w: np.ndarray, shape: tuple[int, ...]) -> str:
        graph = sn.Graph()
        conv = {"stride": [1, 1], "padding": [0] * 4, "dilation": [1, 1]}
        inputs = [graph.add_input("x", [None, *shape]), graph.add_constant("w", w)]
        graph.set_outputs([graph.add_node("Conv" if w.ndim == 4 else "Linear", inputs, conv if w.ndim == 4 else {})])
        return compiled(graph).steps[0].kernel

    def masked(shape: tuple[int, ...], block: tuple[int, int]) -> np.ndarray:
        w = s.normal(rng, *shape)
        keep = rng.random((shape[0] // block[0], w[0].size // block[1])) < 0.1
        return w * np.kron(keep, np.ones(block)).reshape(shape).astype(np.float32)

    assert kernel_of(masked((16, 16, 3, 3), (1, 1)), (16, 9, 9)) == "numba_spmm_1x1"
    assert kernel_of(masked((16, 16, 3, 3), (4, 1)), (16, 9, 9)) == "numba_spmm_4x1"
    assert kernel_of(masked((16, 16, 3, 3), (1, 4)), (16, 9, 9)) == "numba_spmm_1x4"
    assert kernel_of(s.normal(rng, 16, 16, 3, 3), (16, 9, 9)) == "numpy"
    assert kernel_of(masked((32, 64), (1, 1)), (64,)) == "numba_spmv"
    assert kernel_of(s.normal(rng, 32, 64), (64,)) == "numpy"


def test_it_reads_the_stream_that_the_cpp_kernels_read() -> None:
    """Unpacking the stream by the formula that both document gives the weights back, for every block shape."""
    rng = np.random.default_rng(1)
    w = s.normal(rng, 2, 11, 23) * (rng.random((2, 11, 23)) < 0.3)
    for br, bc, kc in [(1, 1, 8), (4, 1, 8), (1, 4, 8), (2, 2, 64), (3, 5, 10)]:
        start, index, value = _core.pack(w.astype(np.float32), br, bc, kc)
        row_blocks, k_blocks = -(-11 // br), -(-23 // kc)
        got = np.zeros((2, row_blocks * br, k_blocks * kc + bc), np.float32)
        for g, kb, rb in np.ndindex(2, k_blocks, row_blocks):
            segment = (g * k_blocks + kb) * row_blocks + rb
            for e in range(start[segment], start[segment + 1]):
                for j, i in np.ndindex(bc, br):
                    got[g, rb * br + i, kb * kc + index[e] + j] = value[(e * bc + j) * br + i]
        np.testing.assert_array_equal(got[:, :11, :23], w.astype(np.float32))
        assert not got[:, 11:].any()
        assert not got[:, :, 23:].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 4), np.float32),), "groups, M, K"),
        ((np.zeros((1, 3, 4), np.float32), 0), "block"),
        ((np.zeros((1, 3, 4), np.float32), 1, 4, 6), "multiple of bc"),
        ((np.zeros((1, 3, 4), np.float32), 1, 1, 70000), "65536"),
    ],
)
def test_pack_refuses_what_it_cannot_pack(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(sn.errors.SparsenetError, match=message):
        _core.pack(*arguments)


@pytest.fixture
def net() -> tuple[Any, np.ndarray]:
    rng = np.random.default_rng(2)
    graph = sn.Graph()
    w1 = s.normal(rng, 12, 3, 3, 3) * (rng.random((12, 3, 3, 3)) < 0.2)
    w2 = s.normal(rng, 10, 12) * (rng.random((10, 12)) < 0.1)
    attrs = {"stride": [2, 2], "padding": [1] * 4, "dilation": [1, 1], "act": "relu"}
    h = graph.add_node("Conv", [graph.add_input("x", [None, 3, 15, 13]), graph.add_constant("w1", w1)], attrs, "conv")
    h = graph.add_node("Mean", [h], {"axes": [2, 3]}, "pool")
    graph.set_outputs([graph.add_node("Linear", [h, graph.add_constant("w2", w2)], {}, "fc")])
    return graph, s.normal(rng, 9, 3, 15, 13)


def test_the_engine_is_like_any_other(net: tuple[Any, np.ndarray], tmp_path: Any) -> None:
    graph, x = net
    engine = compiled(graph, threads=2)
    y = engine(x)
    out = np.empty_like(y)
    assert engine(x, out=out) is out
    np.testing.assert_array_equal(out, y)
    np.testing.assert_array_equal(engine(x[::2]), y[::2])  # another batch, and not contiguous
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(engine))(x), y)
    assert "1 spmm, 1 numpy, 1 spmv" in repr(engine)
    assert "numba_spmm_1x1" in str(engine.explain(x, repeat=2))
    profile = engine.profile(x, trace=tmp_path / "trace.json")
    assert len(profile.begin) == len(profile.end) == len(engine.steps)
    assert all(a <= b for a, b in zip(profile.begin, profile.end, strict=True))
    with pytest.raises(sn.errors.ShapeError):
        engine(x[:, :2])


def test_one_engine_from_two_threads(net: tuple[Any, np.ndarray]) -> None:
    graph, x = net
    engine = compiled(graph, threads=2)
    inputs = [x * np.float32(i + 1) for i in range(16)]
    expected = [engine(v) for v in inputs]
    with ThreadPoolExecutor(2) as pool:
        for got, want in zip(pool.map(engine, inputs), expected, strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"isa": "avx2"}, "isa"), ({"kernel": "spmm_1x1_r8_avx2"}, "numba_spmv"), ({"kernel": "numba_spmv"}, "no node")],
)
def test_options_it_cannot_meet_are_errors(options: dict[str, Any], message: str) -> None:
    graph = sn.Graph()
    graph.set_outputs([graph.add_node("Activation", [graph.add_input("x", [None, 4])], {"act": "relu"})])
    with pytest.raises(sn.errors.InvalidArgumentError, match=message):
        compiled(graph, **options)


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "mobilenet_v2", "squeezenet", "conv1d"])
def test_pruned_torch_networks(name: str) -> None:
    """Imported, pruned networks of the known families: as torch in fp64, and as the C++ engine."""
    torch = pytest.importorskip("torch")
    from benchmarks import models

    model = models.sparsify(models.seeded_init(models.create_small(name), seed=0), 0.9, seed=1).eval()
    x = torch.randn(3, *models.input_shape(name, small=True), generator=torch.Generator().manual_seed(2))
    graph = sn.from_torch(model, (x,))
    y = compiled(graph, threads=2)(x.numpy())
    reference.assert_close(y, graph, [x.numpy()])
    with torch.no_grad():
        expected = model.double()(x.double()).numpy()
    ((_, limit),) = reference.bound(graph, [x.numpy()]).items()
    assert reference.worst(y, expected, limit) <= 1
    assert reference.worst(sn.compile(graph, tune=False)(x.numpy()), expected, limit) <= 1
