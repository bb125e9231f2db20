"""Fused multi-head self-attention with timm's parameter names.

Shapes: B batch, N tokens, D width, A heads, E head width (D = A E).
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[B, N, D] -> [B, A, N, E]."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """[B, A, N, E] -> [B, N, D]."""
    return x.transpose(1, 2).flatten(2)


def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """[B, A, M, E], [B, A, N, E] -> softmax over N of q k^T / sqrt(E), taken in float32: [B, A, M, N]."""
    return torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1, dtype=torch.float32)


class FusedLinear(nn.Linear):
    """Several maps of one input as one matrix multiplication: [.., D] -> [.., num_maps D]."""

    def __init__(self, dim: int, num_maps: int, *, bias: bool = True) -> None:
        super().__init__(dim, num_maps * dim, bias=bias)
        self.num_maps = num_maps


class Heads(NamedTuple):
    """Queries and keys of one attention, for whoever scores or compares tokens: [B, A, N, E] each."""

    q: Tensor
    k: Tensor


class Attention(nn.Module):
    """Self-attention over all tokens of a sequence, scaled by 1 / sqrt(E)."""

    def __init__(self, dim: int, *, num_heads: int, qkv_bias: bool = True) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = FusedLinear(dim, 3, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def fused_bias(self) -> Tensor | None:
        """Bias of the q, k and v maps side by side, [3 D]."""
        return self.qkv.bias

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, N, D] -> heads of q, k and v, [B, A, N, E] each."""
        fused = F.linear(x, self.qkv.weight, self.fused_bias())
        q, k, v = (split_heads(part, self.num_heads) for part in fused.chunk(3, dim=-1))
        return q, k, v

    def forward(self, x: Tensor, key_bias: Tensor | None = None) -> Tensor:
        """[B, N, D] -> [B, N, D]; ``key_bias`` [B, N] is added to the scores of every key."""
        return self.with_heads(x, key_bias)[0]

    def with_heads(self, x: Tensor, key_bias: Tensor | None = None) -> tuple[Tensor, Heads]:
        """As ``forward``, and the queries and keys that it used."""
        q, k, v = self.project(x)
        mask = None if key_bias is None else key_bias[:, None, None].to(q.dtype)
        return self.merge(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)), Heads(q, k)

    def cross(self, x: Tensor, context: Tensor) -> Tensor:
        """Queries from ``x`` [B, M, D], keys and values from ``context`` [B, N, D] -> [B, M, D]."""
        return self.merge(F.scaled_dot_product_attention(*self.project_apart(x, context)))

    def cross_weights(self, x: Tensor, context: Tensor) -> Tensor:
        """The mean over heads of the attention in ``cross``: float32 [B, M, N], rows sum to 1."""
        q, k, _ = self.project_apart(x, context)
        return attention_weights(q, k).mean(1)

    def project_apart(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Heads of q from ``x`` [B, M, D] and of k and v from ``context`` [B, N, D]."""
        dim, bias = self.proj.in_features, self.fused_bias()
        q_bias, kv_bias = (None, None) if bias is None else bias.split([dim, 2 * dim])
        q_weight, kv_weight = self.qkv.weight.split([dim, 2 * dim])
        k, v = F.linear(context, kv_weight, kv_bias).chunk(2, dim=-1)
        q, k, v = (split_heads(part, self.num_heads) for part in (F.linear(x, q_weight, q_bias), k, v))
        return q, k, v

    def merge(self, heads: Tensor) -> Tensor:
        """The output map: heads [B, A, N, E] -> [B, N, D]."""
        return self.proj(merge_heads(heads))


class QueryValueBiasAttention(Attention):
    """Self-attention whose keys have no bias, with VideoMAE's parameter names.

    A bias on the keys adds one number to all scores of a query, which the softmax cancels.
    """

    def __init__(self, dim: int, *, num_heads: int) -> None:
        super().__init__(dim, num_heads=num_heads, qkv_bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))

    def fused_bias(self) -> Tensor:
        return torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])


class AxialAttention(Attention):
    """Factorised dot products: the first half of the heads attends along time, the second along space.

    ViViT model 4 (arXiv 2103.15691, section 3.3), parameters as in plain attention. Differs from the paper:
    its text names space first; scenic's code, hence every trained weight, has time first.
    """

    def forward(self, x: Tensor, num_steps: int) -> Tensor:
        """[B, t S, D] -> [B, t S, D]; ``num_steps`` is t."""
        q, k, v = self.project(x)  # [B, A, t S, E]
        half, t = self.num_heads // 2, num_steps
        sites = (rearrange(part[:, :half], "b a (t s) e -> (b s) a t e", t=t) for part in (q, k, v))
        steps = (rearrange(part[:, half:], "b a (t s) e -> (b t) a s e", t=t) for part in (q, k, v))
        along_time = F.scaled_dot_product_attention(*sites)
        along_space = F.scaled_dot_product_attention(*steps)
        mixed = [
            rearrange(along_time, "(b s) a t e -> b (t s) (a e)", b=x.shape[0]),
            rearrange(along_space, "(b t) a s e -> b (t s) (a e)", t=t),
        ]
        return self.proj(torch.cat(mixed, dim=-1))
