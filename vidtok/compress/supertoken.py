"""SViT: attention over super tokens, sparse averages of neighbouring tokens; no token is dropped.

Paper: "Vision Transformer with Super Token Sampling", CVPR 2023, arXiv 2211.11167, section 3.2; details from the
official code.

Shapes: B batch, P prefix tokens, (t, h, w) lattice, N = t h w patch tokens, (i, j, k) lattice of M super tokens, c
tokens per cell, n neighbours (9, or 27 when a cell spans several time steps), D width.

Differs from the paper: the module stands in a plain transformer block, with that block's maps and heads, without the
paper's convolutions. Extensions: prefix tokens join the attention between super tokens; cells may span time steps.
"""

from itertools import product

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from vidtok.compress.plan import EncoderPlan, LayerFactory
from vidtok.config import Budget, SuperTokenConfig, format_budget
from vidtok.errors import ConfigError
from vidtok.nn.attention import Attention
from vidtok.nn.tokens import TokenModule

_TINY = 1e-12
"""Keeps the division of a super token by its mass defined, as in the official code."""

Lattice = tuple[int, int, int]


class SuperTokenAttention(nn.Module):
    """Samples super tokens, attends among them and gives every token its mixture of the results.

    A token belongs to the super tokens of its own cell and the cells around it, by a softmax over their likeness. That
    association carries no gradient. Cells of size 1 are plain attention.
    """

    def __init__(self, attn: Attention, lattice: Lattice, *, num_prefix: int, cell: Budget, border_mask: bool) -> None:
        super().__init__()
        self.attn = attn
        self.lattice, self.num_prefix, self.border_mask = lattice, num_prefix, border_mask
        self.set_budget(cell)

    def set_budget(self, budget: Budget) -> None:
        cell = (1, *budget) if isinstance(budget, tuple) and len(budget) == 2 else budget
        fits = isinstance(cell, tuple) and len(cell) == 3
        if not (fits and all(1 <= side <= size for side, size in zip(cell, self.lattice))):
            raise ConfigError(
                f"supertoken budget '{format_budget(budget)}' must be a cell h x w or t x h x w within "
                f"{format_budget(self.lattice)}, such as 2x2"
            )
        self.budget, self.cell = budget, cell

    @property
    def num_cells(self) -> Lattice:
        """The lattice of super tokens."""
        i, j, k = (-(-size // side) for size, side in zip(self.lattice, self.cell))
        return i, j, k

    @property
    def reach(self) -> Lattice:
        """How far neighbours are along each axis, in cells; along time only where cells span it."""
        return int(self.cell[0] > 1), 1, 1

    def forward(self, x: Tensor) -> Tensor:
        """[B, P+N, D] -> [B, P+N, D]."""
        if self.cell == (1, 1, 1):
            return self.attn(x)
        prefix, patches = x.split([self.num_prefix, x.shape[1] - self.num_prefix], dim=1)
        cells = self.to_cells(patches)
        shares = self.associate(cells)
        mixed = self.attn(torch.cat([prefix, self.gather(cells, shares)], dim=1))
        prefix, super_tokens = mixed.split([self.num_prefix, mixed.shape[1] - self.num_prefix], dim=1)
        return torch.cat([prefix, self.from_cells(shares @ self.neighbours(super_tokens))], dim=1)

    def to_cells(self, patches: Tensor) -> Tensor:
        """[B, N, D] -> [B, M, c, D]; the lattice is filled up with zeros at its ends."""
        lattice = patches.unflatten(1, self.lattice)
        extra = [cells * side - size for cells, side, size in zip(self.num_cells, self.cell, self.lattice)]
        if any(extra):
            lattice = F.pad(lattice, (0, 0, 0, extra[2], 0, extra[1], 0, extra[0]))
        return rearrange(lattice, "b (i p) (j q) (k r) d -> b (i j k) (p q r) d", **dict(zip("pqr", self.cell)))

    def from_cells(self, cells: Tensor) -> Tensor:
        """Undo ``to_cells``."""
        sides = dict(zip("ijkpqr", (*self.num_cells, *self.cell)))
        lattice = rearrange(cells, "b (i j k) (p q r) d -> b (i p) (j q) (k r) d", **sides)
        t, h, w = self.lattice
        return lattice[:, :t, :h, :w].flatten(1, 3)

    @torch.no_grad()
    def associate(self, cells: Tensor) -> Tensor:
        """Share of each neighbouring super token in each token: cells [B, M, c, D] -> [B, M, c, n], rows sum to 1."""
        around = self.neighbours(cells.mean(2))
        logits = (cells * cells.shape[-1] ** -0.5) @ around.transpose(-1, -2)
        if self.border_mask:
            inside = self.neighbours(cells.new_ones(1, cells.shape[1], 1))[..., 0]  # [1, M, n]
            logits = logits.masked_fill(inside[:, :, None] == 0, -torch.inf)
        return torch.softmax(logits, dim=-1, dtype=torch.float32).to(cells.dtype)

    def gather(self, cells: Tensor, shares: Tensor) -> Tensor:
        """Super tokens [B, M, D]: means of the tokens of the cells around, weighted by their shares."""
        mass = self.overlap_add(shares.sum(2)[..., None])
        return self.overlap_add(shares.transpose(-1, -2) @ cells) / (mass + _TINY)

    def neighbours(self, super_tokens: Tensor) -> Tensor:
        """Super tokens of the cells around each cell: [B, M, D] -> [B, M, n, D]; zeros beyond the border."""
        grid = super_tokens.unflatten(1, self.num_cells)
        a, b, c = self.reach
        padded = F.pad(grid, (0, 0, c, c, b, b, a, a))
        i, j, k = self.num_cells
        shifted = [padded[:, x : x + i, y : y + j, z : z + k] for x, y, z in self._offsets()]
        return torch.stack(shifted, dim=4).flatten(1, 3)

    def overlap_add(self, contributions: Tensor) -> Tensor:
        """Sum what cells give to the cells around them: [B, M, n, D] -> [B, M, D]; what crosses the border is lost."""
        i, j, k = self.num_cells
        a, b, c = self.reach
        parts = contributions.unflatten(1, self.num_cells).unbind(4)
        total = contributions.new_zeros(
            contributions.shape[0], i + 2 * a, j + 2 * b, k + 2 * c, contributions.shape[-1]
        )
        for (x, y, z), part in zip(self._offsets(), parts, strict=True):
            total[:, x : x + i, y : y + j, z : z + k] += part
        return total[:, a : a + i, b : b + j, c : c + k].flatten(1, 3)

    def _offsets(self) -> list[tuple[int, ...]]:
        """First cell of each neighbour in the padded lattice, row by row."""
        return list(product(*(range(2 * reach + 1) for reach in self.reach)))

    @torch.no_grad()
    def membership(self, x: Tensor) -> Tensor:
        """What the super tokens are made of: [B, P+N, D] -> float32 [B, M, N], rows sum to 1."""
        batch, num_patches = x.shape[0], x.shape[1] - self.num_prefix
        eye = torch.eye(num_patches, device=x.device).expand(batch, -1, -1)
        if self.cell == (1, 1, 1):
            return eye
        shares = self.associate(self.to_cells(x[:, self.num_prefix :])).float()
        mixed = self.gather(self.to_cells(eye), shares)
        return mixed / mixed.sum(-1, keepdim=True)


def plan_supertoken(factory: LayerFactory, config: SuperTokenConfig) -> EncoderPlan:
    """The backbone's blocks with their attention, or its spatial half, among super tokens; read-out unchanged.

    Raises ConfigError for a layer that there is not, or a cell that is larger than the lattice.
    """
    t, h, w = factory.grid.require_lattice("supertoken")
    lattice = (1, h, w) if factory.role == "divided" else (t, h, w)
    chosen = range(factory.depth) if config.layers is None else factory.layers(config.layers)

    def attention() -> SuperTokenAttention:
        return SuperTokenAttention(
            factory.make_attn(factory.dim, num_heads=factory.num_heads),
            lattice,
            num_prefix=factory.num_prefix,
            cell=config.budget,
            border_mask=config.border_mask,
        )

    modules: list[TokenModule] = [
        factory.block(layer, attn=attention() if layer in chosen else None) for layer in range(factory.depth)
    ]
    return EncoderPlan(modules, factory.num_prefix, "cls" if factory.pool == "cls" else "mean")
