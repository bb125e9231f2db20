"""The state that travels between blocks, and the arrangement of tokens that is checked before any tensor exists.

Shapes: B batch, P prefix tokens, N patch tokens, L lookup tokens, D width; rows ordered (t, h, w), prefix first.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vidtok.errors import GridError


@dataclass(frozen=True, slots=True)
class TokenGrid:
    """Arrangement of the patch tokens; prefix tokens are not counted."""

    num_tokens: int
    t: int | None
    """Time steps; None once tokens of different times are mixed."""
    hw: tuple[int, int] | None
    """Lattice per time step; None once tokens are scattered."""

    @classmethod
    def lattice(cls, t: int, h: int, w: int) -> "TokenGrid":
        return cls(t * h * w, t, (h, w))

    def require_time(self, who: str) -> int:
        """Number of time steps. Raises GridError when times are mixed."""
        if self.t is None:
            raise GridError(f"{who} needs tokens that belong to one time step each, but times are mixed here")
        return self.t

    def require_lattice(self, who: str) -> tuple[int, int, int]:
        """The full lattice (t, h, w). Raises GridError when tokens are scattered or times are mixed."""
        if self.hw is None:
            raise GridError(f"{who} needs tokens on a lattice, but {self.num_tokens} scattered tokens arrive here")
        return self.require_time(who), *self.hw


@dataclass(frozen=True, slots=True)
class Tokens:
    """The state between blocks."""

    x: Tensor
    """[B, P+N, D], prefix tokens first."""
    grid: TokenGrid
    num_prefix: int
    source: Tensor | None = None
    """[B, N, N_input] share of each input patch in each token; only while tracing."""
    size: Tensor | None = None
    """[B, N] number of input patches merged in each token; None while that is one for all."""
    lookup: Tensor | None = None
    """[B, L, D] second stream: LookupViT's lookup tokens, or the image tokens that semantic tokens look at."""
    lookup_grid: TokenGrid | None = None


class TokenModule(Protocol):
    """What an encoder is a list of."""

    def out_grid(self, grid: TokenGrid) -> TokenGrid:
        """Dry run: the arrangement after this module. Raises GridError with a sentence."""
        ...

    def __call__(self, tokens: Tokens) -> Tokens: ...


def block_diagonal(shares: Tensor, num_steps: int) -> Tensor:
    """Shares of each step's own patches among all patches: [B t, M, S] -> [B, t M, t S]."""
    eye = torch.eye(num_steps, device=shares.device, dtype=shares.dtype)
    split = shares.unflatten(0, (-1, num_steps))
    return torch.einsum("btms,tq->btmqs", split, eye).flatten(3, 4).flatten(1, 2)
