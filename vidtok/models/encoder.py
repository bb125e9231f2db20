"""A stack of token modules that is checked without tensors when it is built.

Shapes: B batch, P prefix tokens, N patch tokens, D width.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vidtok.compress.plan import Budgeted, EncoderPlan, read_budget
from vidtok.compress.supertoken import SuperTokenAttention
from vidtok.config import Budget
from vidtok.errors import ConfigError
from vidtok.nn.tokens import TokenGrid, Tokens, block_diagonal


class Encoder(nn.Module):
    """Runs a plan's modules, normalises, and reads out one vector per head.

    ``grids[i]`` is the arrangement after module ``i``, known without running. Raises GridError when
    built if a module cannot work on what it would receive. With ``norm_pooled`` the mean of the tokens is
    normalised, not each token (``fc_norm`` of MAE and VideoMAE).
    """

    def __init__(
        self,
        plan: EncoderPlan,
        grid: TokenGrid,
        *,
        dim: int,
        depth: int,
        norm_eps: float,
        norm_pooled: bool = False,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(plan.modules)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.num_prefix, self.readout, self.num_readouts = plan.num_prefix, plan.readout, len(plan.loss_weights)
        self.lookup_norm = nn.LayerNorm(dim, eps=norm_eps) if self.num_readouts == 2 else None
        self.norm_pooled = norm_pooled
        self.grad_checkpointing = False
        self.grid, self.depth = grid, depth
        self.grids = self._dry_run()

    def _dry_run(self) -> tuple[TokenGrid, ...]:
        grids, grid = [], self.grid
        for block in self.blocks:
            grid = block.out_grid(grid)
            grids.append(grid)
        return tuple(grids)

    @property
    def layer_grids(self) -> tuple[TokenGrid, ...]:
        """The arrangement after each layer; a stem in front of the layers is left out."""
        return self.grids[-self.depth :]

    @property
    def budget(self) -> Budget | None:
        """The budget in force; None when nothing is compressed."""
        return next((module.budget for module in self.blocks.modules() if isinstance(module, Budgeted)), None)

    @torch.inference_mode(False)  # buffers that were made in inference mode could not be trained with afterwards
    def set_budget(self, budget: Budget | str) -> None:
        """Change the number of tokens without touching a parameter. Raises ConfigError and changes nothing."""
        budget = read_budget(budget)
        budgeted = [module for module in self.blocks.modules() if isinstance(module, Budgeted)]
        if not budgeted:
            raise ConfigError("compressor 'none' has no budget; choose another compressor or drop the budget")
        before = self.budget
        try:
            for module in budgeted:
                module.set_budget(budget)
            self.grids = self._dry_run()
        except ConfigError:
            for module in budgeted:
                module.set_budget(before)
            raise

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """[B, P+N, D] -> one [B, D] per read-out: (main,) or (compressed, lookup)."""
        return self.read(self.run(x))

    def run(self, x: Tensor) -> Tokens:
        """[B, P+N, D] -> the state after the last module, before the norm."""
        tokens = Tokens(x, self.grid, self.num_prefix)
        for block in self.blocks:
            if self.grad_checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        return tokens

    def trace(self, x: Tensor) -> list[Tensor]:
        """[B, P+N, D] -> for each layer the share [B, M, N] of each input patch in its M patch tokens.

        Layers with super tokens give those of their super tokens.
        """
        size = self.grid.num_tokens
        source = torch.eye(size, device=x.device).expand(x.shape[0], size, size)
        tokens, sources = Tokens(x, self.grid, self.num_prefix, source=source), []
        for block in self.blocks:
            with _memberships(block, len(x)) as memberships:
                tokens = block(tokens)
            assert tokens.source is not None
            sources.append(memberships[0] if memberships else tokens.source)
        return sources[-self.depth :]

    def read(self, tokens: Tokens) -> tuple[Tensor, ...]:
        """Normalise and pool; one [B, D] per read-out."""
        if self.readout == "cls":
            return (self.norm(tokens.x[:, 0]),)
        main = self._mean(tokens.x[:, tokens.num_prefix :], self.norm, tokens.size)
        if self.lookup_norm is None:
            return (main,)
        assert tokens.lookup is not None
        return main, self._mean(tokens.lookup, self.lookup_norm)

    def _mean(self, x: Tensor, norm: nn.Module, size: Tensor | None = None) -> Tensor:
        """[B, N, D] -> [B, D]; merged tokens count as often as the patches that they stand for, ``size`` [B, N]."""
        if not self.norm_pooled:
            x = norm(x)
        pooled = x.mean(1) if size is None else ((size / size.sum(1, keepdim=True))[:, None] @ x)[:, 0]
        return norm(pooled) if self.norm_pooled else pooled


@contextmanager
def _memberships(block: nn.Module, batch: int) -> Iterator[list[Tensor]]:
    """Collects what a block's super tokens are made of, [B, M, N], while the block runs; nothing in other blocks."""
    found: list[Tensor] = []

    def watch(module: SuperTokenAttention, inputs: tuple[Tensor, ...]) -> None:
        found.append(block_diagonal(module.membership(inputs[0]), len(inputs[0]) // batch))

    watched = [module for module in block.modules() if isinstance(module, SuperTokenAttention)]
    handles = [module.register_forward_pre_hook(watch) for module in watched]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
