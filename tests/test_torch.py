"""from_torch: what is imported equals the module, whatever holds its weights; the module stays as it was."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.utils import parametrizations, parametrize, prune
from torch_checks import Forward, assert_graph_matches, small_net

import sparsenet as sn
from benchmarks.models import create_small, input_shape, measure_batch_norm, seeded_init, sparsify
from sparsenet.errors import GraphError, ShapeError, UnsupportedOpError

torch.set_num_threads(1)


def pruned(name: str, sparsity: float = 0.6) -> tuple[nn.Module, Tensor]:
    model = sparsify(seeded_init(create_small(name), seed=1), sparsity, seed=2)
    return measure_batch_norm(model, seed=3), torch.randn(2, *input_shape(name, small=True))


def exported(module: nn.Module, *inputs: Tensor, dynamic: bool = True) -> torch.export.ExportedProgram:
    shapes = tuple({0: Dim("batch")} for _ in inputs) if dynamic else None
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.export.export(module.eval(), inputs, dynamic_shapes=shapes)


# ---- networks


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "mobilenet_v3_small", "conv1d"])
def test_network_with_any_batch(name: str) -> None:
    model, x = pruned(name)
    graph = sn.from_torch(model, x[:1])
    assert graph.fixed_batch == 0
    for batch in (x[:1], x, torch.cat([x, -x])):
        assert_graph_matches(graph, model, batch)


def test_zeros_stay() -> None:
    model, x = pruned("resnet20", 0.9)
    graph = sn.from_torch(model, x)
    weight = model.layer2[1].conv1.weight.detach().numpy()
    assert np.array_equal(graph.constant("layer2.1.conv1.weight"), weight)
    assert (weight == 0).mean() > 0.89


def test_names_are_module_paths() -> None:
    model, x = pruned("resnet20")
    graph = sn.from_torch(model, x)
    nodes = {node.name: node for node in graph.nodes}
    assert nodes["layer1.0.conv1"].op == "Conv"
    assert nodes["layer1.0.conv1"].inputs[1] == "layer1.0.conv1.weight"
    assert nodes["layer1.0.bn1"].inputs[1:] == [
        f"layer1.0.bn1.{n}" for n in ("weight", "bias", "running_mean", "running_var")
    ]
    assert nodes["layer3.0.add"].op == "Add"
    assert graph.outputs == [("fc", (None, 10))]


def test_graph_keeps_its_weights_when_training_goes_on() -> None:
    model = nn.Linear(4, 3)
    graph = sn.from_torch(model, torch.randn(1, 4))
    before = graph.constant("weight").copy()
    with torch.no_grad():
        model.weight.add_(1)
    assert np.array_equal(graph.constant("weight"), before)


# ---- masks and parametrizations


def test_prune_masks_are_baked_in() -> None:
    net = small_net()
    prune.random_unstructured(net[0], "weight", 0.7)
    prune.ln_structured(net[3], "weight", 0.5, n=2, dim=0)
    x = torch.randn(2, 3, 6, 6)
    graph = sn.from_torch(net, x)
    assert (graph.constant("0.weight") == 0).sum() == (net[0].weight_mask == 0).sum()
    assert (graph.constant("3.weight") == 0).all(axis=(1, 2, 3)).sum() == 2
    assert_graph_matches(graph, net, x)


class Halve(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight * (torch.arange(weight.numel()).view_as(weight) % 2)


@pytest.mark.parametrize("how", ["weight_norm", "spectral_norm", "mask"])
def test_parametrizations_are_baked_in(how: str) -> None:
    net = small_net().eval()  # a spectral norm in training mode changes with every use
    if how == "mask":
        parametrize.register_parametrization(net[3], "weight", Halve())
    else:
        getattr(parametrizations, how)(net[3])
    x = torch.randn(2, 3, 6, 6)
    graph = sn.from_torch(net, x)
    assert [node.op for node in graph.nodes] == ["Conv", "BatchNorm", "Activation", "Conv"]
    assert graph.nodes[3].inputs[1] == "3.weight"
    parametrize.remove_parametrizations(net[3], "weight")  # leaves the weight as computed in fp32
    assert_graph_matches(graph, net, x)


def test_module_is_left_as_it_was() -> None:
    net = small_net()
    prune.random_unstructured(net[0], "weight", 0.5)
    net.train()
    net[1].eval()
    net(torch.randn(2, 3, 6, 6)).sum().backward()
    state = copy.deepcopy(net.state_dict())
    attributes = [(dict(m.__dict__), [*m._parameters.items()], [*m._buffers.items()]) for m in net.modules()]
    gradients = [p.grad.clone() for p in net.parameters()]
    sn.from_torch(net, torch.randn(1, 3, 6, 6))
    assert [m.training for m in net.modules()] == [True, True, False, True, True]
    for module, (plain, parameters, buffers) in zip(net.modules(), attributes, strict=True):
        assert all(module.__dict__[name] is value for name, value in plain.items())
        assert module.__dict__.keys() == plain.keys()
        assert all(module._parameters[name] is value for name, value in parameters)
        assert all(module._buffers[name] is value for name, value in buffers)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), gradients, strict=True))
    net(torch.randn(2, 3, 6, 6)).sum().backward()


def test_module_is_restored_after_a_failure() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ELU()).train()
    with pytest.raises(UnsupportedOpError):
        sn.from_torch(net, torch.randn(1, 3, 6, 6))
    assert net.training
    assert net[0].training


# ---- in-place operators


def _chain(x: Tensor) -> Tensor:
    y = x * 2
    z = y.add_(x).relu_()
    return torch.cat([y, z + 1], 1)


def _through_a_view(x: Tensor) -> Tensor:
    y = x * 2
    half = y[:, :2]
    half.relu_()
    return y + 1


def _view_made_before(x: Tensor) -> Tensor:
    y = x * 2
    flat = y.flatten(1)
    y.clamp_(max=0.5)
    return flat


def _view_made_after(x: Tensor) -> Tensor:
    y = x * 2
    y.mul_(3)
    return y.flatten(1)


def _constant(x: Tensor) -> Tensor:
    return x + torch.ones(4).mul_(3).add_(1)[:, None]


@pytest.mark.parametrize("function", [_chain, _through_a_view, _view_made_before, _view_made_after, _constant])
def test_in_place(function: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(2, 4, 3)
    try:
        graph = sn.from_torch(Forward(function), x)
    except UnsupportedOpError:
        assert function is _through_a_view  # functional form: slice_scatter
        return
    assert_graph_matches(graph, Forward(function), x.clone())


def test_in_place_on_the_input_and_on_parameters() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.calls.add_(1)
            return x + self.calls

    with pytest.raises(GraphError, match="buffer 'calls'"):
        sn.from_torch(Net(), torch.randn(2, 3))
    relu = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2))
    x = torch.randn(2, 3)
    assert_graph_matches(sn.from_torch(relu, x), relu, x.clone())


# ---- inputs and outputs


class TwoInTwoOut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(5, 4)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Any]:
        both = self.a(x) + self.b(y)
        return {"sum": both, "parts": (self.a(x).relu(), None), "same": both, "input": x}


@pytest.mark.parametrize("as_dict", [False, True])
def test_several_inputs_and_outputs(as_dict: bool) -> None:
    x, y = torch.randn(1, 3), torch.randn(1, 5)
    example: Any = {"y": y, "x": x} if as_dict else [x, y]
    graph = sn.from_torch(TwoInTwoOut(), example)
    assert graph.fixed_batch == 0
    assert dict(graph.inputs) == {"x": (None, 3), "y": (None, 5)}
    assert [name for name, _ in graph.outputs] == ["sum", "parts.0", "same", "input"]
    module = TwoInTwoOut()
    graph = sn.from_torch(module, example)
    x, y = torch.randn(3, 3), torch.randn(3, 5)
    order = [name for name, _ in graph.inputs]
    fed = {"x": x, "y": y}
    assert_graph_matches(graph, module, {name: fed[name] for name in order})


def test_nested_and_variadic_inputs() -> None:
    class Nested(nn.Module):
        def forward(self, pair: list[Tensor], *rest: Tensor) -> Tensor:
            return pair[0] * pair[1] + rest[0] - rest[1]

    x = [torch.randn(1, 3) for _ in range(4)]
    graph = sn.from_torch(Nested(), (x[:2], *x[2:]))
    assert graph.fixed_batch == 0
    assert len(graph.inputs) == 4
    assert_graph_matches(graph, Nested(), (x[:2], *x[2:]))


# ---- exported programs and batch sizes


def test_dynamic_program() -> None:
    model, x = pruned("lenet5")
    graph = sn.from_torch(exported(model, x))
    assert graph.fixed_batch == 0
    assert_graph_matches(graph, model, torch.cat([x, x, -x]))


def test_saved_program(tmp_path: Path) -> None:
    model, x = pruned("lenet5")
    torch.export.save(exported(model, x), tmp_path / "model.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(tmp_path / "model.pt2")
    graph = sn.from_torch(program)
    assert graph.constant("conv2.weight").shape == model.conv2.weight.shape
    assert_graph_matches(graph, model, torch.cat([x, -x]))


def test_static_program_fixes_the_batch() -> None:
    model, x = pruned("lenet5")
    graph = sn.from_torch(exported(model, x, dynamic=False))
    assert graph.fixed_batch == 2
    assert_graph_matches(graph, model, x)


def test_fully_decomposed_program() -> None:
    """Other tools hand over core ATen: convolution, addmm, permute, hard swish as arithmetic."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Hardswish(), nn.MaxPool2d(2), nn.ChannelShuffle(2),
        nn.ConvTranspose2d(8, 4, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5), nn.LogSoftmax(1),
    )  # fmt: skip
    seeded_init(model, 0, (3, 8, 8))
    x = torch.randn(3, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = exported(model, x).run_decompositions()
    assert "aten.addmm.default" in [str(node.target) for node in program.graph.nodes]
    assert_graph_matches(sn.from_torch(program), model, x)


def test_fixed_batch_when_torch_cannot_keep_it_symbolic() -> None:
    module = Forward(lambda x: x.view(2, -1))
    with pytest.warns(UserWarning, match="only runs batch size 2.*specialized"):
        graph = sn.from_torch(module, torch.randn(2, 3, 4))
    assert graph.fixed_batch == 2


def test_program_in_training_mode() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(small_net().train(), (torch.randn(2, 3, 6, 6),))
    with pytest.raises((UnsupportedOpError, GraphError), match="eval"):
        sn.from_torch(program)


def test_symbolic_image_size() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = ({0: Dim("n"), 2: Dim("h", min=4)},)
        program = torch.export.export(nn.Conv2d(3, 4, 3).eval(), (torch.randn(2, 3, 8, 8),), dynamic_shapes=shapes)
    with pytest.raises(ShapeError, match="axis 2 is symbolic"):
        sn.from_torch(program)
