"""LookupViT: heavy layers on few compressed tokens, cheap ones on many lookup tokens.

Paper: "LookupViT: Compressing visual information to a limited number of tokens", ECCV 2024, arXiv 2407.12753.
No official code exists; this is the reading whose multiply-adds give the paper's 2x at 5x5 tokens.

Shapes: B batch, M compressed tokens, N lookup tokens, D width, A heads, E head width.

Differs from the paper: nothing known. Open points of the paper are options of ``LookupConfig``: which
attention the infusion reuses, where MHBC normalises, output projections, MLP width, heads.
Fixed here: no cls token, compressed tokens and positions resized from the lookup ones (linear, antialias),
separate value maps for the two directions, pre-norm and residual at the lookup MLP, weights per layer.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidtok.compress.plan import EncoderPlan, LayerFactory
from vidtok.config import Budget, LookupConfig, format_budget
from vidtok.errors import ConfigError
from vidtok.nn.attention import FusedLinear, merge_heads, split_heads
from vidtok.nn.blocks import Block, DropPath, Mlp
from vidtok.nn.embed import LatticeResize
from vidtok.nn.tokens import TokenGrid, TokenModule, Tokens


class LookupStem(nn.Module):
    """Starts the two streams: lookup tokens are the input, compressed tokens its resize to the budget's lattice.

    Resizing after positions were added equals resizing features and positions apart: both are linear.
    """

    def __init__(self, grid: TokenGrid, budget: Budget) -> None:
        super().__init__()
        self.lattice = grid.require_lattice("lookup")
        self.resize = LatticeResize(self.lattice, self._target(budget))
        self.budget = budget

    def _target(self, budget: Budget) -> tuple[int, int, int]:
        """The compressed lattice; a budget (h, w) keeps the time steps. Raises ConfigError."""
        target = (self.lattice[0], *budget) if isinstance(budget, tuple) and len(budget) == 2 else budget
        if not (isinstance(target, tuple) and len(target) == 3 and _fits(target, self.lattice)):
            full = format_budget(self.lattice)
            raise ConfigError(
                f"lookup budget '{format_budget(budget)}' must be a grid h x w or t x h x w within {full}, such as 5x5"
            )
        return target

    def set_budget(self, budget: Budget) -> None:
        self.resize.set_target(self._target(budget))
        self.budget = budget

    def out_grid(self, grid: TokenGrid) -> TokenGrid:
        if grid.require_lattice("lookup") != self.lattice:
            raise ConfigError(f"lookup was built for the lattice {self.lattice}, not {grid}")
        return TokenGrid.lattice(*self.resize.target)

    def forward(self, tokens: Tokens) -> Tokens:
        return replace(
            tokens,
            x=self.resize(tokens.x),
            grid=self.out_grid(tokens.grid),
            source=None if tokens.source is None else self.resize(tokens.source),
            lookup=tokens.x,
            lookup_grid=tokens.grid,
        )


def _fits(target: tuple[int, ...], lattice: tuple[int, ...]) -> bool:
    return all(1 <= new <= old for new, old in zip(target, lattice))


class Gather(nn.Module):
    """Information gathering: compressed tokens query the lookup tokens (q from compressed, k and v from lookup).

    ``norm="after"`` normalises q and k after their maps over the full width and leaves v raw; ``"before"``
    is classical pre-norm on both inputs.
    """

    def __init__(self, dim: int, *, num_heads: int, norm: str, eps: float, wo: bool) -> None:
        super().__init__()
        self.num_heads, self.norm_after = num_heads, norm == "after"
        self.q = nn.Linear(dim, dim)
        self.kv = FusedLinear(dim, 2)
        self.norm_q = nn.LayerNorm(dim, eps=eps)
        self.norm_k = nn.LayerNorm(dim, eps=eps)
        self.proj = nn.Linear(dim, dim) if wo else nn.Identity()

    def project(self, compressed: Tensor, lookup: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, M, D], [B, N, D] -> heads q [B, A, M, E], k and v [B, A, N, E]."""
        if self.norm_after:
            q = self.norm_q(self.q(compressed))
            k, v = self.kv(lookup).chunk(2, dim=-1)
            k = self.norm_k(k)
        else:
            q = self.q(self.norm_q(compressed))
            k, v = self.kv(self.norm_k(lookup)).chunk(2, dim=-1)
        return split_heads(q, self.num_heads), split_heads(k, self.num_heads), split_heads(v, self.num_heads)


