"""Fused multi-head self-attention with timm's parameter names.

Shapes: B batch, N tokens, D width, A heads, E head width (D = A E).
"""

from torch import Tensor, nn
from torch.nn import functional as F


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[B, N, D] -> [B, A, N, E]."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """[B, A, N, E] -> [B, N, D]."""
    return x.transpose(1, 2).flatten(2)


class FusedLinear(nn.Linear):
    """Several maps of one input as one matrix multiplication: [.., D] -> [.., num_maps D]."""

    def __init__(self, dim: int, num_maps: int) -> None:
        super().__init__(dim, num_maps * dim)
        self.num_maps = num_maps


class Attention(nn.Module):
    """Self-attention over all tokens of a sequence, scaled by 1 / sqrt(E)."""

    def __init__(self, dim: int, *, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = FusedLinear(dim, 3)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D]."""
        q, k, v = (split_heads(part, self.num_heads) for part in self.qkv(x).chunk(3, dim=-1))
        return self.proj(merge_heads(F.scaled_dot_product_attention(q, k, v)))
