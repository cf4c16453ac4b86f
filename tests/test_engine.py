"""The Python engine: what it takes, what it gives back, what it refuses and in which words.

The file is long because one pair of small engines goes through everything a user can do to an engine.
"""

from __future__ import annotations

import copy
import ctypes
import io
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sparsenet as sn
from sparsenet.atomic import write_text
from sparsenet.errors import FileFormatError, InvalidArgumentError, ShapeError, SparsenetError, SparsenetIOError
from sparsenet.reference import assert_close

torch.set_num_threads(1)


def weights(rng: np.random.Generator, *shape: int, zeros: float = 0.0) -> np.ndarray:
    w = rng.standard_normal(shape).astype(np.float32)
    w[rng.random(shape) < zeros] = 0
    return w


def conv_graph(seed: int = 0) -> sn.Graph:
    """x [N, 3, 9, 9] -> conv, relu, pooling, linear -> [N, 5]; odd sizes, so that vectors have tails."""
    rng = np.random.default_rng(seed)
    graph = sn.Graph()
    x = graph.add_input("x", (None, 3, 9, 9))
    w = graph.add_constant("w", weights(rng, 8, 3, 3, 3, zeros=0.8))
    b = graph.add_constant("b", weights(rng, 8))
    conv = {"stride": [1, 1], "padding": [1, 1, 1, 1], "dilation": [1, 1], "groups": 1}
    y = graph.add_node("Conv", [x, w, b], conv, name="conv")
    y = graph.add_node("Activation", [y], {"act": "relu"}, name="relu")
    y = graph.add_node("AdaptiveAvgPool", [y], {"output": [3, 3]}, name="pool")
    y = graph.add_node("Reshape", [y], {"shape": [0, -1]}, name="flat")
    fc = graph.add_constant("fc_w", weights(rng, 5, 72, zeros=0.5))
    graph.set_outputs([graph.add_node("Linear", [y, fc], name="fc")])
    return graph


def two_by_two_graph() -> sn.Graph:
    """left [N, 4], right [N, 4] -> (sum, product)."""
    graph = sn.Graph()
    left, right = graph.add_input("left", (None, 4)), graph.add_input("right", (None, 4))
    names = [graph.add_node(op, [left, right], name=name) for op, name in (("Add", "sum"), ("Mul", "product"))]
    graph.set_outputs(names)
    return graph


@pytest.fixture(scope="module")
def engine() -> sn.Engine:
    return sn.compile(conv_graph(), tune=False)


@pytest.fixture(scope="module")
def pair() -> sn.Engine:
    return sn.compile(two_by_two_graph(), tune=False)


