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
from vidtok.nn.attention import FusedLinear, attention_weights, merge_heads, split_heads
from vidtok.nn.blocks import Block, DropPath, Mlp
from vidtok.nn.divided import fold_steps, unfold_steps
from vidtok.nn.embed import LatticeResize
from vidtok.nn.tokens import TokenGrid, TokenModule, Tokens, block_diagonal


class LookupStem(nn.Module):
    """Starts the two streams: lookup tokens are the input, compressed tokens its resize to the budget's lattice.

    Resizing after positions were added equals resizing features and positions apart: both are linear.
    """

    def __init__(self, grid: TokenGrid, budget: Budget, *, keeps_time: bool = False) -> None:
        super().__init__()
        self.lattice = grid.require_lattice("lookup")
        self.keeps_time = keeps_time
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
        if self.keeps_time and target[0] != self.lattice[0]:
            raise ConfigError(
                f"lookup budget '{format_budget(budget)}' must keep the {self.lattice[0]} time steps, because "
                "attention divides time and space here; give h x w, such as 5x5"
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

    @torch.no_grad()
    def silence(self) -> tuple[str, str]:
        """Zero the last matrices: the lookup stream passes unchanged until they learn. Returns what is zero."""
        last = "proj" if isinstance(self.proj, nn.Linear) else "norm_v" if self.norm_after else "v"
        for parameter in (*self.get_submodule(last).parameters(), *self.mlp.fc2.parameters()):
            nn.init.zeros_(parameter)
        return f"infuse.{last}", "infuse.mlp.fc2"


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
        self.num_steps = factory.grid.require_time("lookup") if factory.role == "divided" else 1
        self.share_softmax = write_back and config.reuse == "post"
        self.drop_path = DropPath(block.drop_path.rate)

    def out_grid(self, grid: TokenGrid) -> TokenGrid:
        return self.refine.out_grid(grid)

    def forward(self, tokens: Tokens) -> Tokens:
        assert tokens.lookup is not None, "a Lookup block needs the streams of a LookupStem"
        lookup = fold_steps(tokens.lookup, self.num_steps)
        q, k, v = self.gather.project(fold_steps(tokens.x, self.num_steps), lookup)
        if self.share_softmax:
            attention = attention_weights(q, k).to(v.dtype)  # [B, A, M, N]
            gathered = attention @ v
        else:
            gathered = F.scaled_dot_product_attention(q, k, v)
        x = tokens.x + self.drop_path(unfold_steps(self.gather.proj(merge_heads(gathered)), self.num_steps))
        source = None if tokens.source is None else block_diagonal(attention_weights(q, k).mean(1), self.num_steps)
        tokens = self.refine(replace(tokens, x=x, source=source))
        if self.infuse is None:
            return tokens
        compressed = fold_steps(tokens.x, self.num_steps)
        if self.infuse.reuse == "post":
            infused = attention.transpose(-1, -2) @ self.infuse.value(compressed)
        elif self.infuse.reuse == "pre":
            infused = F.scaled_dot_product_attention(k, q, self.infuse.value(compressed))
        else:
            infused = self.infuse.own_attention(compressed, lookup)
        lookup = lookup + self.drop_path(self.infuse.proj(merge_heads(infused)))
        lookup = lookup + self.drop_path(self.infuse.mlp(self.infuse.norm(lookup)))
        return replace(tokens, lookup=unfold_steps(lookup, self.num_steps))

    @torch.no_grad()
    def warm_start(self) -> dict[str, str]:
        """The gather takes over the maps of the block's attention, the infusion adds nothing.

        With ``norm="before"`` the gather then is that attention. With ``"after"`` it normalises queries and keys where
        the block normalised its input, so that it begins near it: layers differ by a quarter of their values.
        """
        attn = self.refine.attn
        q_weight, kv_weight = attn.qkv.weight.tensor_split([attn.proj.in_features])
        q_bias, kv_bias = attn.fused_bias().tensor_split([attn.proj.in_features])
        for linear, weight, bias in ((self.gather.q, q_weight, q_bias), (self.gather.kv, kv_weight, kv_bias)):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        started = ["q", "kv"]
        if isinstance(self.gather.proj, nn.Linear):
            self.gather.proj.load_state_dict(attn.proj.state_dict())
            started.append("proj")
        if not self.gather.norm_after:
            for name in ("norm_q", "norm_k"):
                self.gather.get_submodule(name).load_state_dict(self.refine.norm1.state_dict())
                started.append(name)
        told = {f"gather.{name}": "from the block's attention" for name in started}
        return told if self.infuse is None else told | dict.fromkeys(self.infuse.silence(), "zero")


def plan_lookup(factory: LayerFactory, config: LookupConfig) -> EncoderPlan:
    """Wraps every block. The last block writes back only when the lookup head is trained (else DDP finds
    parameters without a gradient)."""
    trained = config.loss_weights[1] > 0
    modules: list[TokenModule] = [LookupStem(factory.grid, config.budget, keeps_time=factory.role == "divided")]
    for layer in range(factory.depth):
        write_back = trained or layer < factory.depth - 1
        modules.append(Lookup(factory.block(layer), factory, config, write_back=write_back))
    return EncoderPlan(modules, 0, "lookup", config.loss_weights if trained else (1.0,), config.eval_head)
