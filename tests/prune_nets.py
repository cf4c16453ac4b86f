"""Small seeded networks and data for the tests of pruning."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def convnet(seed: int = 0) -> nn.Sequential:
    """x[N, 4, 8, 8] -> [N, 8]; plain, depthwise, grouped, pointwise and transposed convolutions, batch norm, linear."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(4, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, groups=16),
        nn.Conv2d(16, 24, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(24, 8, 3, groups=2),
        nn.ConvTranspose2d(8, 16, 2, stride=2, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 8 * 8, 8),
    ).eval()


WEIGHTED = ("0", "3", "4", "6", "7", "10")


def lenet_300_100(seed: int = 0) -> nn.Sequential:
    """x[N, 784] -> [N, 10]: the network of Han's and the lottery ticket's MNIST tables, 266,200 weights."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))


def images(count: int = 3, seed: int = 1) -> torch.Tensor:
    """[count, 4, 8, 8]"""
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def mlp(seed: int = 0) -> nn.Sequential:
    """x[N, 12] -> [N, 4], for :func:`toy`."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4))


def toy(seed: int = 0, count: int = 256) -> DataLoader[tuple[torch.Tensor, ...]]:
    """A problem an MLP learns in a few epochs: which of the first four inputs is largest. Shuffled, batches of 32."""
    x = torch.randn(count, 12, generator=torch.Generator().manual_seed(seed))
    return DataLoader(TensorDataset(x, x[:, :4].argmax(1)), 32, shuffle=True)


def state(model: nn.Module) -> dict[str, object]:
    """All there is to a model, in a form that compares with ==: values, order of parameters, classes, modes."""
    tensors = {name: value.detach().clone().numpy().tobytes() for name, value in model.state_dict().items()}
    return {
        "tensors": tensors,
        "order": [name for name, _ in model.named_parameters()],
        "classes": [type(module) for module in model.modules()],
        "modes": [module.training for module in model.modules()],
    }
