"""Token merging by bipartite soft matching; needs no training.

Paper: "Token Merging: Your ViT But Faster", ICLR 2023, arXiv 2210.09461, section 3.

Shapes: B batch, t time steps, P prefix tokens, S patch tokens that are reduced together, r merged pairs, A heads, E
head width, D width.

Differs from the paper: tokens are merged at a keep rate in a few layers, not r in every layer, so that costs compare
with EViT's; prefix tokens take no part. Extension: where attention divides time and space, keys are averaged over the
steps and all steps merge the same sites.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from vidtok.compress.plan import EncoderPlan, LayerFactory
from vidtok.compress.reduce import RateReducer, plan_reducers, take_rows
from vidtok.config import MergeConfig
from vidtok.nn.attention import Heads
from vidtok.nn.embed import full_precision
from vidtok.nn.tokens import Tokens


class MergeSimilar(RateReducer):
    """Merges the r most similar pairs into their mean, weighted by the patches that each token stands for.

    Tokens at odd places propose to the most similar one at even places, by the cosine of their mean keys; several
    may join one. The result is the odd ones that stay, then all even ones. Later blocks attend to a token in proportion
    to its size.
    """

    lowest = 0.5

    def reduce(self, tokens: Tokens, heads: Heads) -> Tokens:
        num_tokens = tokens.grid.num_tokens // self.num_steps
        keys = self.over_steps(heads.k[:, :, tokens.num_prefix :].mean(1))  # [B, S, E]
        stay, leave, into = (self.for_steps(index) for index in match(keys, num_tokens - self.num_kept(tokens.grid)))
        patches = self.by_step(tokens.x[:, tokens.num_prefix :])
        ones = patches.new_ones(*patches.shape[:2], 1)
        size = ones if tokens.size is None else self.by_step(tokens.size[..., None])  # [B, S, 1]

        def total(x: Tensor) -> Tensor:
            """Sums over merged tokens: [B, S, C] -> [B, S - r, C]."""
            odd, even = x[:, 1::2], x[:, ::2]
            return torch.cat([take_rows(odd, stay), add_rows(even, into, take_rows(odd, leave))], dim=1)

        def mean(x: Tensor) -> Tensor:
            return self.joined(total(x * size) / merged)

        merged = total(size)
        x = torch.cat([tokens.x[:, : tokens.num_prefix], mean(patches)], dim=1)
        source = None if tokens.source is None else mean(self.by_step(tokens.source))
        return replace(tokens, x=x, source=source, size=self.joined(merged)[..., 0])


def match(keys: Tensor, num_merged: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pair similar tokens: keys [B, S, E] -> int64 (stay [B, S//2 - r], leave [B, r], into [B, r]).

    ``stay`` and ``leave`` count the tokens at odd places, ``into`` those at even places. ``stay`` ascends, as in the
    official code: the order decides who meets whom in the next merging layer.
    """
    keys = F.normalize(keys.float(), dim=-1)
    with full_precision(keys.device.type):  # likeness of close neighbours differs in digits that bfloat16 lacks
        best, partner = (keys[:, 1::2] @ keys[:, ::2].transpose(1, 2)).max(-1)  # [B, S // 2]
    leave, stay = best.argsort(dim=-1, descending=True).tensor_split([num_merged], dim=-1)
    return stay.sort(dim=-1).values, leave, partner.gather(1, leave)


def add_rows(x: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """Add ``rows`` [B, r, D] to the rows ``index`` [B, r] of ``x`` [B, N, D]; several may meet in one."""
    first = torch.arange(x.shape[0], device=x.device)[:, None] * x.shape[1]
    return x.flatten(0, 1).index_add(0, (index + first).flatten(), rows.flatten(0, 1)).view_as(x)


def plan_merge(factory: LayerFactory, config: MergeConfig) -> EncoderPlan:
    """A reducer between attention and MLP of the chosen layers."""
    return plan_reducers(factory, config, MergeSimilar)
