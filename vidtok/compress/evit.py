"""EViT: keep the tokens that the cls token attends to most, fuse the rest into one.

Paper: "Not All Patches are What You Need: Expediting Vision Transformers via Token Reorganizations", ICLR 2022,
arXiv 2202.07800, section 3.

Shapes: B batch, t time steps, P prefix tokens, S patch tokens that are reduced together, K that stay, D width.

Differs from the paper: nothing on images. Extensions: without a cls token the attention row of the mean query is the
score; where attention divides time and space, scores are averaged over the steps and each step gets a fused token.
"""

from dataclasses import replace

import torch
from torch import Tensor

from vidtok.compress.plan import EncoderPlan, LayerFactory
from vidtok.compress.reduce import RateReducer, plan_reducers, take_rows
from vidtok.config import EViTConfig
from vidtok.nn.attention import Heads, attention_weights
from vidtok.nn.tokens import Tokens


class KeepAttended(RateReducer):
    """Keeps the K best scored tokens in descending order, then the fused one.

    The fused token is the sum of the others, each times its score, which is not normalised: it is small. Its
    gradient reaches queries and keys; the choice itself has none.
    """

    def __init__(self, factory: LayerFactory, config: EViTConfig) -> None:
        super().__init__(factory, config)
        self.fuse = config.fuse

    def extra_tokens(self) -> int:
        return int(self.fuse)

    def reduce(self, tokens: Tokens, heads: Heads) -> Tokens:
        scores = self.over_steps(attention_row(heads, tokens.num_prefix))  # [B, S]
        index = scores.topk(self.num_kept(tokens.grid)).indices
        rest = self.for_steps(scores.scatter(1, index, 0.0)) if self.fuse else None
        index = self.for_steps(index)

        def reorganise(x: Tensor, weights: Tensor | None) -> Tensor:
            kept = [take_rows(x, index)]
            return kept[0] if weights is None else torch.cat([*kept, weights[:, None].to(x.dtype) @ x], dim=1)

        prefix, patches = tokens.x[:, : tokens.num_prefix], tokens.x[:, tokens.num_prefix :]
        x = torch.cat([prefix, self.joined(reorganise(self.by_step(patches), rest))], dim=1)
        source = tokens.source
        if source is not None:
            shares = None if rest is None else rest / rest.sum(1, keepdim=True)
            source = self.joined(reorganise(self.by_step(source), shares))
        return replace(tokens, x=x, source=source)


def attention_row(heads: Heads, num_prefix: int) -> Tensor:
    """What the first prefix token, else the mean query, attends to: [B, A, P+S, E] -> float32 [B, S].

    Softmax over all P+S keys, then the mean over heads; one row beside the fused attention of all others.
    """
    query = heads.q[:, :, :1] if num_prefix else heads.q.mean(2, keepdim=True)
    return attention_weights(query, heads.k)[:, :, 0, num_prefix:].mean(1)


def plan_evit(factory: LayerFactory, config: EViTConfig) -> EncoderPlan:
    """A reducer between attention and MLP of the chosen layers."""
    return plan_reducers(factory, config, KeepAttended)
