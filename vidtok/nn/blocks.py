"""The pre-norm transformer block that every backbone stacks.

Shapes: B batch, P prefix tokens, N patch tokens, D width.
"""

from dataclasses import replace
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

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

    def __call__(self, tokens: Tokens, normed: Tensor, attn: nn.Module) -> Tokens:
        """``tokens`` after attention; ``normed`` [B, P+N, D] is what ``attn`` has just seen."""
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

    def attend(self, normed: Tensor, tokens: Tokens) -> Tensor:
        """The residual branch of attention: normalised tokens [B, P+N, D] -> [B, P+N, D]."""
        return self.drop_path(self.attn(normed))

    def mix(self, tokens: Tokens) -> Tokens:
        """Everything before the MLP."""
        normed = self.norm1(tokens.x)
        tokens = replace(tokens, x=tokens.x + self.attend(normed, tokens))
        return tokens if self.reducer is None else self.reducer(tokens, normed, self.attn)

    def forward(self, tokens: Tokens) -> Tokens:
        tokens = self.mix(tokens)
        return replace(tokens, x=tokens.x + self.drop_path(self.mlp(self.norm2(tokens.x))))