class Infuse(nn.Module):
    """Global context infusion: lookup tokens take from the compressed ones, then pass their small MLP."""

    def __init__(self, dim: int, *, config: LookupConfig, num_heads: int, gelu: str, eps: float) -> None:
        super().__init__()
        self.num_heads, self.norm_after, self.reuse = num_heads, config.norm == "after", config.reuse
        self.v = nn.Linear(dim, dim)
        self.norm_v = nn.LayerNorm(dim, eps=eps)
        if config.reuse == "recompute":
            self.q, self.k = nn.Linear(dim, dim), nn.Linear(dim, dim)
            self.norm_q, self.norm_k = nn.LayerNorm(dim, eps=eps), nn.LayerNorm(dim, eps=eps)
        self.proj = nn.Linear(dim, dim) if config.wo2 else nn.Identity()
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, round(dim / config.q), gelu="tanh" if gelu == "tanh" else "erf")

    def value(self, compressed: Tensor) -> Tensor:
        """[B, M, D] -> [B, A, M, E]."""
        v = self.norm_v(self.v(compressed)) if self.norm_after else self.v(self.norm_v(compressed))
        return split_heads(v, self.num_heads)

    def own_attention(self, compressed: Tensor, lookup: Tensor) -> Tensor:
        """Fresh q from lookup and k from compressed tokens -> [B, A, N, E]."""
        if self.norm_after:
            q, k = self.norm_q(self.q(lookup)), self.norm_k(self.k(compressed))
        else:
            q, k = self.q(self.norm_q(lookup)), self.k(self.norm_k(compressed))
        q, k = split_heads(q, self.num_heads), split_heads(k, self.num_heads)
        return F.scaled_dot_product_attention(q, k, self.value(compressed))


class Lookup(nn.Module):
    """One LookupViT block around a backbone's block: (1) gather, (2) refine, (3) infuse.

    ``reuse`` says which attention the infusion uses: ``post`` the transpose of the gather's softmax (rows
    of a lookup token do not sum to 1), ``pre`` the gather's logits with the softmax taken over the
    compressed tokens, ``recompute`` its own q and k. Without ``write_back`` the lookup stream passes unchanged.
    """

    def __init__(self, block: Block, factory: LayerFactory, config: LookupConfig, *, write_back: bool) -> None:
        super().__init__()
        heads, eps = factory.num_heads, factory.norm_eps
        self.gather = Gather(factory.dim, num_heads=heads, norm=config.norm, eps=eps, wo=config.wo)
        self.refine = block
        self.infuse = (
            Infuse(factory.dim, config=config, num_heads=heads, gelu=factory.gelu, eps=eps) if write_back else None
        )
        self.share_softmax = write_back and config.reuse == "post"
        self.drop_path = DropPath(block.drop_path.rate)

    def out_grid(self, grid: TokenGrid) -> TokenGrid:
        return self.refine.out_grid(grid)

    def forward(self, tokens: Tokens) -> Tokens:
        lookup = tokens.lookup
        assert lookup is not None, "a Lookup block needs the streams of a LookupStem"
        q, k, v = self.gather.project(tokens.x, lookup)
        if self.share_softmax:
            attention = _softmax_scores(q, k)  # [B, A, M, N]
            gathered = attention @ v
        else:
            gathered = F.scaled_dot_product_attention(q, k, v)
        x = tokens.x + self.drop_path(self.gather.proj(merge_heads(gathered)))
        tokens = self.refine(replace(tokens, x=x))
        if self.infuse is None:
            return tokens
        if self.infuse.reuse == "post":
            infused = attention.transpose(-1, -2) @ self.infuse.value(tokens.x)
        elif self.infuse.reuse == "pre":
            infused = F.scaled_dot_product_attention(k, q, self.infuse.value(tokens.x))
        else:
            infused = self.infuse.own_attention(tokens.x, lookup)
        lookup = lookup + self.drop_path(self.infuse.proj(merge_heads(infused)))
        lookup = lookup + self.drop_path(self.infuse.mlp(self.infuse.norm(lookup)))
        return replace(tokens, lookup=lookup)


def _softmax_scores(q: Tensor, k: Tensor) -> Tensor:
    """[B, A, M, E], [B, A, N, E] -> softmax over N of q k^T / sqrt(E), taken in float32: [B, A, M, N]."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)


def plan_lookup(factory: LayerFactory, config: LookupConfig) -> EncoderPlan:
    """Wraps every block. The last block writes back only when the lookup head is trained (else DDP finds
    parameters without a gradient)."""
    trained = config.loss_weights[1] > 0
    modules: list[TokenModule] = [LookupStem(factory.grid, config.budget)]
    for layer in range(factory.depth):
        write_back = trained or layer < factory.depth - 1
        modules.append(Lookup(factory.block(layer), factory, config, write_back=write_back))
    return EncoderPlan(modules, 0, "lookup", config.loss_weights if trained else (1.0,), config.eval_head)
