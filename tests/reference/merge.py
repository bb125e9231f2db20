"""Bipartite soft matching and proportional attention as slow loops, from section 3 of ToMe (arXiv 2210.09461).

Shapes: one sample of P prefix and S patch tokens, width D.
"""

import torch
from torch import Tensor

from tests.reference.parts import mlp, norm, project, self_attention
from vidtok.nn.blocks import Block


def groups_of(keys: Tensor, num_merged: int) -> list[list[int]]:
    """Which patch tokens become one, [S, E] -> S - r lists: odd ones that stay, in order, then every even one."""
    odd, even = range(1, len(keys), 2), range(0, len(keys), 2)

    def likeness(a: int, b: int) -> float:
        return float(keys[a] @ keys[b] / keys[a].norm() / keys[b].norm())

    partner = {a: max(even, key=lambda b: likeness(a, b)) for a in odd}
    by_likeness = sorted(odd, key=lambda a: -likeness(a, partner[a]))
    leaving = set(by_likeness[:num_merged])
    joined = [[b, *(a for a in sorted(leaving) if partner[a] == b)] for b in even]
    return [[a] for a in odd if a not in leaving] + joined


def merge(patches: Tensor, sizes: list[float], groups: list[list[int]]) -> tuple[Tensor, list[float]]:
    """Means weighted by sizes: [S, D] -> [S - r, D], and the sizes of the merged tokens."""
    merged = [sum(sizes[token] for token in group) for group in groups]
    rows = [sum(sizes[token] * patches[token] for token in group) / size for group, size in zip(groups, merged)]
    return torch.stack(rows), merged


def merge_block(
    block: Block, x: Tensor, sizes: list[float], num_merged: int, *, num_prefix: int
) -> tuple[Tensor, list[float]]:
    """One block with merging between attention and MLP: [P + S, D] -> [P + S - r, D], and the sizes."""
    normed = norm(block.norm1, x)
    _, keys, _ = project(block.attn, normed)
    groups = groups_of(sum(keys)[num_prefix:] / len(keys), num_merged)
    x = x + self_attention(block.attn, normed, [1.0] * num_prefix + sizes)
    patches, sizes = merge(x[num_prefix:], sizes, groups)
    x = torch.cat([x[:num_prefix], patches])
    return x + mlp(block.mlp, norm(block.norm2, x)), sizes
