"""Max pooling passes NaN on, as torch does: a network that has gone wrong must not look healthy after a pool."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import sparsenet as sn
from sparsenet import _core, reference

SIZE = (5, 37, 41)

CASES = {
    "3x3 stride 2": ("MaxPool", {"kernel": [3, 3], "stride": [2, 2], "padding": [1] * 4, "dilation": [1, 1]}),
    "2x2": ("MaxPool", {"kernel": [2, 2], "stride": [2, 2], "padding": [0] * 4, "dilation": [1, 1]}),
    "5x5 stride 1": ("MaxPool", {"kernel": [5, 5], "stride": [1, 1], "padding": [2] * 4, "dilation": [1, 1]}),
    "3x3 stride 3": ("MaxPool", {"kernel": [3, 3], "stride": [3, 3], "padding": [0] * 4, "dilation": [1, 1]}),
    "all": ("AdaptiveMaxPool", {"output": [1, 1]}),
    "adaptive": ("AdaptiveMaxPool", {"output": [4, 6]}),
}


@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("case", CASES)
def test_a_nan_reaches_every_window_that_holds_it(case: str, isa: str) -> None:
    op, attrs = CASES[case]
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, *SIZE), np.float32)
    x[:, 1:][rng.random((2, 4, *SIZE[1:])) < 0.01] = np.nan  # the first channel keeps none
    x[0, 2, 0, 0] = x[1, 3, -1, -1] = np.nan
    x[:, 4] = -np.inf
    x[1, 4, 20, 20] = np.nan
    graph = sn.Graph()
    graph.set_outputs([graph.add_node(op, [graph.add_input("x", (None, *SIZE))], attrs, name="y")])
    y = sn.compile(graph, isa=isa, tune=False)(x)
    np.testing.assert_array_equal(y, reference.run(graph, {"x": x})["y"])
    t = torch.from_numpy(x)
    if op == "MaxPool":
        expected = F.max_pool2d(t, attrs["kernel"], attrs["stride"], attrs["padding"][0])
    else:
        expected = F.adaptive_max_pool2d(t, attrs["output"])
    np.testing.assert_array_equal(y, expected.numpy())
    assert np.isnan(y).any()
    assert not np.isnan(y[:, 0]).any()
