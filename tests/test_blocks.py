"""Where weights stand in blocks of four, dead channels go without breaking blocks apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import Net
from numpy.typing import NDArray
from test_passes import passed, weights

from sparsenet import Graph


def constants(graph: Graph) -> list[NDArray[np.float32]]:
    return [graph.constant(n.inputs[1]) for n in graph.nodes if n.op == "Conv"]


def blocks(w: NDArray[np.float32], rows: int, columns: int) -> int:
    """Aligned blocks of a 1x1 weight that hold a nonzero."""
    m, c = -(-w.shape[0] // rows), -(-w.shape[1] // columns)
    whole = np.zeros((m * rows, c * columns), bool)
    whole[: w.shape[0], : w.shape[1]] = w[:, :, 0, 0] != 0
    return int(whole.reshape(m, rows, c, columns).any((1, 3)).sum())


@pytest.mark.parametrize("between", ["", "depthwise", "residual"])
def test_fours_that_stay_whole_come_first(between: str) -> None:
    net = Net(channels=8)
    x = net.conv(net.x, 16, 1, blocks=(4, 1))
    if between == "depthwise":
        x = net.conv(net.act(x), 16, groups=16)
    if between == "residual":
        x = net.op("Add", x, net.conv(net.x, 16, 1))
    before = net.done(net.conv(x, 5, 1, unread=[1, 9, 10]))
    after = passed(before)
    old, new = constants(before)[0], constants(after)[0]
    order = [4, 5, 6, 7, 12, 13, 14, 15, 0, 2, 3, 8, 11]  # of the first and third four a part is left
    np.testing.assert_array_equal(new != 0, old[order] != 0)
    assert blocks(new[:8], 4, 1) * 4 == np.count_nonzero(new[:8])


def test_inputs_in_fours_as_well() -> None:
    net = Net(channels=3)
    after = passed(net.done(net.conv(net.conv(net.x, 12, 1, dead=[5], bias=None), 6, 1, blocks=(1, 4))))
    new = constants(after)[1]
    assert new.shape[1] == 11
    assert blocks(new[:, :8], 1, 4) * 4 == np.count_nonzero(new[:, :8])


@pytest.mark.parametrize("tie", ["concat", "slice", "flatten", "output", "random"])
def test_other_channels_keep_their_order(tie: str) -> None:
    """Where a new order would have to be carried through an op that moves channels, and where there are no blocks."""
    net = Net(channels=8)
    given: Any = {} if tie == "random" else {"blocks": (4, 1)}
    x = net.conv(net.x, 16, 1, bias=None, **given)
    read = [c for c in range(16) if c not in (1, 9)]
    if tie == "concat":
        y = net.conv(net.op("Concat", x, net.x, axis=1), 5, 1, unread=[1, 9])
    elif tie == "slice":
        read = [c for c in range(4, 16) if c not in (5, 13)]
        y = net.conv(net.op("Slice", x, axis=1, start=4, end=16, step=1), 5, 1, unread=[1, 9])
    elif tie == "flatten":
        y = net.linear(net.flatten(x), 5, unread=[c * 64 + i for c in (1, 9) for i in range(64)])
    elif tie == "output":
        read = list(range(16))
        y = x
    else:
        y = net.conv(x, 5, 1, unread=[1, 9])
    before = net.done(y)
    after = passed(before)
    assert weights(after)[0][0] == len(read)
    np.testing.assert_array_equal(constants(after)[0] != 0, constants(before)[0][read] != 0)
