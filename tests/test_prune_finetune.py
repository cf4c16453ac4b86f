"""The fine-tune helper: what it returns, stops at, restores, and shows."""

from __future__ import annotations

import copy
import sys
from functools import partial
from typing import Any

import pytest
import torch
from prune_nets import convnet, images, mlp, state, toy
from torch import nn

from sparsenet import prune
from sparsenet.prune.snapshot import Snapshot

torch.set_num_threads(1)


def test_it_learns_and_keeps_masks_and_modes() -> None:
    model = prune.magnitude(mlp(), 0.5).eval()
    model[0].train()
    pruned = model[0].weight == 0
    history = prune.finetune(model, toy(), epochs=15, optimizer=partial(torch.optim.Adam, lr=1e-2), evaluate=toy(1))
    assert len(history.losses) == len(history.scores) == 15
    assert history.losses[-1] < 0.5 * history.losses[0]
    assert history.scores[-1] == prune.evaluate(model, toy(1)) > 0.7
    assert history.best is None
    assert bool((model[0].weight[pruned] == 0).all())
    assert [module.training for module in model] == [True, False, False, False]


def test_a_seed_repeats_and_leaves_the_callers_random_state() -> None:
    loader = toy()
    runs = []
    for seed in (3, 3, 4):
        model = mlp()
        torch.manual_seed(int(torch.randint(1000, ())))
        before = torch.get_rng_state()
        prune.finetune(model, loader, epochs=2, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        runs.append(state(model))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    before = torch.get_rng_state()
    prune.finetune(mlp(), loader, epochs=1, seed=None)
    assert not torch.equal(torch.get_rng_state(), before)


def test_patience_stops_and_ends_with_the_best_epoch() -> None:
    model = mlp()
    scores = iter([0.5, 0.7, 0.6, 0.7, 0.9])
    weights: list[torch.Tensor] = []

    def score(net: nn.Module) -> float:
        weights.append(net[0].weight.detach().clone())
        return next(scores)

    history = prune.finetune(model, toy(), epochs=9, evaluate=score, patience=2)
    assert history.scores == [0.5, 0.7, 0.6, 0.7]
    assert (history.best, history.stopped_early) == (1, True)
    assert torch.equal(model[0].weight, weights[1])


def test_a_denser_epoch_is_no_rival() -> None:
    model = mlp()
    scores = iter([0.9, 0.8, 0.3, 0.4, 0.35])
    pruner = prune.Gradual(model, 0.9, end=20, every=5)  # 8 steps an epoch: the masks are final in the third
    history = prune.finetune(
        model, toy(), epochs=5, evaluate=lambda m: next(scores), patience=3, after_step=pruner.step
    )
    assert history.best == 3
    assert prune.sparsity(model) == pytest.approx(0.9, abs=2e-3)


def test_schedulers_step_once_an_epoch_and_hooks_around_every_step() -> None:
    model, calls, rates = mlp(), [], []
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = model[0].weight.detach().clone()

    def undo() -> None:
        assert model[0].weight.grad is not None
        calls.append("before")
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)

    def after() -> None:
        calls.append("after")
        rates.append(optimizer.param_groups[0]["lr"])

    prune.finetune(
        model,
        toy(),
        epochs=3,
        optimizer=optimizer,
        scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5),
        before_step=undo,
        after_step=after,
    )
    assert calls == ["before", "after"] * 24
    assert rates == [0.1] * 8 + [0.05] * 8 + [0.025] * 8
    assert torch.equal(model[0].weight, before)


def test_ctrl_c_leaves_a_model_that_works() -> None:
    model = prune.magnitude(mlp(), 0.5).eval()
    kept: list[torch.Tensor] = []

    def score(net: nn.Module) -> float:
        if len(kept) == 2:
            raise KeyboardInterrupt
        kept.append(net[0].weight.detach().clone())
        return 1 / len(kept)

    with pytest.raises(KeyboardInterrupt):
        prune.finetune(model, toy(), epochs=5, evaluate=score, patience=5)
    assert torch.equal(model[0].weight, kept[0])  # the best so far
    assert not model.training
    assert prune.sparsity(model) == pytest.approx(0.5, abs=2e-3)
    interrupted = mlp()
    before = state(interrupted)
    with pytest.raises(KeyboardInterrupt):
        prune.finetune(interrupted, toy(), epochs=1, after_step=partial(_raise, KeyboardInterrupt))
    assert state(interrupted)["tensors"] != before["tensors"]
    assert state(interrupted)["modes"] == before["modes"]


def _raise(error: type[BaseException]) -> None:
    raise error


