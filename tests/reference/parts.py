"""Pieces of a transformer block as plain formulas on one sample; they take modules for their weights alone.

Shapes: M queries, N tokens or keys, D width, A heads, E head width.
"""

import math

import torch
from torch import Tensor, nn


def linear(layer: nn.Module, x: Tensor) -> Tensor:
    """x W^T + b; what is no linear layer passes x."""
    return x @ layer.weight.T + layer.bias if isinstance(layer, nn.Linear) else x


def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + layer.eps) * layer.weight + layer.bias


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def mlp(module: nn.Module, x: Tensor) -> Tensor:
    return linear(module.fc2, gelu(linear(module.fc1, x)))


def softmax(scores: list[Tensor]) -> list[Tensor]:
    """Scalars to shares that sum to 1."""
    powers = [score.exp() for score in scores]
    total = sum(powers)
    return [power / total for power in powers]


def row(query: Tensor, keys: Tensor, sizes: list[float] | None = None) -> list[Tensor]:
    """Attention of one query [E] to keys [N, E]; a key that stands for ``sizes[n]`` patches counts as often."""
    scores = [query @ key / math.sqrt(len(query)) for key in keys]
    if sizes is not None:
        scores = [score + math.log(size) for score, size in zip(scores, sizes, strict=True)]
    return softmax(scores)


def attend(q: Tensor, k: Tensor, v: Tensor, sizes: list[float] | None = None) -> Tensor:
    """Loops over queries and keys: [M, E], [N, E], [N, E] -> [M, E]."""
    return torch.stack([sum(share * value for share, value in zip(row(query, k, sizes), v)) for query in q])


def heads(x: Tensor, num_heads: int) -> list[Tensor]:
    """[N, D] -> A parts [N, E]."""
    return list(x.split(x.shape[1] // num_heads, dim=1))


def project(attn: nn.Module, x: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """[N, D] -> q, k and v, each a list of A heads [N, E]."""
    q, k, v = (heads(part, attn.num_heads) for part in linear(attn.qkv, x).split(x.shape[1], dim=1))
    return q, k, v


def cross_attention(attn: nn.Module, x: Tensor, context: Tensor, sizes: list[float] | None = None) -> Tensor:
    """Queries from [M, D], keys and values from [N, D] -> [M, D]."""
    q, _, _ = project(attn, x)
    _, k, v = project(attn, context)
    return linear(attn.proj, torch.cat([attend(*parts, sizes) for parts in zip(q, k, v)], dim=1))


def self_attention(attn: nn.Module, x: Tensor, sizes: list[float] | None = None) -> Tensor:
    """[N, D] -> [N, D]."""
    return cross_attention(attn, x, x, sizes)
