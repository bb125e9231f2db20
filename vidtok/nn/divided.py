"""Blocks that treat time and space apart.

Shapes: B batch, P prefix tokens, t time steps, S patch tokens per step, D width; rows ordered (t, s), prefix first.
"""

from dataclasses import replace
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from vidtok.nn.attention import Attention, Heads
from vidtok.nn.blocks import Block, Reducer
from vidtok.nn.tokens import TokenGrid, Tokens


class DividedBlock(Block):
    """Attention along time at each site and along space at each step, each with norm and residual, then the MLP.

    With a cls token and ``temporal_fc`` it is TimeSformer's (arXiv 2102.05095, section 3): cls takes no part along
    time, every step sees a copy of it, and the mean over steps is its update. Without both it is
    ViViT model 3 (arXiv 2103.15691, section 3.3). ``zero_time`` is the prescribed start.

    Differs from the paper: TimeSformer's equation 5 has cls as a temporal key; its code, hence every
    trained weight, does not. Row order is (t, h, w); the official code has time fastest.
    """

    def __init__(
        self,
        dim: int,
        *,
        attn: nn.Module,
        num_heads: int,
        order: Literal["time_space", "space_time"],
        temporal_fc: bool,
        mlp_hidden: int,
        gelu: Literal["tanh", "erf"],
        norm_eps: float,
        drop_path: float = 0.0,
        reducer: Reducer | None = None,
    ) -> None:
        super().__init__(
            dim,
            attn=attn,
            mlp_hidden=mlp_hidden,
            gelu=gelu,
            norm_eps=norm_eps,
            drop_path=drop_path,
            reducer=reducer,
        )
        self.order = order
        self.temporal_norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.temporal_attn = Attention(dim, num_heads=num_heads)
        self.temporal_fc = nn.Linear(dim, dim) if temporal_fc else None

    @torch.no_grad()
    def zero_time(self) -> None:
        """Make the block its spatial half: the last temporal matrix is zero, and only it, or none would learn."""
        last = self.temporal_attn.proj if self.temporal_fc is None else self.temporal_fc
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def out_grid(self, grid: TokenGrid) -> TokenGrid:
        grid.require_time("divided attention")
        return super().out_grid(grid)

    def mix(self, tokens: Tokens) -> Tokens:
        if self.order == "time_space":
            return super().mix(self.mix_time(tokens))
        return self.mix_time(super().mix(tokens))

    def mix_time(self, tokens: Tokens) -> Tokens:
        """Add attention along time to the patch tokens. Drop path acts per site, before ``temporal_fc``."""
        num_steps = tokens.grid.require_time("divided attention")
        prefix, patches = tokens.x[:, : tokens.num_prefix], tokens.x[:, tokens.num_prefix :]
        sites = rearrange(self.temporal_norm1(patches), "b (t s) d -> (b s) t d", t=num_steps)
        branch = self.drop_path(self.temporal_attn(sites))
        if self.temporal_fc is not None:
            branch = self.temporal_fc(branch)
        patches = patches + rearrange(branch, "(b s) t d -> b (t s) d", b=patches.shape[0])
        return replace(tokens, x=torch.cat([prefix, patches], dim=1))

    def attend(self, normed: Tensor, tokens: Tokens) -> tuple[Tensor, Heads | None]:
        """Attention along space; heads are those of the steps, [B t, A, P+S, E]. Drop path acts per step."""
        num_steps = tokens.grid.require_time("divided attention")
        frames = replace(
            tokens,
            x=fold_steps(normed, num_steps, tokens.num_prefix),
            size=None if tokens.size is None else rearrange(tokens.size, "b (t s) -> (b t) s", t=num_steps),
        )
        branch, heads = super().attend(frames.x, frames)
        return unfold_steps(branch, num_steps, tokens.num_prefix), heads


class AxialBlock(Block):
    """A plain block whose attention is told the number of time steps (ViViT model 4)."""

    def out_grid(self, grid: TokenGrid) -> TokenGrid:
        grid.require_lattice("factorised dot-product attention")
        return super().out_grid(grid)

    def attend(self, normed: Tensor, tokens: Tokens) -> tuple[Tensor, None]:
        num_steps = tokens.grid.require_time("factorised dot-product attention")
        return self.drop_path(self.attn(normed, num_steps)), None


def fold_steps(x: Tensor, num_steps: int, num_prefix: int = 0) -> Tensor:
    """[B, P + t S, D] -> [B t, P + S, D]: every step gets a copy of the prefix."""
    frames = rearrange(x[:, num_prefix:], "b (t s) d -> (b t) s d", t=num_steps)
    if num_prefix == 0:
        return frames
    return torch.cat([x[:, :num_prefix].repeat_interleave(num_steps, dim=0), frames], dim=1)


def unfold_steps(x: Tensor, num_steps: int, num_prefix: int = 0) -> Tensor:
    """[B t, P + S, D] -> [B, P + t S, D]: the prefix is the mean of its copies."""
    patches = rearrange(x[:, num_prefix:], "(b t) s d -> b (t s) d", t=num_steps)
    if num_prefix == 0:
        return patches
    return torch.cat([x[:, :num_prefix].unflatten(0, (-1, num_steps)).mean(1), patches], dim=1)
