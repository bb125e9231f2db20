"""SViT's super token attention as slow loops, from section 3.2 (arXiv 2211.11167) and the official code's borders.

Shapes: one sample of P prefix tokens and a lattice (t, h, w) of patch tokens, width D.
"""

import math
from itertools import product

import torch
from torch import Tensor, nn

from tests.reference.parts import self_attention, softmax

Index = tuple[int, ...]


def super_token_attention(
    attn: nn.Module, x: Tensor, lattice: Index, cell: Index, *, num_prefix: int = 0, border_mask: bool = False
) -> Tensor:
    """[P + N, D] -> [P + N, D]. Cells that span several steps have 27 neighbours, others the 9 of their step."""
    tokens = tokens_of(x[num_prefix:], lattice, cell)
    cells = sorted({cell_of(place, cell) for place in tokens})
    means = {at: sum(t for p, t in tokens.items() if cell_of(p, cell) == at) / math.prod(cell) for at in cells}
    shares = {place: associate(tokens[place], cell_of(place, cell), means, cell, border_mask) for place in tokens}
    super_tokens = torch.stack([update(at, tokens, shares) for at in cells])
    mixed = self_attention(attn, torch.cat([x[:num_prefix], super_tokens]))
    new = dict(zip(cells, mixed[num_prefix:]))
    patches = [
        sum(share * new[at] for at, share in shares[place].items() if at in new)
        for place in product(*map(range, lattice))
    ]
    return torch.cat([mixed[:num_prefix], torch.stack(patches)])


def tokens_of(patches: Tensor, lattice: Index, cell: Index) -> dict[Index, Tensor]:
    """Tokens by their place; zeros fill the lattice up to whole cells at its ends."""
    tokens = dict(zip(product(*map(range, lattice)), patches))
    filled = [math.ceil(size / side) * side for size, side in zip(lattice, cell)]
    return {place: tokens.get(place, torch.zeros_like(patches[0])) for place in product(*map(range, filled))}


def cell_of(place: Index, cell: Index) -> Index:
    return tuple(at // side for at, side in zip(place, cell))


def associate(token: Tensor, home: Index, means: dict[Index, Tensor], cell: Index, border_mask: bool) -> dict:
    """Shares of the cells around in one token; a cell that there is not has likeness 0, or takes no part."""
    reach = [(-1, 0, 1) if cell[0] > 1 else (0,), (-1, 0, 1), (-1, 0, 1)]
    around = [tuple(h + step for h, step in zip(home, steps)) for steps in product(*reach)]
    around = [at for at in around if at in means or not border_mask]
    zero = torch.zeros_like(token)
    scores = [token.detach() @ means.get(at, zero).detach() / math.sqrt(len(token)) for at in around]
    return dict(zip(around, softmax(scores), strict=True))


def update(at: Index, tokens: dict[Index, Tensor], shares: dict[Index, dict]) -> Tensor:
    """The mean of the tokens around, weighted by their shares of this super token."""
    own = {place: of[at] for place, of in shares.items() if at in of}
    return sum(share * tokens[place] for place, share in own.items()) / sum(own.values())
