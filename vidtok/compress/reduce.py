"""What EViT, random dropping and merging share: a keep rate, the layers that reduce, and rows that are regrouped.

Shapes: B batch, t time steps, S patch tokens that are reduced together, K that stay, D width.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from vidtok.compress.plan import EncoderPlan, LayerFactory
from vidtok.config import Budget, format_budget
from vidtok.config.compressors import KeepRateConfig
from vidtok.errors import ConfigError
from vidtok.nn.attention import Heads
from vidtok.nn.divided import fold_steps, unfold_steps
from vidtok.nn.tokens import TokenGrid, TokenModule, Tokens


class RateReducer(nn.Module):
    """Leaves ceil(rate x S) of S patch tokens, prefix tokens aside; a subclass says which and how.

    Where attention divides time and space one choice serves all steps, so that a site stays a site. Everywhere else
    all tokens of the sequence compete, and a joint sequence loses its time axis. At rate 1 nothing happens.
    """

    lowest = 0.0
    """Rates must be above it, or at it where it is above 0."""

    def __init__(self, factory: LayerFactory, config: KeepRateConfig) -> None:
        super().__init__()
        self.kind = type(config).__name__.removesuffix("Config").lower()
        self.num_steps = factory.grid.require_time(self.kind) if factory.role == "divided" else 1
        self.set_budget(config.budget)

    def set_budget(self, budget: Budget) -> None:
        rate = budget if isinstance(budget, float | int) else -1.0
        if not 0 < rate <= 1 or rate < self.lowest:
            low = f"[{self.lowest:g}" if self.lowest else "(0"
            raise ConfigError(
                f"{self.kind} budget '{format_budget(budget)}' must be a keep rate in {low}, 1], such as 0.7"
            )
        self.budget = float(rate)

    def num_kept(self, grid: TokenGrid) -> int:
        """How many of the S tokens that are reduced together stay."""
        return math.ceil(self.budget * (grid.num_tokens // self.num_steps))

    def extra_tokens(self) -> int:
        """Tokens made beside those that stay."""
        return 0

    def out_grid(self, grid: TokenGrid) -> TokenGrid:
        kept = self.num_kept(grid)
        if kept * self.num_steps == grid.num_tokens:
            return grid
        time = grid.t if self.num_steps > 1 or grid.t == 1 else None
        return TokenGrid((kept + self.extra_tokens()) * self.num_steps, time, None)

    def forward(self, tokens: Tokens, heads: Heads) -> Tokens:
        grid = self.out_grid(tokens.grid)
        return tokens if grid is tokens.grid else replace(self.reduce(tokens, heads), grid=grid)

    @abstractmethod
    def reduce(self, tokens: Tokens, heads: Heads) -> Tokens:
        """Tokens that are fewer, with their ``source`` if there is one; the caller sets the grid."""

    def by_step(self, x: Tensor) -> Tensor:
        """[B, t S, D] -> [B t, S, D] where one choice serves all steps; unchanged elsewhere."""
        return fold_steps(x, self.num_steps)

    def joined(self, x: Tensor) -> Tensor:
        """Undo ``by_step``."""
        return unfold_steps(x, self.num_steps)

    def over_steps(self, x: Tensor) -> Tensor:
        """The mean over steps: [B t, ...] -> [B, ...]."""
        return x.unflatten(0, (-1, self.num_steps)).mean(1)

    def for_steps(self, index: Tensor) -> Tensor:
        """The same for all steps: [B, ...] -> [B t, ...]."""
        return index.repeat_interleave(self.num_steps, dim=0)


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows of each sample: [B, N, D] and int64 [B, K] -> [B, K, D].

    Selecting rows of the flattened batch is many times faster than ``gather`` with an index of D columns.
    """
    first = torch.arange(x.shape[0], device=x.device)[:, None] * x.shape[1]
    return x.flatten(0, 1).index_select(0, (index + first).flatten()).unflatten(0, index.shape)


def plan_reducers(
    factory: LayerFactory, config: KeepRateConfig, make: Callable[[LayerFactory, KeepRateConfig], RateReducer]
) -> EncoderPlan:
    """The backbone's blocks, some of them with a reducer; prefix tokens and read-out stay the backbone's."""
    scaled = {factory.depth * quarter // 4 for quarter in (1, 2, 3)}  # 4th, 7th and 10th of 12, from 0
    chosen = scaled if config.layers is None else factory.layers(config.layers)
    modules: list[TokenModule] = [
        factory.block(layer, reducer=make(factory, config) if layer in chosen else None)
        for layer in range(factory.depth)
    ]
    return EncoderPlan(modules, factory.num_prefix, "cls" if factory.pool == "cls" else "mean")