def noise(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def test_the_answer_is_right(engine: sn.Engine) -> None:
    x = noise(3, 3, 9, 9)
    assert_close(engine(x), conv_graph(), [x])


class TestWhatComesIn:
    def test_any_layout_gives_the_same_bits(self, engine: sn.Engine) -> None:
        x = noise(4, 3, 9, 9)
        expected = engine(x)
        wide = np.zeros((4, 3, 9, 18), np.float32)
        wide[..., ::2] = x
        unaligned = np.frombuffer(b"\0" + x.tobytes(), np.float32, offset=1).reshape(x.shape)
        assert not unaligned.flags.aligned
        read_only = x.copy()
        read_only.setflags(write=False)
        layouts = {
            "fortran": np.asfortranarray(x),
            "strided": wide[..., ::2],
            "negative strides": x[::-1, :, ::-1].copy()[::-1, :, ::-1],
            "channels last": np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
            "unaligned": unaligned,
            "read-only": read_only,
        }
        for name, layout in layouts.items():
            np.testing.assert_array_equal(layout, x)
            np.testing.assert_array_equal(engine(layout), expected, err_msg=name)

    def test_a_broadcast_batch(self, engine: sn.Engine) -> None:
        x = noise(1, 3, 9, 9)
        np.testing.assert_array_equal(engine(np.broadcast_to(x, (3, 3, 9, 9))), engine(np.repeat(x, 3, axis=0)))

    def test_contiguous_input_is_not_copied(self, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = sn.compile(conv_graph(), tune=False)
        seen: list[np.ndarray] = []
        real = engine._backend

        class Spy:
            def call(self, inputs: tuple[object, ...]) -> None:
                """Leaves every call to the general path."""

            def run(self, batch: int, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> None:
                seen.extend(inputs)
                real.run(batch, inputs, outputs)

        monkeypatch.setattr(engine, "_backend", Spy())
        x = noise(2, 3, 9, 9)
        t = torch.from_numpy(x)
        for given in (x, t, t.requires_grad_(), memoryview(x)):
            seen.clear()
            engine(given)
            assert seen[0].ctypes.data == x.ctypes.data

    @pytest.mark.parametrize("batch", range(1, 10))
    def test_a_batch_is_its_samples(self, engine: sn.Engine, batch: int) -> None:
        x = noise(batch, 3, 9, 9)
        assert_close(engine(x), conv_graph(), [x])
        assert_close(np.concatenate([engine(x[i : i + 1]) for i in range(batch)]), conv_graph(), [x])

    def test_batches_may_grow_and_shrink(self, engine: sn.Engine) -> None:
        x = noise(9, 3, 9, 9)
        for n in (1, 9, 2, 8, 1):
            assert_close(engine(x[:n]), conv_graph(), [x[:n]])

    def test_inputs_by_position_and_by_name(self, pair: sn.Engine) -> None:
        left, right = noise(2, 4), noise(2, 4, seed=2)
        for total, product in (pair(left, right), pair({"right": right, "left": left})):
            np.testing.assert_array_equal(total, left + right)
            np.testing.assert_array_equal(product, left * right)
        same = pair(left, left)
        np.testing.assert_array_equal(same[0], left + left)


class TestTorch:
    def test_torch_in_torch_out(self, engine: sn.Engine) -> None:
        x = noise(2, 3, 9, 9)
        y = engine(torch.from_numpy(x))
        assert isinstance(y, torch.Tensor)
        assert y.dtype == torch.float32
        np.testing.assert_array_equal(y.numpy(), engine(x))

    def test_requires_grad_is_detached(self, engine: sn.Engine) -> None:
        x = torch.nn.Parameter(torch.from_numpy(noise(1, 3, 9, 9)))
        y = engine(x)
        assert not y.requires_grad
        np.testing.assert_array_equal(y.numpy(), engine(x.detach().numpy()))

    def test_inference_mode_channels_last_and_expanded(self, engine: sn.Engine) -> None:
        x = noise(2, 3, 9, 9)
        with torch.inference_mode():
            t = torch.from_numpy(x) * 1
            np.testing.assert_array_equal(engine(t).numpy(), engine(x))
            np.testing.assert_array_equal(engine(t.to(memory_format=torch.channels_last)).numpy(), engine(x))
        single = torch.from_numpy(x[:1]).expand(3, -1, -1, -1)
        np.testing.assert_array_equal(engine(single).numpy(), engine(np.repeat(x[:1], 3, axis=0)))

    def test_a_lazily_negated_view(self, engine: sn.Engine) -> None:
        x = noise(1, 3, 9, 9)
        t = torch._neg_view(torch.from_numpy(x))
        assert t.is_neg()
        np.testing.assert_array_equal(engine(t).numpy(), engine(-x))

    def test_mixed_inputs_give_torch(self, pair: sn.Engine) -> None:
        left, right = noise(2, 4), noise(2, 4, seed=2)
        assert all(isinstance(y, torch.Tensor) for y in pair(left, torch.from_numpy(right)))

    def test_other_devices_layouts_and_types_are_refused(self, engine: sn.Engine) -> None:
        with pytest.raises(InvalidArgumentError, match=r"input 'x': expected a CPU tensor, got one on 'meta'.*x\.cpu"):
            engine(torch.empty(1, 3, 9, 9, device="meta"))
        with pytest.raises(InvalidArgumentError, match=r"layout torch\.sparse_coo.*to_dense"):
            engine(torch.zeros(1, 3, 9, 9).to_sparse())
        with pytest.raises(InvalidArgumentError, match="this FakeTensor holds no values to read"):
            engine(torch._subclasses.FakeTensorMode().from_tensor(torch.ones(1, 3, 9, 9)))
        for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.uint8):
            with pytest.raises(ShapeError, match=rf"expected float32, got {dtype}.*x\.float"):
                engine(torch.zeros(1, 3, 9, 9, dtype=dtype))


class TestProtocols:
    def test_dlpack(self, engine: sn.Engine) -> None:
        class OnlyDlpack:
            def __init__(self, array: np.ndarray) -> None:
                self.array = array

            def __dlpack__(self, **options: Any) -> Any:
                return self.array.__dlpack__(**options)

            def __dlpack_device__(self) -> tuple[int, int]:
                return self.array.__dlpack_device__()

        x = noise(2, 3, 9, 9)
        y = engine(OnlyDlpack(x))
        assert isinstance(y, np.ndarray)
        np.testing.assert_array_equal(y, engine(x))

    def test_dlpack_of_another_device(self, engine: sn.Engine) -> None:
        class OnGpu:
            def __dlpack__(self, **options: Any) -> Any:
                raise AssertionError("not to be asked for")

            def __dlpack_device__(self) -> tuple[int, int]:
                return (2, 0)

        with pytest.raises(InvalidArgumentError, match="expected CPU memory, got a OnGpu"):
            engine(OnGpu())

    def test_buffers(self, engine: sn.Engine) -> None:
        x = noise(1, 3, 9, 9)
        buffer = (ctypes.c_float * 9 * 9 * 3 * 1).from_buffer_copy(x.tobytes())
        np.testing.assert_array_equal(engine(buffer), engine(x))
        np.testing.assert_array_equal(engine(memoryview(x)), engine(x))


class TestRefused:
    @pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint8", "bool", "complex64", ">f4", "U3", "O"])
    def test_dtypes(self, engine: sn.Engine, dtype: str) -> None:
        message = f"input 'x': expected float32, got {np.dtype(dtype)}; convert it first: x.astype(numpy.float32)"
        with pytest.raises(ShapeError, match=re.escape(message)):
            engine(np.zeros((1, 3, 9, 9), dtype))

    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ((3, 9, 9), "expected shape [N, 3, 9, 9], got [3, 9, 9]; the batch axis is missing: x[None] adds it"),
            ((1, 4, 9, 9), "expected shape [N, 3, 9, 9], got [1, 4, 9, 9]"),
            ((1, 9, 9, 3), "expected shape [N, 3, 9, 9], got [1, 9, 9, 3]"),
            ((1, 1, 3, 9, 9), "got [1, 1, 3, 9, 9]; expected 4 axes, got 5"),
            ((243,), "got [243]; expected 4 axes, got 1"),
            ((), "expected shape [N, 3, 9, 9], got []; expected 4 axes, got 0"),
            ((0, 3, 9, 9), "the batch is empty (shape [0, 3, 9, 9]); N must be at least 1"),
            ((1, 3, 0, 9), "expected shape [N, 3, 9, 9], got [1, 3, 0, 9]"),
        ],
    )
    def test_shapes(self, engine: sn.Engine, shape: tuple[int, ...], message: str) -> None:
        for x in (np.zeros(shape, np.float32), torch.zeros(shape)):
            with pytest.raises(ShapeError, match=re.escape("input 'x': ") + ".*" + re.escape(message)):
                engine(x)

    @pytest.mark.parametrize("thing", [None, 3.0, "x", [[1.0, 2.0]], object(), {1, 2}])
    def test_things_that_are_no_arrays(self, engine: sn.Engine, thing: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=rf"input 'x': expected a float32 array.*{type(thing).__name__}"):
            engine(thing)

    def test_number_and_names_of_inputs(self, engine: sn.Engine, pair: sn.Engine) -> None:
        x = noise(2, 4)
        with pytest.raises(InvalidArgumentError, match=re.escape("expected 2 input(s) ['left', 'right'], got 1")):
            pair(x)
        with pytest.raises(InvalidArgumentError, match="got 0"):
            engine()
        with pytest.raises(InvalidArgumentError, match=re.escape("missing ['right'], unknown ['rigth']")):
            pair({"left": x, "rigth": x})
        with pytest.raises(InvalidArgumentError, match="'left' has 2, input 'right' has 3"):
            pair(noise(2, 4), noise(3, 4))

    def test_a_fixed_batch(self) -> None:
        graph = conv_graph()
        graph.fixed_batch = 2
        engine = sn.compile(graph, tune=False)
        assert engine.inputs[0].shape == (2, 3, 9, 9)
        assert engine(noise(2, 3, 9, 9)).shape == (2, 5)
        with pytest.raises(ShapeError, match=re.escape("exported for batch 2 only, got shape [3, 3, 9, 9]")):
            engine(noise(3, 3, 9, 9))


