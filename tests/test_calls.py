"""A call with nothing to convert stays in C++; whatever else comes takes the general path, with the same results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from strategies import normal

import sparsenet as sn

_RNG = np.random.default_rng(0)
_X = normal(_RNG, 5, 3, 8, 8)


def network(inputs: int, outputs: int, batch: int | None = None) -> sn.Engine:
    """The sum of the inputs, convolved once for each output."""
    graph = sn.Graph()
    names = [graph.add_input(f"x{i}", [None, 3, 8, 8]) for i in range(inputs)]
    total = names[0]
    for name in names[1:]:
        total = graph.add_node("Add", [total, name], {})
    made = []
    for i in range(outputs):
        weight = graph.add_constant(f"w{i}", normal(_RNG, 4 + i, 3, 3, 3))
        attrs = {"stride": [1, 1], "padding": [1, 1, 1, 1], "dilation": [1, 1], "groups": 1}
        made.append(graph.add_node("Conv", [total, weight], attrs))
    graph.set_outputs(made)
    if batch is not None:
        graph.fixed_batch = batch
    return sn.compile(graph, tune=False)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("inputs", [1, 2])
def test_both_paths_agree(inputs: int, outputs: int) -> None:
    engine = network(inputs, outputs)
    given = tuple(_X + i for i in range(inputs))
    direct = engine._backend.call(given)
    assert (type(direct) is tuple) == (outputs > 1)
    general = engine({f"x{i}": x for i, x in enumerate(given)})  # a mapping is never taken directly
    called = engine(*given)
    for results in (direct, general, called):
        arrays = results if outputs > 1 else (results,)
        assert [a.shape for a in arrays] == [(5, 4 + i, 8, 8) for i in range(outputs)]
        assert all(a.dtype == np.float32 and a.flags.c_contiguous and a.flags.writeable for a in arrays)
        for a, b in zip(arrays, direct if outputs > 1 else (direct,), strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.shares_memory(*(r if outputs == 1 else r[0] for r in (direct, called)))


@pytest.mark.parametrize(
    "odd",
    [
        _X.astype(np.float64),
        _X.astype(">f4"),
        np.asfortranarray(_X),
        _X[:, :, ::-1],
        _X[:0],
        _X[0],
        _X[:, :2].copy(),
        np.frombuffer(b"\0" + _X.tobytes(), np.uint8)[1:].view(np.float32).reshape(_X.shape),  # not aligned
        _X.tolist(),
        None,
    ],
    ids=["f64", "big-endian", "fortran", "reversed", "empty", "no batch", "channels", "unaligned", "list", "none"],
)
def test_what_needs_a_closer_look_is_left_to_python(odd: Any) -> None:
    engine = network(1, 1)
    assert engine._backend.call((odd,)) is None
    pair = network(2, 1)
    assert pair._backend.call((_X, odd)) is None


def test_number_and_batch_of_inputs() -> None:
    pair = network(2, 1)
    assert pair._backend.call((_X,)) is None
    assert pair._backend.call((_X, _X[:2])) is None
    fixed = network(1, 1, batch=2)
    assert fixed._backend.call((_X,)) is None
    assert fixed._backend.call((_X[:2],)).shape == (2, 4, 8, 8)
    with pytest.raises(sn.errors.ShapeError, match="batch 2 only"):
        fixed(_X)
