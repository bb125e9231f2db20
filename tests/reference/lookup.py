"""One LookupViT block as slow loops, written from the formulas of the paper's three stages.

Takes the weights of a ``Lookup`` module but none of its code. Shapes: M compressed, N lookup tokens, D width.
"""

import math

import torch
from torch import Tensor, nn

from vidtok.compress.lookup import Lookup


def _linear(layer: nn.Module, x: Tensor) -> Tensor:
    return x @ layer.weight.T + layer.bias if isinstance(layer, nn.Linear) else x


def _norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + layer.eps) * layer.weight + layer.bias


def _mlp(mlp: nn.Module, x: Tensor) -> Tensor:
    return _linear(mlp.fc2, mlp.act(_linear(mlp.fc1, x)))


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scalar loops over queries and keys: [M, E], [N, E], [N, E] -> [M, E]."""
    out = torch.zeros(len(q), v.shape[1], dtype=v.dtype)
    for m in range(len(q)):
        scores = [float(q[m] @ k[n]) / math.sqrt(q.shape[1]) for n in range(len(k))]
        total = sum(math.exp(score) for score in scores)
        for n in range(len(k)):
            out[m] += math.exp(scores[n]) / total * v[n]
    return out


def _self_attention(attn: nn.Module, x: Tensor) -> Tensor:
    q, k, v = _linear(attn.qkv, x).chunk(3, dim=-1)
    width = x.shape[1] // attn.num_heads
    heads = [slice(a * width, (a + 1) * width) for a in range(attn.num_heads)]
    return _linear(attn.proj, torch.cat([_attend(q[:, a], k[:, a], v[:, a]) for a in heads], dim=1))


def lookup_block(module: Lookup, compressed: Tensor, lookup: Tensor) -> tuple[Tensor, Tensor]:
    """[M, D], [N, D] -> the same after one block with norms after the projections."""
    gather, infuse, block = module.gather, module.infuse, module.refine
    width = compressed.shape[1] // gather.num_heads
    heads = [slice(a * width, (a + 1) * width) for a in range(gather.num_heads)]
    q = _norm(gather.norm_q, _linear(gather.q, compressed))
    k, v = _linear(gather.kv, lookup).chunk(2, dim=-1)
    k = _norm(gather.norm_k, k)
    gathered = torch.cat([_attend(q[:, a], k[:, a], v[:, a]) for a in heads], dim=1)
    compressed = compressed + _linear(gather.proj, gathered)
    compressed = compressed + _self_attention(block.attn, _norm(block.norm1, compressed))
    compressed = compressed + _mlp(block.mlp, _norm(block.norm2, compressed))

    value = _norm(infuse.norm_v, _linear(infuse.v, compressed))
    infused = torch.zeros_like(lookup)
    for a in heads:
        scores = q[:, a] @ k[:, a].T / math.sqrt(width)  # [M, N]
        if infuse.reuse == "post":
            weights = (scores.exp() / scores.exp().sum(1, keepdim=True)).T
        elif infuse.reuse == "pre":
            weights = (scores.exp() / scores.exp().sum(0, keepdim=True)).T
        else:
            own_q = _norm(infuse.norm_q, _linear(infuse.q, lookup))[:, a]
            own_k = _norm(infuse.norm_k, _linear(infuse.k, compressed))[:, a]
            own = own_q @ own_k.T / math.sqrt(width)
            weights = own.exp() / own.exp().sum(1, keepdim=True)
        infused[:, a] = weights @ value[:, a]
    lookup = lookup + _linear(infuse.proj, infused)
    return compressed, lookup + _mlp(infuse.mlp, _norm(infuse.norm, lookup))