class TestOut:
    def test_is_written_and_returned(self, engine: sn.Engine, pair: sn.Engine) -> None:
        x = noise(2, 3, 9, 9)
        expected = engine(x)
        out = np.full((2, 5), np.nan, np.float32)
        assert engine(x, out=out) is out
        np.testing.assert_array_equal(out, expected)
        tensor = torch.full((2, 5), torch.nan)
        assert engine(x, out=tensor) is tensor
        np.testing.assert_array_equal(tensor.numpy(), expected)
        both = (np.empty((2, 4), np.float32), torch.empty(2, 4))
        assert pair(noise(2, 4), noise(2, 4, seed=2), out=both) is both
        np.testing.assert_array_equal(both[0], noise(2, 4) + noise(2, 4, seed=2))
        np.testing.assert_array_equal(both[1].numpy(), noise(2, 4) * noise(2, 4, seed=2))

    def test_of_the_wrong_kind(self, engine: sn.Engine) -> None:
        x = noise(2, 3, 9, 9)
        read_only = np.empty((2, 5), np.float32)
        read_only.setflags(write=False)
        refused: list[tuple[Any, type[SparsenetError], str]] = [
            (np.empty((2, 5)), ShapeError, "out 'fc': expected float32, got float64"),
            (np.empty((3, 5), np.float32), ShapeError, "out 'fc': expected shape [2, 5], got [3, 5]"),
            (np.empty(10, np.float32), ShapeError, "expected shape [2, 5], got [10]"),
            (np.empty((5, 2), np.float32).T, InvalidArgumentError, "expected a C-contiguous array, got strides"),
            (read_only, InvalidArgumentError, "the array is read-only"),
            (torch.empty(2, 5, requires_grad=True), InvalidArgumentError, "requires grad"),
            ([1.0] * 10, InvalidArgumentError, "out: expected 1 array(s), got 10"),
            (b"0123456789", ShapeError, "expected float32, got uint8"),
        ]
        for out, error, message in refused:
            with pytest.raises(error, match=re.escape(message)):
                engine(x, out=out)

    def test_may_not_share_memory(self, pair: sn.Engine) -> None:
        a, b, free = noise(2, 4), noise(2, 4, seed=2), np.empty((2, 4), np.float32)
        before = a.copy()
        with pytest.raises(InvalidArgumentError, match="out 'product': shares memory with an input"):
            pair(a, b, out=(free, a))
        with pytest.raises(InvalidArgumentError, match="shares memory with an input"):
            pair(torch.from_numpy(a), b, out=(free, torch.from_numpy(a)))
        with pytest.raises(InvalidArgumentError, match="shares memory with another output"):
            pair(a, b, out=(free, free))
        np.testing.assert_array_equal(a, before)
        block = np.empty((4, 4), np.float32)  # neighbours in one block share nothing
        block[:2] = a
        pair(block[:2], b, out=(block[2:], free))
        np.testing.assert_array_equal(block[2:], a + b)


