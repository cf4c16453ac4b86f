"""The one training loop of the evidence scripts, and the error it ends with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from sparsenet.report.data import Batches, Data, Split


@dataclass(frozen=True)
class Recipe:
    """AdamW with a one-cycle learning rate (Smith & Topin 2018) that peaks at ``lr``; or constant, if so asked.

    ``decay`` is AdamW's weight decay, 0.3 being right for so few epochs: of 0, 0.3 and 1 it gave LeNet-300-100, pruned
    12-fold in one shot, the smallest error on the held-out images (2.9, 2.4, 3.2 %). Weights that nothing needs must
    shrink if magnitude is to tell (Han et al. 2015, section 3.1).

    ``bf16`` runs convolutions and products in bfloat16 with fp32 weights and optimiser: twice as fast where the
    processor has instructions for it. Errors are always measured in fp32.
    """

    epochs: int
    lr: float = 2e-3
    batch: int = 128
    constant: bool = False
    bf16: bool = False
    decay: float = 0.0

    def told(self) -> dict[str, object]:
        return asdict(self)


# The LeNets as they are trained before pruning: han, apoz and sweep start from the same ones. Then with --quick.
LENETS = {"lenet300": Recipe(8, decay=0.3), "lenet5": Recipe(5, decay=0.3)}
QUICK_LENETS = {"lenet300": Recipe(3, batch=32), "lenet5": Recipe(1, batch=32)}


def train(
    model: nn.Module,
    split: Split,
    recipe: Recipe,
    seed: int,
    before_step: Callable[[], object] | None = None,
    after_step: Callable[[int], object] | None = None,
) -> nn.Module:
    """Trains in place and returns the model in eval mode; masks stay.

    ``before_step`` is called between backward and the optimiser's step, ``after_step`` with the number of steps done.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        batches = Batches(split, recipe.batch, seed)
        _channels(model, torch.channels_last)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, recipe.lr, weight_decay=recipe.decay, fused=True)
        steps = recipe.epochs * len(batches)
        schedule = None if recipe.constant else torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, steps)
        model.train()
        done = 0
        for _ in range(recipe.epochs):
            for x, y in batches:
                optimizer.zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
                    output = model(x.contiguous(memory_format=torch.channels_last))
                loss: Tensor = nn.functional.cross_entropy(output.float(), y)
                loss.backward()
                if before_step is not None:
                    before_step()
                optimizer.step()
                if schedule is not None:
                    schedule.step()
                done += 1
                if after_step is not None:
                    after_step(done)
                    model.train()
        _channels(model, torch.contiguous_format)
    return model.eval()


def _channels(model: nn.Module, layout: torch.memory_format) -> None:
    model.to(memory_format=layout)  # convolutions train faster with channels last


@torch.inference_mode()
def error(model: nn.Module, split: Split) -> float:
    """The share of wrong answers in percent, in eval mode, fp32."""
    training = model.training
    model.eval()
    wrong = sum(int((model(x).argmax(1) != y).sum()) for x, y in Batches(split, 500))
    model.train(training)
    return 100.0 * wrong / len(split)


def errors(model: nn.Module, data: Data) -> dict[str, float]:
    """Errors in percent on the held-out and on the test images."""
    return {"valid_error": error(model, data.valid), "test_error": error(model, data.test)}