def test_a_loss_that_diverges_is_an_error_and_undone() -> None:
    model = prune.magnitude(mlp(), 0.3)
    before = state(model)
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        prune.finetune(model, toy(), epochs=9, optimizer=partial(torch.optim.SGD, lr=1e30))
    assert state(model) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": 1, "loader": []}, "loader is empty"),
        ({"epochs": 1, "loader": iter([])}, "loader is empty"),
        ({"epochs": 1, "patience": 2}, "needs evaluate="),
        ({"epochs": 1, "patience": 0, "evaluate": len}, "patience"),
        ({"epochs": 1, "optimizer": torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1)}, "none of the model's"),
        ({"epochs": 1, "evaluate": []}, "loader is empty: no sample to evaluate"),
    ],
)
def test_bad_arguments_change_nothing(arguments: dict[str, Any], message: str) -> None:
    model = mlp()
    before = state(model)
    with pytest.raises(ValueError, match=message):
        prune.finetune(model, **{"loader": toy(), **arguments})
    assert state(model) == before


def test_progress_is_on_stderr_and_only_for_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prune.finetune(mlp(), toy(), epochs=1)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    prune.finetune(mlp(), toy(), epochs=2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 2/2 loss" in err
    prune.finetune(mlp(), toy(), epochs=1, progress=False)
    assert capsys.readouterr() == ("", "")


def test_evaluate_counts_the_right_answers_in_eval_mode() -> None:
    class Answer(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert not self.training
            return x

    model = Answer()
    x, y = torch.eye(4), torch.tensor([0, 1, 0, 0])
    assert prune.evaluate(model, [(x, y), (x[:1], y[:1])]) == pytest.approx(3 / 5)
    assert model.training
    with pytest.raises(ValueError, match="empty"):
        prune.evaluate(model, [])
    with pytest.raises(ValueError, match=r"labels \[N\], not \[4, 4\] and \[4, 4\]"):
        prune.evaluate(model, [(x, x)])


def test_a_snapshot_puts_back_masks_values_order_and_optimisers() -> None:
    model = prune.magnitude(convnet(), {"4": 0.5}).train()
    model[10].register_buffer("extra", torch.ones(2))
    before = state(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    snapshot = Snapshot(model)
    for _ in range(2):
        prune.magnitude(model, 0.9)  # new masks, and a narrower one
        prune.set_mask(model[4], "weight", torch.zeros_like(model[4].weight, dtype=torch.bool))
        prune.bake(model[0])
        model[10] = nn.Linear(3, 3)
        model.eval()
        snapshot.restore()
        assert state(model) == before
    copied = copy.deepcopy(model)
    assert state(copied)["tensors"] == before["tensors"]
    model(images()).square().mean().backward()
    optimizer.step()
    changed = [a != b for a, b in zip(state(model)["tensors"].items(), before["tensors"].items(), strict=True)]
    assert sum(changed) >= 12  # every weight and bias: the optimiser still holds this model's parameters
    snapshot.restore()
    assert state(model) == before


def test_baking_keeps_the_order_of_parameters() -> None:
    model = convnet()
    order = [name for name, _ in model.named_parameters()]
    prune.bake(prune.magnitude(model, 0.5))
    assert [name for name, _ in model.named_parameters()] == order


def test_a_masked_checkpoint_loads_into_a_plain_model() -> None:
    model = prune.filters(prune.magnitude(convnet(), 0.7), 0.3)
    fresh = prune.load_masked(convnet(9), model.state_dict())
    assert torch.equal(fresh(images()), model(images()))
    for name in ("0", "4", "10"):
        assert torch.equal(fresh.get_submodule(name).weight == 0, model.get_submodule(name).weight == 0)
    with pytest.raises(RuntimeError, match="size mismatch"):
        prune.load_masked(nn.Sequential(nn.Conv2d(1, 1, 1)), {"0.weight": torch.ones(2), "0.bias": torch.ones(1)})


def test_masks_on_a_deepcopy_and_its_snapshot_leave_the_original_whole() -> None:
    model = prune.magnitude(convnet(), 0.5)
    expected = model(images())
    twin = copy.deepcopy(model)
    before = state(twin)
    snapshot = Snapshot(twin)
    prune.set_mask(twin[0], "bias", torch.arange(16) % 2 == 0)
    assert torch.equal(model(images()), expected)
    assert [name for name, _ in model[0].named_parameters()] == ["bias", "parametrizations.weight.original"]
    for change in (prune.bake, prune.share_weights, prune.binarize):
        change(twin)
        snapshot.restore()
        assert state(twin) == before
        assert torch.equal(model(images()), expected)
    torch.nn.utils.parametrize.remove_parametrizations(twin[10], "weight")  # on the class itself, which both have
    snapshot.restore()
    assert torch.equal(twin(images()), expected)