class TestCompile:
    def test_takes_a_path(self, engine: sn.Engine, tmp_path: Path) -> None:
        path = tmp_path / "model.snet"
        conv_graph().save(path)
        x = noise(2, 3, 9, 9)
        for form in (path, str(path)):
            np.testing.assert_array_equal(sn.compile(form, tune=False)(x), engine(x))

    def test_does_not_change_the_graph(self) -> None:
        graph = conv_graph()
        before = repr(graph), [n.op for n in graph.nodes]
        sn.compile(graph, tune=False)
        assert (repr(graph), [n.op for n in graph.nodes]) == before

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            (torch.nn.Linear(2, 2), "Linear; import it first: graph = sparsenet.from_torch(module, example_inputs)"),
            (None, "expected a sparsenet.Graph or the path of a .snet file, got NoneType"),
            (np.zeros(3), "got ndarray"),
            ("net.onnx", "'net.onnx' is not a .snet file; import it first: graph = sparsenet.from_onnx(path)"),
            ("net.pt2", "from_torch(torch.export.load(path))"),
        ],
    )
    def test_refuses_other_models(self, model: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=re.escape(message)):
            sn.compile(model)

    def test_refuses_engines_and_programs(self, engine: sn.Engine) -> None:
        with pytest.raises(InvalidArgumentError, match="compiled already"):
            sn.compile(engine)  # type: ignore[arg-type]
        program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
        with pytest.raises(InvalidArgumentError, match=re.escape("sparsenet.from_torch(program)")):
            sn.compile(program)

    def test_refuses_files_that_are_none(self, tmp_path: Path) -> None:
        with pytest.raises(SparsenetIOError, match="absent"):
            sn.compile(tmp_path / "absent.snet")
        (tmp_path / "bad.snet").write_bytes(b"no network")
        with pytest.raises(FileFormatError):
            sn.compile(tmp_path / "bad.snet")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"threads": 0}, "threads: expected an integer >= 1 and below 2**31, got 0"),
            ({"threads": True}, "threads: expected an integer >= 1 and below 2**31, got True"),
            ({"threads": 1.5}, "got 1.5"),
            ({"threads": 10**6}, "threads=1000000: expected 1 to 1024"),
            ({"batch": -1}, "batch: expected an integer >= 1 and below 2**31, got -1"),
            ({"batch": 2**70}, "batch: expected an integer >= 1 and below 2**31"),
            ({"tune_seconds": float("nan")}, "tune_seconds: expected a number >= 0, got nan"),
            ({"tune_seconds": None}, "tune_seconds: expected a number >= 0, got None"),
            ({"passes": "fold"}, "passes: expected True, False or pass names to leave out, got 'fold'"),
            ({"passes": 3}, "passes: expected True, False or pass names to leave out, got 3"),
            ({"passes": [3]}, "passes: expected True, False or pass names to leave out, got [3]"),
            ({"isa": 3}, "isa: expected a name or None, got 3"),
            ({"passes": ["no_such_pass"]}, "no_such_pass"),
            ({"isa": "mmx"}, "mmx"),
            ({"kernel": "no_such_kernel"}, "no_such_kernel"),
            ({"backend": "cuda"}, "backend: expected 'cpp' or 'numba', got 'cuda'"),
        ],
    )
    def test_refuses_options(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=re.escape(message)):
            sn.compile(conv_graph(), **options)

    @pytest.mark.parametrize("options", [{"passes": False}, {"threads": 2}, {"isa": "scalar"}, {"tune": True}])
    def test_options_keep_the_answer(self, options: dict[str, Any]) -> None:
        x = noise(2, 3, 9, 9)
        assert_close(sn.compile(conv_graph(), **({"tune": False} | options))(x), conv_graph(), [x])

    def test_passes_leave_fewer_steps(self) -> None:
        with_all, without = (sn.compile(conv_graph(), tune=False, passes=p) for p in (True, False))
        assert len(with_all.steps) < len(without.steps)


