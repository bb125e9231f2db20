"""EViT's token reorganisation as slow loops, written from section 3 of the paper (arXiv 2202.07800).

Shapes: one sample of P prefix and S patch tokens, width D, or t steps of them.
"""

import torch
from torch import Tensor

from tests.reference.parts import mlp, norm, project, row, self_attention
from vidtok.nn.blocks import Block


def scores_of(attn: torch.nn.Module, normed: Tensor, num_prefix: int) -> list[Tensor]:
    """How much cls, or without one the mean query, attends to each patch token: the mean over heads."""
    q, k, _ = project(attn, normed)
    queries = [head[0] if num_prefix else sum(head) / len(head) for head in q]
    rows = [row(query, keys) for query, keys in zip(queries, k)]
    return [sum(row[patch] for row in rows) / len(rows) for patch in range(num_prefix, len(normed))]


def reorganise(patches: Tensor, scores: list[Tensor], num_kept: int, *, fuse: bool) -> Tensor:
    """[S, D] -> [K, D], best first, or [K + 1, D] with the score-weighted sum of the others at the end."""
    order = sorted(range(len(patches)), key=lambda patch: -float(scores[patch].detach()))
    rows = [patches[patch] for patch in order[:num_kept]]
    if fuse:
        rows.append(sum(scores[patch] * patches[patch] for patch in order[num_kept:]))
    return torch.stack(rows)


def evit_block(block: Block, x: Tensor, num_kept: int, *, num_prefix: int, fuse: bool) -> Tensor:
    """One block with reorganisation between attention and MLP: [P + S, D] -> [P + K (+ 1), D]."""
    normed = norm(block.norm1, x)
    scores = scores_of(block.attn, normed, num_prefix)
    x = x + self_attention(block.attn, normed)
    x = torch.cat([x[:num_prefix], reorganise(x[num_prefix:], scores, num_kept, fuse=fuse)])
    return x + mlp(block.mlp, norm(block.norm2, x))
