"""The .snet file from Python. The reader's defences have their own C++ test, snet_hostile.cpp."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import sparsenet as sn
from sparsenet import _core, reference
from sparsenet.errors import FileFormatError, GraphError, InvalidArgumentError, SparsenetError, SparsenetIOError


def random_sparse(shape: tuple[int, ...], density: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < density, rng.standard_normal(shape), 0).astype(np.float32)


def linear(weight: np.ndarray, bias: np.ndarray | None = None) -> sn.Graph:
    graph = sn.Graph()
    inputs = [graph.add_input("x", (None, weight.shape[1])), graph.add_constant("w", weight)]
    if bias is not None:
        inputs.append(graph.add_constant("b", bias))
    graph.set_outputs([graph.add_node("Linear", inputs, {"act": "relu"}, name="y")])
    return graph


def small_net() -> sn.Graph:
    """Convolutions at several densities, a residual, a branch and a classifier."""
    graph = sn.Graph()
    x = graph.add_input("image", (None, 3, 12, 12))
    for i, density in enumerate((0.5, 0.1, 0.002)):
        w = random_sparse((8, 3 if i == 0 else 8, 3, 3), density, i)
        w[-1, -1, -1, -1] = 1e-40
        b = random_sparse((8,), 1, 10 + i)
        attrs = {"stride": [1, 1], "padding": [1, 1, 1, 1], "dilation": [1, 1], "act": "relu"}
        inputs = [x, graph.add_constant(f"w{i}", w), graph.add_constant(f"b{i}", b), *([x] if i else [])]
        x = graph.add_node("Conv", inputs, attrs, name=f"conv{i}")
    x = graph.add_node("AdaptiveAvgPool", [x], {"output": [2, 2]})
    x = graph.add_node("Reshape", [x], {"shape": [0, -1]})
    x = graph.add_node("Linear", [x, graph.add_constant("fc", random_sparse((10, 32), 1, 20))], {}, name="logits")
    graph.set_outputs([x])
    return graph


def signed(data: bytes) -> bytes:
    """The bytes with their digest made right again."""
    at = data.index(b'"sha256":"') + 10
    blank = data[:at] + b"0" * 64 + data[at + 64 :]
    return data[:at] + hashlib.sha256(blank).hexdigest().encode() + data[at + 64 :]


def header(data: bytes) -> dict:
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def encoding_of(data: bytes) -> str:
    return json.loads(header(data)["__metadata__"]["graph"])["constants"][0]["encoding"]


def test_results_are_bit_identical(tmp_path):
    graph = small_net()
    graph.save(tmp_path / "net.snet")
    loaded = sn.load(tmp_path / "net.snet")
    os.unlink(tmp_path / "net.snet")  # a loaded graph needs no file
    assert [(n.op, n.name, n.inputs, n.output, n.attrs) for n in loaded.nodes] == [
        (n.op, n.name, n.inputs, n.output, n.attrs) for n in graph.nodes
    ]
    assert (loaded.inputs, loaded.outputs, loaded.fixed_batch) == (graph.inputs, graph.outputs, graph.fixed_batch)
    x = np.random.default_rng(0).standard_normal((3, 3, 12, 12)).astype(np.float32)
    want = sn.compile(graph, tune=False)(x)
    got = sn.compile(loaded, tune=False)(x)
    assert np.std(want) > 0.01
    assert want.tobytes() == got.tobytes()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 700),
    st.sampled_from([0, 0.0005, 0.003, 0.02, 0.1, 0.3, 0.9, 1]),
    st.integers(0, 99),
)
def test_weights_come_back_bit_for_bit(rows, cols, density, seed):
    weight = random_sparse((rows, cols), density, seed)
    odd = np.array([-0.0, 1e-45, -1e-40, 3.4028235e38, 1.1754944e-38], np.float32)
    place = np.random.default_rng(seed).integers(0, weight.size, len(odd) if seed % 2 else 0)
    weight.flat[place] = odd[: len(place)]
    data = _core.save_bytes(linear(weight))
    back = _core.load_bytes(data)
    assert back.constant("w").tobytes() == weight.tobytes()
    assert _core.save_bytes(back) == data
    nonzero = np.count_nonzero(weight.view(np.uint32))
    smallest = min(4 * weight.size, 4 * nonzero + (weight.size + 7) // 8 if nonzero else 0)
    tensors = {k: v["data_offsets"] for k, v in header(data).items() if k.startswith("w")}
    assert sum(end - begin for begin, end in tensors.values()) <= smallest


@pytest.mark.parametrize(
    ("density", "encoding"), [(1, "dense"), (0.5, "bitmap"), (0.1, "gaps8"), (0.0005, "gaps16"), (0, "zeros")]
)
def test_the_smallest_encoding_is_chosen(density, encoding):
    assert encoding_of(_core.save_bytes(linear(random_sparse((256, 2048), density, 1)))) == encoding


@pytest.mark.parametrize(("columns", "fp16", "bytes_per_nonzero"), [(25088, False, 5.05), (4096, True, 3.05)])
def test_bytes_of_the_large_layers_of_vgg16_at_90_percent(columns, fp16, bytes_per_nonzero):
    rng = np.random.default_rng(0)
    weight = np.zeros((4096, columns), np.float32)
    at = np.cumsum(rng.geometric(0.1, weight.size // 10 + weight.size // 100))
    at = at[at < weight.size]
    weight.flat[at] = rng.standard_normal(len(at), dtype=np.float32) * 0.01
    graph = linear(weight)
    data = _core.save_bytes(graph, fp16=fp16)
    # The issue allows 6.2 bytes and 1 %; 8-bit gaps need no more than 5 and 3.
    assert len(data) <= bytes_per_nonzero * np.count_nonzero(weight)
    back = _core.load_bytes(data).constant("w")
    want = weight.astype(np.float16).astype(np.float32) if fp16 else weight
    assert np.array_equal(back.view(np.uint32), want.view(np.uint32))


def test_fp16_rounds_to_nearest_even_and_leaves_vectors_alone():
    values = np.concatenate([
        np.arange(0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float32)[:, None] * [[1, 1 + 2**-11, 1 - 2**-12]],
        [[65519.996, -65519.996, 2**-25]],
    ]).astype(np.float32)
    bias = random_sparse((len(values),), 1, 3)
    back = _core.load_bytes(_core.save_bytes(linear(values, bias), fp16=True))
    want = values.astype(np.float16).astype(np.float32)
    # A weight that rounds to -0.0 keeps its sign, as NumPy's does.
    assert back.constant("w").tobytes() == want.tobytes()
    assert back.constant("b").tobytes() == bias.tobytes()


@pytest.mark.skipif(_core.best_isa() == "scalar", reason="the scalar path keeps floats")
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (4, 1), (1, 4)])
@pytest.mark.parametrize("zeros", [0.0, 0.8])
def test_weights_saved_as_half_floats_run_as_such(rows: int, columns: int, zeros: float) -> None:
    rng = np.random.default_rng(4)
    blocks = rng.random((120 // rows, 400 // columns)) >= zeros
    weight = rng.standard_normal((120, 400)).astype(np.float32) * blocks.repeat(rows, 0).repeat(columns, 1)
    graph = linear(weight, random_sparse((120,), 1, 5))
    back = _core.load_bytes(_core.save_bytes(graph, fp16=True))
    x = rng.standard_normal((40, 400)).astype(np.float32)

    isa = _core.best_isa()
    halves, floats = (sn.compile(g, tune=False, isa=isa) for g in (back, graph))
    assert "f16" in halves.steps[0].kernel
    assert "f16" not in floats.steps[0].kernel
    if zeros:  # dense weights may stay with the vector kernels
        assert "f16" not in sn.compile(back, tune=False, isa=isa, batch=40).steps[0].kernel
    for inputs in (x[:1], x):  # packed for one sample, run with one and with more than vector kernels take
        reference.assert_close(halves(inputs), back, {"x": inputs})
    assert halves.steps[0].packed_bytes < 0.8 * floats.steps[0].packed_bytes


@pytest.mark.parametrize(
    ("value", "fp16", "message"),
    [(65520, True, "beyond the largest fp16"), (-1e30, True, "fp16"), (np.nan, False, "nan"), (np.inf, False, "inf")],
)
def test_weights_that_cannot_be_stored_are_named(tmp_path, value, fp16, message):
    path = tmp_path / "net.snet"
    linear(np.eye(3, dtype=np.float32)).save(path)
    before = path.read_bytes()
    weight = np.eye(3, dtype=np.float32)
    weight[1, 2] = value
    with pytest.raises(InvalidArgumentError, match=rf"constant 'w': element 5 .*{message}"):
        linear(weight).save(path, fp16=fp16)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.snet"]


def test_any_safetensors_tool_opens_it(tmp_path):
    weight, bias = random_sparse((64, 256), 0.1, 1), random_sparse((64,), 1, 2)
    path = tmp_path / "net.snet"
    linear(weight, bias).save(path)
    tensors = load_file(path)
    assert np.array_equal(tensors["b"], bias)
    assert np.array_equal(tensors["w#values"], weight[weight != 0])
    gaps = tensors["w#gaps8"].astype(int)
    assert np.array_equal(np.cumsum(gaps + 1) - 1, np.flatnonzero(weight))
    with safe_open(path, "numpy") as file:
        assert file.metadata()["format"] == "sparsenet"
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    offsets = {k: v["data_offsets"][0] for k, v in header(data).items() if not k.startswith(("#pad", "__"))}
    assert all((start + offset) % 64 == 0 for offset in offsets.values())
    assert signed(data) == data
    # Written again by another tool it is no .snet file any more, and says so.
    save_file(tensors, path, {"format": "sparsenet"})
    with pytest.raises(FileFormatError, match=r"net\.snet: not a \.snet file"):
        sn.load(path)


@pytest.mark.parametrize(("version", "message"), [("2", "newer than 1.*update sparsenet"), ("0", "version")])
def test_other_versions_are_refused(version, message):
    data = _core.save_bytes(small_net()).replace(b'"version":"1"', b'"version":"%s"' % version.encode())
    with pytest.raises(FileFormatError, match=message):
        _core.load_bytes(signed(data))


def test_damage_is_found():
    data = bytearray(_core.save_bytes(small_net()))
    data[-1] ^= 1
    with pytest.raises(FileFormatError, match="digest"):
        _core.load_bytes(bytes(data))


def test_errors_of_the_system_and_of_the_graph(tmp_path):
    graph = small_net()
    with pytest.raises(SparsenetIOError, match="No such file"):
        sn.load(tmp_path / "none.snet")
    with pytest.raises(OSError, match="not a regular file"):
        sn.load(tmp_path)
    with pytest.raises(SparsenetIOError, match="No such file"):
        graph.save(tmp_path / "no" / "net.snet")
    (tmp_path / "empty.snet").touch()
    with pytest.raises(FileFormatError, match=r"empty\.snet: not a \.snet file"):
        sn.load(tmp_path / "empty.snet")
    unfinished = sn.Graph()
    unfinished.add_input("x", (None, 3))
    with pytest.raises(GraphError, match="no output"):
        unfinished.save(tmp_path / "net.snet")
    assert os.listdir(tmp_path) == ["empty.snet"]


def test_paths_of_every_kind(tmp_path, monkeypatch):
    graph = small_net()
    for path in (tmp_path / "a.snet", str(tmp_path / "b.snet"), tmp_path / "\udcff.snet"):
        graph.save(path)
        assert sn.load(path).nodes[0].name == "conv0"
    monkeypatch.chdir(tmp_path)
    graph.save("here.snet")
    assert Path("here.snet").stat().st_size == (tmp_path / "a.snet").stat().st_size


def test_names_need_no_care():
    graph = sn.Graph()
    names = ["w#values", "__metadata__", "#pad0", "é\n\"\\", "a" * 4096]
    y = graph.add_input("#0", (None, 4))
    for i, name in enumerate(names):
        y = graph.add_node("Add", [y, graph.add_constant(name, random_sparse((4,), 1, i))], {}, name=f"#{i + 1}")
    graph.set_outputs([y])
    back = _core.load_bytes(_core.save_bytes(graph))
    assert all(back.constant(n).tobytes() == graph.constant(n).tobytes() for n in names)


def test_graphs_pickle():
    graph = small_net()
    data = pickle.dumps(graph)
    back = pickle.loads(data)
    assert isinstance(back, sn.Graph)
    assert _core.save_bytes(back) == _core.save_bytes(graph)
    with pytest.raises(SparsenetError):
        pickle.dumps(sn.Graph())