def test_the_binding_itself_refuses_what_would_be_undefined(engine: sn.Engine) -> None:
    core = engine._backend
    x, y = noise(2, 3, 9, 9), np.empty((2, 5), np.float32)
    read_only = np.empty((2, 5), np.float32)
    read_only.setflags(write=False)
    for batch, inputs, outputs, message in (
        (2, [x.astype(np.float64)], [y], "'x': expected a C-contiguous float32 array of shape [N, 3, 9, 9] with N = 2"),
        (2, [x.transpose(0, 1, 3, 2)], [y], "'x': expected a C-contiguous"),
        (3, [x], [y], "with N = 3"),
        (2, [x], [y[:1]], "'fc': expected a C-contiguous writable float32 array"),
        (2, [x], [read_only], "writable"),
        (2, [x, x], [y], "expected 1 inputs, got 2"),
        (2, [x], [], "expected 1 outputs, got 0"),
        (2, [None], [y], "'x': expected an ndarray"),
        (0, [x[:0]], [y[:0]], "at least 1"),
    ):
        with pytest.raises(SparsenetError, match=re.escape(message)):
            core.run(batch, inputs, outputs)


class TestNumba:
    def test_the_same_engine_around_it(self, tmp_path: Path) -> None:
        engine = sn.compile(conv_graph(), backend="numba")
        x = noise(2, 3, 9, 9)
        assert_close(engine(x), conv_graph(), [x])
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(engine))(x), engine(x))
        assert isinstance(engine(torch.from_numpy(x)), torch.Tensor)
        assert "numba" in repr(engine)
        assert len(engine.explain(repeat=1)) == len(engine.steps)
        engine.profile(x, trace=tmp_path / "trace.json")
        assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


