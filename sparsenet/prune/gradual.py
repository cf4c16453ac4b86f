"""Gradual pruning while training: Zhu and Gupta's cubic schedule."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from sparsenet.prune.magnitude import magnitude
from sparsenet.prune.shares import Sparsity, layer_shares


class Gradual:
    """Prunes a little more every few steps of the user's own loop, fast at first, ever slower towards the end.

    Zhu & Gupta 2017 ("To prune, or not to prune", section 3): at step t the share of zeros is
    ``final + (initial - final) * (1 - (t - begin) / (end - begin)) ** 3``. It is set at ``begin``, every ``every``
    steps after that, and at ``end`` in any case, so that ``final`` is reached also when the span is no multiple of
    ``every``. A masked weight gets no update afterwards, whatever momentum or weight decay the optimiser has.

    Args:
        model: the module that is trained; it is pruned in place.
        final: share of zeros at ``end``, 0 <= final < 1, or one for each layer by name.
        initial: share at ``begin``, at most ``final``. Construction counts as step 0: with begin=0 and initial > 0
            it prunes.
        begin: number of the call of :meth:`step` after which pruning starts.
        end: number of the call after which the network has ``final``; above ``begin``. Leave some training after it.
        every: calls between two prunings.
        method: called as ``method(model, share, **options)``, or with a dict of shares if ``final`` is one:
            :func:`magnitude`, :func:`blocks`, :func:`random`, or your own.
        options: passed on to ``method``, such as ``skip=["conv1"]``.

    Raises:
        ValueError: a share or a step out of range, a name that is no layer, or whatever else ``method`` refuses.

    Example:
        >>> pruner = prune.Gradual(model, final=0.9, begin=100, end=2000, every=100)
        >>> for x, y in loader:
        ...     optimizer.zero_grad()
        ...     loss(model(x), y).backward()
        ...     optimizer.step()
        ...     pruner.step()
    """

    def __init__(
        self,
        model: nn.Module,
        final: Sparsity = 0.9,
        initial: float = 0.0,
        begin: int = 0,
        end: int = 1000,
        every: int = 100,
        method: Callable[..., Any] = magnitude,
        **options: Any,
    ) -> None:
        finals = [share for _, _, share in layer_shares(model, final)]
        if not 0 <= initial <= min(finals, default=initial):
            raise ValueError(f"initial is a share from 0 to final, not {initial}")
        if not 0 <= begin < end:
            raise ValueError(f"begin and end are steps with 0 <= begin < end, not {begin} and {end}")
        if every < 1:
            raise ValueError(f"every is a number of steps, at least 1, not {every}")
        self.model = model
        self.final, self.initial = final, initial
        self.begin, self.end, self.every = begin, end, every
        self.steps = 0
        self._method, self._options = method, options
        method(copy.deepcopy(model), self.share(end), **options)  # what it refuses is better known now than in training
        if begin == 0 and initial > 0:
            self._prune()

    def share(self, step: int) -> Sparsity:
        """The share of zeros the schedule has for a step: 0 before ``begin``, ``final`` from ``end`` on."""
        left = (1 - min((step - self.begin) / (self.end - self.begin), 1.0)) ** 3

        def at(final: float) -> float:
            return 0.0 if step < self.begin else final + (self.initial - final) * left

        if isinstance(self.final, Mapping):
            return {name: at(final) for name, final in self.final.items()}
        return at(self.final)

    @property
    def done(self) -> bool:
        """Whether ``end`` is reached: nothing is pruned any more."""
        return self.steps >= self.end

    def step(self) -> bool:
        """Counts a step, to be called after each ``optimizer.step()``. True if the masks were set anew."""
        self.steps += 1
        due = (self.steps - self.begin) % self.every == 0 or self.steps == self.end
        if not (due and self.begin <= self.steps <= self.end):
            return False
        self._prune()
        return True

    def _prune(self) -> None:
        self._method(self.model, self.share(self.steps), **self._options)

    def state_dict(self) -> dict[str, int]:
        """The count of steps, to be saved with the model's and the optimiser's."""
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Goes on from a saved count of steps."""
        self.steps = state["steps"]
