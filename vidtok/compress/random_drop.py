"""Random dropping: what is kept where EViT would keep the best, but drawn by lot. The baseline of every selection.

Shapes: B batch, t time steps, S patch tokens that are reduced together, K that stay.
"""

from dataclasses import replace

import torch
from torch import Tensor

from vidtok.compress.plan import EncoderPlan, LayerFactory
from vidtok.compress.reduce import RateReducer, plan_reducers, take_rows
from vidtok.config import RandomConfig
from vidtok.nn.attention import Heads
from vidtok.nn.buffers import Buffered
from vidtok.nn.tokens import Tokens

_SEED = 0


class KeepRandom(RateReducer, Buffered):
    """Keeps K tokens by lot: in training anew for every sample, in eval by one fixed order, so that answers repeat."""

    lots: Tensor

    def __init__(self, factory: LayerFactory, config: RandomConfig) -> None:
        super().__init__(factory, config)
        self.num_lots = factory.grid.num_tokens // self.num_steps
        self.reset_buffers()

    def make_buffers(self) -> dict[str, Tensor]:
        """The lots of eval."""
        drawn = torch.rand(self.num_lots, generator=torch.Generator("cpu").manual_seed(_SEED), device="cpu")
        # whole numbers: a model in bfloat16 would round lots until many tie
        return {"lots": drawn.argsort().argsort()}

    def reduce(self, tokens: Tokens, heads: Heads) -> Tokens:
        batch, num_tokens = tokens.x.shape[0], tokens.grid.num_tokens // self.num_steps
        if self.training:
            lots = torch.rand(batch, num_tokens, device=tokens.x.device)
        else:
            lots = self.lots[:num_tokens].expand(batch, -1)
        index = self.for_steps(lots.topk(self.num_kept(tokens.grid)).indices)

        def keep(x: Tensor) -> Tensor:
            return self.joined(take_rows(self.by_step(x), index))

        prefix, patches = tokens.x[:, : tokens.num_prefix], tokens.x[:, tokens.num_prefix :]
        source = None if tokens.source is None else keep(tokens.source)
        return replace(tokens, x=torch.cat([prefix, keep(patches)], dim=1), source=source)


def plan_random(factory: LayerFactory, config: RandomConfig) -> EncoderPlan:
    """A reducer between attention and MLP of the chosen layers."""
    return plan_reducers(factory, config, KeepRandom)
