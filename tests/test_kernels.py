"""Every kernel of this binary that this CPU runs, against the fp64 reference, over random shapes.

The tests walk `_core.kernels()`: a new row in a kernels.inc is tested without a new test. A new family needs a line
in MATRIX (kernels to choose between, forced by name) or in OPS (kernels that follow from the op and its shape).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import strategies as s
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sparsenet as sn
from sparsenet import _core, reference
from sparsenet.errors import InvalidArgumentError

EXAMPLES = int(os.environ.get("SPARSENET_TEST_EXAMPLES", "12"))
QUICK = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
THREADS = st.sampled_from([1, 2])


def not_depthwise(case: s.Case) -> bool:
    return case.attrs["groups"] == 1 or case.attrs["groups"] != case.inputs[0].shape[1]


matrix_convs = s.convs(groups="matrix").filter(not_depthwise)


def winograd_convs(kernels: st.SearchStrategy[int], stride: int) -> st.SearchStrategy[s.Case]:
    return s.convs(
        rank=2, groups="one", kernels=kernels, strides=st.just(stride), dilations=st.just(1), max_size=30
    )


#: Families of matrix kernels: any of them can do any of these.
MATRIX = {
    "spmm": st.one_of(matrix_convs, matrix_convs, s.linears()),
    "gemm": st.one_of(matrix_convs, matrix_convs, s.linears()),
    "winograd": winograd_convs(st.just(3), 1),
    "winograd s2": winograd_convs(st.integers(5, 8), 2),
    "spmv": s.linears(),
    "gemv": s.linears(),
}



def square_depthwise(kernel: int, stride: int) -> st.SearchStrategy[s.Case]:
    shape = {"rank": 2, "square": True, "kernels": st.just(kernel), "strides": st.just(stride), "max_size": 40}
    return s.convs(groups="depthwise", dilations=st.just(1), max_channels=6, **shape)


#: Families whose kernel follows from the op and its shape: together, these cases reach every kernel of the family.
#: The first word of a key is the op.
OPS = {
    "depthwise": {
        "Conv": s.convs(groups="depthwise"),
        **{f"Conv k{k}s{stride}": square_depthwise(k, stride) for k in (3, 5) for stride in (1, 2)},
    },
    "convtranspose": {"ConvTranspose": s.conv_transposes()},
    "eltwise": {op: s.OP_STRATEGIES[op] for op in ("Activation", "Add", "Sub", "Mul", "Div", "PRelu", "BatchNorm")},
    "pool": {
        op: s.OP_STRATEGIES[op] for op in ("MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool", "Mean")
    },
    "softmax": {"Softmax": s.softmaxes()},
    "resize": {"Resize": s.resizes()},
    "move": {
        op: s.OP_STRATEGIES[op]
        for op in ("Concat", "Slice", "Pad", "Reshape", "Transpose", "ChannelShuffle", "Identity")
    },
}


def rows() -> list[dict[str, Any]]:
    return [row for row in _core.kernels() if row["available"]]


def names_of(families: dict[str, Any]) -> list[str]:
    return sorted(row["name"] for row in rows() if row["family"] in families)


def family_of(name: str) -> str:
    return next(row["family"] for row in rows() if row["name"] == name)


def cases_of(name: str) -> st.SearchStrategy[s.Case]:
    """What the matrix kernel of this name can do."""
    if "_pairs_" in name:  # for convolutions
        return matrix_convs
    return MATRIX["winograd s2" if "f4x4s2" in name else family_of(name)].map(lambda case: fitted(case, name))


def fitted(case: s.Case, name: str) -> s.Case:
    """The case with weights that this kernel takes."""
    if "f16" in name:
        case.inputs[1] = case.inputs[1].astype(np.float16).astype(np.float32)
    return case


def isa_of(name: str) -> str:
    return next(row["isa"] for row in rows() if row["name"] == name)


#: The constants of winograd's bound: F(4x4)'s transforms multiply by up to 27/8, F(4x4, 4x4)'s by up to 343/64.
WINOGRAD_C = {"f2x2": 8, "f4x4": 16, "f4x4s2": 16}


def winograd_limit(case: s.Case, kernel: str) -> np.ndarray:
    """Winograd rounds relative to whole tiles and whole windows: the bound of a plain convolution with each
    kernel's weights at its largest, at the tile's largest; times 1.5, the steepest slope of an activation, with that
    activation's own rounding."""
    variant = kernel.split("_")[1]
    side = int(variant[1])
    x, w, *rest = case.inputs
    largest = np.broadcast_to(np.abs(w).max(axis=(2, 3), keepdims=True), w.shape)
    plain = s.Case(case.op, {**case.attrs, "act": "none"}, [x, largest.copy(), *rest], case.constants)
    (limit,) = reference.bound(plain.graph(), case.feeds, WINOGRAD_C[variant], statistical=False).values()
    n, m, h, w = limit.shape
    tiles = np.pad(limit, [(0, 0), (0, 0), (0, -h % side), (0, -w % side)])
    tiles = tiles.reshape(n, m, -(-h // side), side, -(-w // side), side).max(axis=(3, 5))
    (own,) = reference.bound(case.graph(), case.feeds, statistical=False).values()
    return own + 1.5 * tiles.repeat(side, axis=2).repeat(side, axis=3)[:, :, :h, :w]


def check(case: s.Case, threads: int, isa: str, kernel: str | None = None) -> tuple[np.ndarray, set[str]]:
    """Compile and run one op, hold it against the reference, return its output and the kernels it took."""
    graph = case.graph()
    engine = sn.compile(graph, threads=threads, isa=isa, kernel=kernel, tune=False, passes=False)
    y = engine(case.feeds)
    assert y.shape == tuple(reference.run(graph, case.feeds)[graph.outputs[0][0]].shape)
    if kernel and kernel.startswith("winograd"):
        (truth,) = reference.run(graph, case.feeds).values()
        assert reference.worst(y, truth, winograd_limit(case, kernel)) <= 1
    else:
        reference.assert_close(y, graph, case.feeds, statistical=False)
    return y, {step.kernel for step in engine.steps}


def test_every_family_has_a_strategy() -> None:
    unknown = {row["family"] for row in _core.kernels()} - set(MATRIX) - set(OPS)
    assert not unknown, f"no test draws cases for the kernel families {sorted(unknown)}: add them to MATRIX or OPS"


def test_every_op_is_drawn_for_some_family() -> None:
    drawn = {key.split()[0] for cases in OPS.values() for key in cases} | {"Conv", "Linear"}
    assert drawn == {row["name"] for row in _core.op_table()}


def test_kernel_names_are_unique_and_end_in_their_isa() -> None:
    names = [row["name"] for row in _core.kernels()]
    assert len(set(names)) == len(names)
    assert all(row["name"].endswith("_" + row["isa"]) for row in _core.kernels())


@pytest.mark.parametrize("name", names_of(MATRIX))
def test_matrix_kernel(name: str) -> None:
    """A matrix kernel, forced by its name, equals the reference."""

    @QUICK
    @given(cases_of(name), THREADS)
    def run(case: s.Case, threads: int) -> None:
        _, used = check(case, threads, isa_of(name), kernel=name)
        assert used == {name}

    run()


@pytest.mark.parametrize(
    ("family", "isa"), sorted({(row["family"], row["isa"]) for row in rows() if row["family"] not in MATRIX})
)
def test_op_kernels(family: str, isa: str) -> None:
    """All kernels of a family that its ops reach equal the reference, and its ops reach all of them."""
    used: set[str] = set()
    table = {row["name"] for row in rows() if row["family"] == family and row["isa"] == isa}
    # A kernel that few shapes reach is missed by the draws of one round in a hundred.
    for _ in range(5):
        for key, cases in OPS.get(family, {}).items():

            @settings(QUICK, max_examples=3 * EXAMPLES)
            @given(cases, THREADS)
            def run(case: s.Case, threads: int) -> None:
                used.update(check(case, threads, isa)[1])

            run()
            assert used, f"{key} runs no kernel"
        if table <= used:
            return
    pytest.fail(f"no case reached {sorted(table - used)}: make the strategies of OPS[{family!r}] draw one")


LAYOUTS = ("packed", "sliding", "padded", "shifted")


@pytest.mark.parametrize("isa", sorted({row["isa"] for row in rows()}))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout(layout: str, isa: str) -> None:
    """A matrix kernel on a layout of its operands, forced by name, equals the reference, wherever it can be had."""
    names = [name for name in names_of(MATRIX) if isa_of(name) == isa and family_of(name) in ("spmm", "gemm")]
    ran: set[str] = set()

    @settings(QUICK, max_examples=6 * EXAMPLES)
    @given(st.data(), THREADS)
    def run(data: st.DataObject, threads: int) -> None:
        name = data.draw(st.sampled_from(names))
        case = data.draw(matrix_convs)
        try:
            check(case, threads, isa, kernel=f"{name}/{layout}")
            ran.add(name)
        except InvalidArgumentError as e:
            if "no layer" not in str(e):
                raise

    # Of a scalar kernel's tiles, few are whole rows of pixels, as a sliding panel needs.
    for _ in range(8):
        run()
        if ran:
            return
    pytest.fail(f"no case has the layout {layout}: make matrix_convs draw one")


@pytest.mark.parametrize("name", names_of(MATRIX))
def test_matrix_kernel_on_a_layer_of_ordinary_size(name: str) -> None:
    """Several k-blocks, several tiles, and rows that are no multiple of any block."""
    rng = np.random.default_rng(0)
    side, stride = (7, 2) if "f4x4s2" in name else (3, 1)
    w = s.normal(rng, 70, 48, side, side) * (rng.random((70, 48, side, side)) < 0.2)
    attrs = {"stride": [stride] * 2, "padding": [side // 2] * 4, "dilation": [1, 1], "act": "relu"}
    inputs = [s.normal(rng, 1, 48, 24 * stride, 25 * stride), w, s.normal(rng, 70), s.normal(rng, 1, 70, 24, 25)]
    case = s.Case("Conv", attrs, inputs, {1, 2})
    if family_of(name) in ("spmv", "gemv"):
        w = s.normal(rng, 330, 1100) * (rng.random((330, 1100)) < 0.1)
        case = s.Case("Linear", {"act": "silu"}, [s.normal(rng, 3, 1100), w, s.normal(rng, 330)], {1, 2})
    check(fitted(case, name), 2, isa_of(name), kernel=name)


@pytest.mark.parametrize("name", names_of(MATRIX))
def test_threads_and_batches_do_not_change_a_bit(name: str) -> None:
    """Tasks split the output, never a sum: two threads and single calls give what one thread gives for a batch."""

    @settings(QUICK, max_examples=5)
    @given(cases_of(name))
    def run(case: s.Case) -> None:
        options = {"isa": isa_of(name), "kernel": name, "tune": False, "passes": False}
        graph = case.graph()
        one, two = (sn.compile(graph, threads=threads, **options) for threads in (1, 2))
        y = one(case.feeds)
        np.testing.assert_array_equal(two(case.feeds), y)
        for i in range(len(y)):
            np.testing.assert_array_equal(one({k: v[i : i + 1] for k, v in case.feeds.items()}), y[i : i + 1])

    run()


def test_winograd_is_chosen_where_it_pays_and_may_be_forbidden() -> None:
    rng = np.random.default_rng(0)
    attrs = {"stride": [2, 2], "padding": [3] * 4, "dilation": [1, 1]}
    stem = s.Case("Conv", attrs, [s.normal(rng, 1, 3, 224, 224), s.normal(rng, 64, 3, 7, 7)], {1})
    _, used = check(stem, 1, _core.best_isa())
    assert all(name.startswith("winograd_f4x4s2") for name in used)
    attrs = {"stride": [1, 1], "padding": [1] * 4, "dilation": [1, 1]}
    case = s.Case("Conv", attrs, [s.normal(rng, 1, 64, 32, 32), s.normal(rng, 64, 64, 3, 3)], {1})
    _, used = check(case, 1, _core.best_isa())
    assert all(name.startswith("winograd") for name in used)
    engine = sn.compile(case.graph(), tune=False, winograd=False)
    assert not any(step.kernel.startswith("winograd") for step in engine.steps)
    for terms, allowed in ((100, "winograd_f2x2"), (40, "gemm")):  # a filter of few terms: its own bound would not hold
        case.inputs[1][0].flat[terms:] = 0
        assert all(step.kernel.startswith(allowed) for step in sn.compile(case.graph(), tune=False).steps)


@pytest.mark.parametrize("isa", sorted({row["isa"] for row in rows()}))
def test_the_choice_is_right_whatever_it_is(isa: str) -> None:
    """Convolutions of every kind and linear layers, the kernel chosen by the cost model."""

    @settings(QUICK, max_examples=3 * EXAMPLES)
    @given(st.one_of(s.convs(), s.linears()), THREADS)
    def run(case: s.Case, threads: int) -> None:
        check(case, threads, isa)

    run()


def test_the_choice_is_right_when_it_is_timed() -> None:
    @QUICK
    @given(st.one_of(s.convs(), s.linears()), THREADS)
    def run(case: s.Case, threads: int) -> None:
        graph = case.graph()
        engine = sn.compile(graph, threads=threads, tune=True, tune_seconds=0.01)
        reference.assert_close(engine(case.feeds), graph, case.feeds, statistical=False)

    run()


@pytest.mark.parametrize("name", names_of({"spmv": ...}))
def test_an_infinity_reaches_only_the_rows_that_weigh_it(name: str) -> None:
    """Vectors read past a row's end, into the columns of the next row."""
    rng = np.random.default_rng(2)
    w = s.normal(rng, 96, 64)
    w[np.repeat(np.repeat(rng.random((24, 16)) < 0.8, 4, axis=0), 4, axis=1)] = 0
    x = s.normal(rng, 1, 64)
    x[0, 5] = np.inf
    graph = fitted(s.Case("Linear", {}, [x, w], {1}), name).graph()
    y = sn.compile(graph, isa=isa_of(name), kernel=name, tune=False, passes=False)(x)[0]
    np.testing.assert_array_equal(np.isfinite(y), (w[:, 4:8] == 0).all(axis=1))


@pytest.mark.parametrize("isa", sorted({row["isa"] for row in rows()}))
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(7, 7), (14, 14), (15, 16), (28, 31), (33, 17), (45, 66), (1, 3)])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("padding", [[1] * 4, [2] * 4, [0, 0, 1, 1], [1, 1, 2, 2], [2, 6, 1, 0], [7, 17, 8, 9]])
def test_depthwise_layers_of_an_image(
    isa: str, stride: int, size: tuple[int, int], kernel: int, padding: list[int]
) -> None:
    """Computed from the image itself where vectors are long: all edges, one vector or several, with a residual."""
    out = [(size[i] + padding[i] + padding[i + 2] - kernel) // stride + 1 for i in range(2)]
    if min(out) < 1:
        padding, out = [kernel // 2] * 4, [-(-n // stride) for n in size]
    rng = np.random.default_rng(3)
    attrs = {"stride": [stride] * 2, "padding": padding, "dilation": [1, 1], "groups": 5, "act": "relu"}
    weights = s.normal(rng, 5, 1, kernel, kernel)
    inputs = [s.normal(rng, 2, 5, *size), weights, s.normal(rng, 5), s.normal(rng, 2, 5, *out)]
    check(s.Case("Conv", attrs, inputs, {1, 2}), 2, isa)
