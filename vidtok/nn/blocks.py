"""The pre-norm transformer block that every backbone stacks.

Shapes: B batch, P prefix tokens, N patch tokens, D width.
"""

from dataclasses import replace
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidtok.nn.attention import Heads
from vidtok.nn.tokens import TokenGrid, Tokens


class Mlp(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, dim: int, hidden: int, *, gelu: Literal["tanh", "erf"]) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU(approximate="tanh" if gelu == "tanh" else "none")
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class DropPath(nn.Module):
    """Stochastic depth: drops a residual branch per sample and rescales what is kept, as timm does.

    scenic's ViViT does not rescale (spec: ViViT 1.6); the rescaled form keeps test activations calibrated.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if self.rate == 0 or not self.training:
            return x
        keep = 1 - self.rate
        mask = torch.empty((x.shape[0],) + (1,) * (x.ndim - 1), dtype=x.dtype, device=x.device).bernoulli_(keep)
        return x * (mask / keep)


class Reducer(Protocol):
    """Makes tokens fewer between a block's attention and its MLP."""

    def out_grid(self, grid: TokenGrid) -> TokenGrid: ...

    def __call__(self, tokens: Tokens, heads: Heads) -> Tokens:
        """``tokens`` after attention; ``heads`` [B or B t, A, P+S, E] are the queries and keys that it used."""
        ...


class Block(nn.Module):
    """x + attn(norm1(x)), then an optional reducer, then x + mlp(norm2(x))."""

    def __init__(
        self,
        dim: int,
        *,
        attn: nn.Module,
        mlp_hidden: int,
        gelu: Literal["tanh", "erf"],
        norm_eps: float,
        drop_path: float = 0.0,
        reducer: Reducer | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = attn
        self.reducer = reducer
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim, mlp_hidden, gelu=gelu)
        self.drop_path = DropPath(drop_path)

    def out_grid(self, grid: TokenGrid) -> TokenGrid:
        return grid if self.reducer is None else self.reducer.out_grid(grid)

    def attend(self, normed: Tensor, tokens: Tokens) -> tuple[Tensor, Heads | None]:
        """The residual branch of attention, [B, P+N, D] -> [B, P+N, D], and for a reducer its queries and keys."""
        bias = key_bias(tokens)
        if self.reducer is None:
            return self.drop_path(self.attn(normed) if bias is None else self.attn(normed, bias)), None
        branch, heads = self.attn.with_heads(normed, bias)
        return self.drop_path(branch), heads

    def mix(self, tokens: Tokens) -> Tokens:
        """Everything before the MLP."""
        branch, heads = self.attend(self.norm1(tokens.x), tokens)
        tokens = replace(tokens, x=tokens.x + branch)
        return tokens if self.reducer is None or heads is None else self.reducer(tokens, heads)

    def forward(self, tokens: Tokens) -> Tokens:
        return self.feed(self.mix(tokens))

    def feed(self, tokens: Tokens) -> Tokens:
        """The MLP."""
        return replace(tokens, x=tokens.x + self.drop_path(self.mlp(self.norm2(tokens.x))))


def key_bias(tokens: Tokens) -> Tensor | None:
    """log of how many patches each key stands for, [B, P+N]; None while every token stands for one."""
    if tokens.size is None:
        return None
    return F.pad(tokens.size.log(), (tokens.num_prefix, 0))