class TestPickle:
    @pytest.mark.parametrize("clone", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy])
    def test_round_trip(self, engine: sn.Engine, clone: Callable[[sn.Engine], sn.Engine]) -> None:
        again = clone(engine)
        x = noise(3, 3, 9, 9)
        np.testing.assert_array_equal(again(x), engine(x))
        assert repr(again) == repr(engine)
        assert repr(clone(again)) == repr(engine)

    def test_session(self, tmp_path: Path) -> None:
        conv_graph().save(tmp_path / "model.snet")
        session = sn.InferenceSession(tmp_path / "model.snet", tune=False)
        (tmp_path / "model.snet").unlink()
        x = noise(1, 3, 9, 9)
        [y] = pickle.loads(pickle.dumps(session)).run(None, {"x": x})
        np.testing.assert_array_equal(y, session.run(None, {"x": x})[0])


class TestSession:
    def test_runs_like_onnxruntime(self, tmp_path: Path, pair: sn.Engine) -> None:
        path = tmp_path / "pair.snet"
        two_by_two_graph().save(path)
        left, right = noise(2, 4), noise(2, 4, seed=2)
        feed = {"left": left, "right": right}
        with sn.InferenceSession(path.read_bytes()) as session:
            assert [(i.name, i.shape, i.type) for i in session.get_inputs()] == [
                ("left", ["N", 4], "tensor(float)"),
                ("right", ["N", 4], "tensor(float)"),
            ]
            assert [o.name for o in session.get_outputs()] == ["sum", "product"]
            total, product = session.run(None, feed)
            np.testing.assert_array_equal(total, left + right)
            [only] = session.run(["product"], feed)
            np.testing.assert_array_equal(only, product)
            assert [y.tolist() for y in session.run(["product", "sum"], feed)] == [product.tolist(), total.tolist()]
            with pytest.raises(InvalidArgumentError, match=re.escape("unknown ['logits']; the outputs are ['sum',")):
                session.run(["logits"], feed)
            with pytest.raises(InvalidArgumentError, match="expected a dict of input names to arrays, got ndarray"):
                session.run(None, left)  # type: ignore[arg-type]
            with pytest.raises(InvalidArgumentError, match="missing"):
                session.run(None, {})
            assert "InferenceSession(Engine(left[N, 4], right[N, 4] -> sum[N, 4], product[N, 4]" in repr(session)


