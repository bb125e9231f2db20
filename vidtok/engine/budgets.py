"""Which token budget each training step has: a draw (elastic training) or EViT's falling keep rate."""

import math
from collections.abc import Sequence

import numpy as np

from vidtok.config import Budget, TrainConfig, format_budget
from vidtok.errors import ConfigError
from vidtok.models.backbones import VideoModel

RUNGS = 8
"""Steps of a falling keep rate when the model is compiled: each is a graph of its own."""


class BudgetSchedule:
    """The budget of every optimiser step, a function of (seed, step) alone and so the same on every rank.

    Args:
        model: the model; its budget is the target, and is unchanged afterwards.
        config: ``budget_set``, or ``shrink_start_epoch`` and ``shrink_epochs``.
        seed: of the run.
        steps_per_epoch: optimiser steps.

    Raises:
        ConfigError: a budget that the model does not take, or both kinds of schedule at once.
    """

    def __init__(self, model: VideoModel, config: TrainConfig, *, seed: int, steps_per_epoch: int) -> None:
        self._set, self._seed = config.budget_set, seed
        self._start = config.shrink_start_epoch * steps_per_epoch
        self._length = config.shrink_epochs * steps_per_epoch
        self.target = model.budget
        self.shrinks = config.shrink_start_epoch + config.shrink_epochs > 0
        if self.shrinks and (self._set or not isinstance(self.target, float)):
            raise ConfigError(
                "train.shrink_start_epoch and shrink_epochs need a compressor with a keep rate (evit, random, merge) "
                f"and no train.budget_set; the budget is {format_budget(self.target)}"
            )
        check_budgets(model, self._set, key="train.budget_set")

    @property
    def num_graphs(self) -> int:
        """How many token budgets a compiled model meets."""
        return RUNGS if self.shrinks else max(len(self._set), 1)

    def at(self, step: int, *, compiled: bool = False) -> Budget | None:
        """The budget of optimiser step ``step``; None where the model keeps its own."""
        if self._set:
            return self._set[int(np.random.default_rng((self._seed, step)).integers(len(self._set)))]
        if not self.shrinks:
            return None
        assert isinstance(self.target, float)
        rate = keep_rate(step, target=self.target, start=self._start, length=self._length)
        if not compiled or rate == self.target:
            return rate
        rung = (1 - self.target) / (RUNGS - 1)
        return min(self.target + math.ceil((rate - self.target) / rung - 1e-9) * rung, 1.0)


def check_budgets(model: VideoModel, budgets: Sequence[Budget], *, key: str) -> None:
    """Try budgets, so that a wrong one stops a run before its first step; the model's own is put back.

    Raises:
        ConfigError: a budget that the model does not take, with the ``key`` of the recipe that holds it.
    """
    own = model.budget
    for budget in budgets:
        try:
            model.set_budget(budget)
        except ConfigError as error:
            raise ConfigError(f"{key}: {error}") from None
    if own is not None:
        model.set_budget(own)


def keep_rate(step: int, *, target: float, start: float, length: float) -> float:
    """EViT's schedule (arXiv 2202.07800, section 4): 1 until step ``start``, then a cosine of ``length`` steps."""
    if step < start:
        return 1.0
    if step >= start + length:
        return target
    return target + (1 - target) * 0.5 * (1 + math.cos(math.pi * (step - start) / length))
