"""One LookupViT block as slow loops, written from the formulas of the paper's three stages.

Takes the weights of a ``Lookup`` module but none of its code. Shapes: M compressed, N lookup tokens, D width.
"""

import math

import torch
from torch import Tensor

from tests.reference.parts import attend, linear, mlp, norm, self_attention
from vidtok.compress.lookup import Lookup


def lookup_block(module: Lookup, compressed: Tensor, lookup: Tensor) -> tuple[Tensor, Tensor]:
    """[M, D], [N, D] -> the same after one block with norms after the projections."""
    gather, infuse, block = module.gather, module.infuse, module.refine
    width = compressed.shape[1] // gather.num_heads
    heads = [slice(a * width, (a + 1) * width) for a in range(gather.num_heads)]
    q = norm(gather.norm_q, linear(gather.q, compressed))
    k, v = linear(gather.kv, lookup).chunk(2, dim=-1)
    k = norm(gather.norm_k, k)
    gathered = torch.cat([attend(q[:, a], k[:, a], v[:, a]) for a in heads], dim=1)
    compressed = compressed + linear(gather.proj, gathered)
    compressed = compressed + self_attention(block.attn, norm(block.norm1, compressed))
    compressed = compressed + mlp(block.mlp, norm(block.norm2, compressed))

    value = norm(infuse.norm_v, linear(infuse.v, compressed))
    infused = torch.zeros_like(lookup)
    for a in heads:
        scores = q[:, a] @ k[:, a].T / math.sqrt(width)  # [M, N]
        if infuse.reuse == "post":
            weights = (scores.exp() / scores.exp().sum(1, keepdim=True)).T
        elif infuse.reuse == "pre":
            weights = (scores.exp() / scores.exp().sum(0, keepdim=True)).T
        else:
            own_q = norm(infuse.norm_q, linear(infuse.q, lookup))[:, a]
            own_k = norm(infuse.norm_k, linear(infuse.k, compressed))[:, a]
            own = own_q @ own_k.T / math.sqrt(width)
            weights = own.exp() / own.exp().sum(1, keepdim=True)
        infused[:, a] = weights @ value[:, a]
    lookup = lookup + linear(infuse.proj, infused)
    return compressed, lookup + mlp(infuse.mlp, norm(infuse.norm, lookup))
