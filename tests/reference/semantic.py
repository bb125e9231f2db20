"""STViT's pooled centres and generation layers as slow loops, from equations 2, 4 and 5 (arXiv 2303.08685).

Windows of larger lattices continue the published 4 x 4 ones: equal, side by side, centred, filled up outside with
zeros that the softmax leaves out. Shapes: one picture of (h, w) tokens, (m, n) centres, width D.
"""

import math

import torch
from torch import Tensor, nn

from tests.reference.parts import cross_attention, gelu, mlp, norm, softmax
from vidtok.nn.blocks import Block

OUTSIDE = -100.0
Window = list[list[Tensor | None]]


def windows_of(picture: Tensor, lattice: tuple[int, int]) -> list[Window]:
    """[h, w, D] -> m n windows of tokens, None outside of the picture."""
    height, width, _ = picture.shape
    sides = [math.ceil(size / count) for size, count in zip((height, width), lattice)]
    before = [(side * count - size) // 2 for side, count, size in zip(sides, lattice, (height, width))]

    def token(row: int, column: int) -> Tensor | None:
        return picture[row, column] if 0 <= row < height and 0 <= column < width else None

    return [
        [
            [token(i * sides[0] + p - before[0], j * sides[1] + q - before[1]) for q in range(sides[1])]
            for p in range(sides[0])
        ]
        for i in range(lattice[0])
        for j in range(lattice[1])
    ]


def scores_of(network: nn.Module, window: Window) -> Tensor:
    """Depthwise 3 x 3 sums inside the window, layer norm, GELU, linear map: [p q, number of scores]."""
    height, width = len(window), len(window[0])
    weight, rows = network.dwconv.weight[:, 0], []  # [D, 3, 3]
    for p in range(height):
        for q in range(width):
            total = network.dwconv.bias.clone()
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    inside = 0 <= p + down < height and 0 <= q + right < width
                    token = window[p + down][q + right] if inside else None
                    if token is not None:
                        total = total + weight[:, down + 1, right + 1] * token
            rows.append(gelu(norm(network.norm, total)) @ network.score.weight.T)
    return torch.stack(rows)


def mixture(window: Window, scores: Tensor) -> Tensor:
    """Equation 4: the tokens of a window, each times its share of the softmax."""
    tokens = [token for row in window for token in row]
    shares = softmax([score + (OUTSIDE if token is None else 0.0) for token, score in zip(tokens, scores)])
    return sum(share * token for token, share in zip(tokens, shares) if token is not None)


def pooled_centres(pool: nn.Module, picture: Tensor, lattice: tuple[int, int]) -> Tensor:
    """Intra-window pooling, and with an ``inter`` network its offset across windows: [h, w, D] -> [m n, D]."""
    windows = windows_of(picture, lattice)
    intra = [scores_of(pool.intra, window)[:, 0] for window in windows]
    centres = [mixture(window, scores) for window, scores in zip(windows, intra)]
    if hasattr(pool, "inter"):
        rows = [centres[i * lattice[1] : (i + 1) * lattice[1]] for i in range(lattice[0])]
        offsets = scores_of(pool.inter, rows)  # [m n, p q]
        centres = [mixture(window, own + more) for window, own, more in zip(windows, intra, offsets)]
    return torch.stack(centres)


def adaptive_centres(picture: Tensor, lattice: tuple[int, int]) -> Tensor:
    """The largest value of each channel in m x n bins that cover the picture: [h, w, D] -> [m n, D]."""

    def bins(size: int, count: int) -> list[slice]:
        return [slice(size * i // count, math.ceil(size * (i + 1) / count)) for i in range(count)]

    return torch.stack(
        [
            picture[rows, columns].flatten(0, 1).max(0).values
            for rows in bins(picture.shape[0], lattice[0])
            for columns in bins(picture.shape[1], lattice[1])
        ]
    )


def generate(block: Block, semantic: Tensor, image: Tensor, centres: Tensor | None = None) -> Tensor:
    """Equations 1 and 2: [M, D] and [S, D] -> [M, D]; with global centres [M, D] semantic tokens are keys, too."""
    keys = image if centres is None else torch.cat([semantic, image])
    queries = semantic if centres is None else semantic + centres
    mixed = semantic + cross_attention(block.attn, norm(block.norm1, queries), norm(block.norm1, keys))
    return mixed + mlp(block.mlp, norm(block.norm2, mixed))