class TestExplain:
    def test_rows_add_up(self, engine: sn.Engine) -> None:
        graph = conv_graph()
        nonzeros = sum(int(np.count_nonzero(graph.constant(n))) for n in ("w", "fc_w"))
        explanation = engine.explain(noise(2, 3, 9, 9), repeat=3)
        rows = list(explanation)
        assert len(rows) == len(engine.steps) == len(explanation)
        assert explanation.batch == 2
        assert sum(row.nnz for row in rows) == nonzeros
        assert sum(row.weights for row in rows) == graph.constant("w").size + graph.constant("fc_w").size
        assert all(row.ms is not None and row.ms >= 0 and row.kernel and row.why for row in rows)
        [conv] = [row for row in rows if row.op == "Conv"]
        assert conv.useful_macs == pytest.approx(81 * np.count_nonzero(graph.constant("w")))
        assert conv.macs == 81 * graph.constant("w").size
        assert conv.gflops == pytest.approx(2e-6 * 2 * conv.useful_macs / conv.ms)
        assert conv.peak_percent == pytest.approx(100 * conv.gflops / explanation.peak_gflops)
        assert 0 < conv.peak_percent < 100
        assert explanation.total_ms == pytest.approx(sum(row.ms for row in rows))

    def test_text_and_json(self, engine: sn.Engine, tmp_path: Path) -> None:
        from rich.console import Console

        explanation = engine.explain()
        text = str(explanation)
        console = Console(width=200, record=True, file=io.StringIO())
        console.print(explanation)
        for rendered in (text, console.export_text()):
            assert all(step.kernel in rendered and step.op in rendered for step in engine.steps)
            assert "GFLOP/s" in rendered
        assert json.loads(explanation.to_json(tmp_path / "explain.json"))["rows"][0]["kernel"] == engine.steps[0].kernel
        assert json.loads((tmp_path / "explain.json").read_text()) == json.loads(explanation.to_json())

    def test_without_timing(self, engine: sn.Engine) -> None:
        explanation = engine.explain(time=False)
        assert explanation.total_ms is None
        assert all(row.ms is None for row in explanation)
        assert "not timed" in str(explanation)

    def test_repr_tells_the_story(self, engine: sn.Engine) -> None:
        text = repr(engine)
        for part in ("x[N, 3, 9, 9] -> fc[N, 5]", "576 weights", "% zeros", "steps: ", "1 thread;", "dense 2.3 kB"):
            assert part in text
        assert f"; {engine.isa}, " in text
        assert engine.packed_bytes > 0
        assert engine.dense_bytes == 4 * 576


class TestProfile:
    def test_trace_is_one_perfetto_opens(self, engine: sn.Engine, tmp_path: Path) -> None:
        path = tmp_path / "trace.json"
        path.write_text("old")
        profile = engine.profile(noise(2, 3, 9, 9), trace=path)
        events = [e for e in json.loads(path.read_text())["traceEvents"] if e["ph"] == "X"]
        assert [e["name"] for e in events] == [s.node for s in engine.steps]
        for event, step in zip(events, engine.steps, strict=True):
            assert {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"} <= event.keys()
            assert event["args"]["nnz"] == step.nnz
            assert event["args"]["density"] == step.density
            assert event["args"]["kernel"] == step.kernel
            assert event["args"]["bytes"] == step.packed_bytes + step.output_bytes(2)
        ends = [e["ts"] + e["dur"] for e in events]
        assert all(end <= later["ts"] + 1e-6 for end, later in zip(ends, events[1:], strict=False))
        assert profile.total_seconds == pytest.approx(1e-6 * ends[-1])
        assert list(tmp_path.iterdir()) == [path]
        assert all(step.kernel in str(profile) for step in engine.steps)

    def test_a_trace_that_cannot_be_written_leaves_nothing(self, engine: sn.Engine, tmp_path: Path) -> None:
        with pytest.raises(SparsenetIOError, match="absent"):
            engine.profile(trace=tmp_path / "absent" / "trace.json")
        (tmp_path / "folder").mkdir()
        with pytest.raises(SparsenetIOError):
            write_text(tmp_path / "folder", "text")
        assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_kernels_and_isas() -> None:
    from sparsenet import _core

    isas = _core.isas()
    assert "scalar" in isas
    assert _core.best_isa("scalar") == "scalar"
    kernels = _core.kernels()
    assert len({k["name"] for k in kernels}) == len(kernels) > 0
    assert all(k["available"] == (k["isa"] in isas) and k["name"].endswith(k["isa"]) for k in kernels)
    assert _core.peak_gflops("scalar") > 0.1
    with pytest.raises(InvalidArgumentError, match="mmx"):
        _core.peak_gflops("mmx")
