"""STViT: a few semantic tokens, cluster centres of the image tokens, replace them for the rest of the network.

Paper: "Making Vision Transformers Efficient from A Token Sparsification View", CVPR 2023, arXiv 2303.08685, sections
3.1 and 4.1, supplement A.1; windows and the network that weighs their tokens as the author posted them.

Shapes: B batch, t time steps, (h, w) patches per step, S = h w, (m, n) lattice of semantic tokens, M = m n, D width.

Differs from the paper: nothing known on images at 4x4; how larger lattices are cut into windows is not published.
Extensions: one lattice per time step in joint space-time models; learned global centres are stored at one lattice and
resized to the budget, so that it can change.
"""

from dataclasses import replace

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from vidtok.compress.plan import EncoderPlan, LayerFactory
from vidtok.config import Budget, SemanticConfig, format_budget
from vidtok.errors import ConfigError
from vidtok.nn.blocks import Block
from vidtok.nn.buffers import Buffered
from vidtok.nn.divided import DividedBlock, fold_steps, unfold_steps
from vidtok.nn.embed import LatticeResize
from vidtok.nn.tokens import TokenGrid, TokenModule, Tokens, block_diagonal

_OUTSIDE = -100.0
"""Added to the weight of what lies outside the picture, before the softmax."""


def window_starts(size: int, count: int) -> tuple[int, list[int]]:
    """(width, first cells) of ``count`` equal windows over ``size`` cells; a window may reach beyond the ends.

    Windows side by side around the middle; where one of them would lie outside altogether, spread evenly with overlap.
    """
    width = -(-size // count)
    left = (width * count - size) // 2
    if width * count - size - left < width:
        return width, [number * width - left for number in range(count)]
    return width, [number * (size - width) // (count - 1) for number in range(count)]


class WindowPool(Buffered):
    """First centres: a weighted mean of the tokens in each window of a lattice (equations 4 and 5)."""

    def __init__(self, dim: int, hw: tuple[int, int], budget: tuple[int, int], *, kind: str, eps: float) -> None:
        super().__init__()
        self.hw, self.kind = hw, kind
        self.set_target(budget)
        if kind != "adaptive":
            self.intra = WindowScore(dim, 1, eps=eps)
        if kind == "inter":
            self.inter = WindowScore(dim, self.window[0] * self.window[1], eps=eps)

    def set_target(self, budget: tuple[int, int]) -> None:
        self.budget = budget
        axes = self._axes()
        self.window = axes[0][0], axes[1][0]
        self.is_padded = any(starts[0] < 0 or starts[-1] + width > size for (width, starts), size in zip(axes, self.hw))
        self.reset_buffers()

    def _axes(self) -> list[tuple[int, list[int]]]:
        return [window_starts(size, count) for size, count in zip(self.hw, self.budget)]

    def make_buffers(self) -> dict[str, Tensor]:
        """Rows and columns of the windows' cells."""
        cells = [[start + cell for start in starts for cell in range(width)] for width, starts in self._axes()]
        return {name: torch.tensor(axis, device="cpu") for name, axis in zip(("rows", "columns"), cells)}

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, D] -> [B, M, D]."""
        lattice = x.unflatten(1, self.hw)
        if self.kind == "adaptive":
            pooled = F.adaptive_max_pool2d(lattice.permute(0, 3, 1, 2), self.budget)
            return pooled.flatten(2).transpose(1, 2)
        windows = self.cut(lattice)
        outside = self.outside()
        if outside is None:
            scores = self.intra(windows)[..., 0]  # [B, M, p q]
        else:
            scores = self.intra(windows.masked_fill(outside, 0))[..., 0] + _OUTSIDE * outside.flatten(2)
        centres = weighted_mean(scores, windows)
        if self.kind == "inter":
            offset = self.inter(centres.unflatten(1, self.budget)[:, None])[:, 0]  # [B, M, p q]
            centres = weighted_mean(scores + offset, windows)
        return centres

    def cut(self, lattice: Tensor) -> Tensor:
        """[B, h, w, D] -> windows of p x q tokens [B, M, p, q, D]; cells beyond the border repeat its tokens."""
        picked = lattice.index_select(1, self.rows.clamp(0, self.hw[0] - 1))
        picked = picked.index_select(2, self.columns.clamp(0, self.hw[1] - 1))
        return rearrange(picked, "b (m p) (n q) d -> b (m n) p q d", p=self.window[0], q=self.window[1])

    def outside(self) -> Tensor | None:
        """True for cells beyond the border, [1, M, p, q, 1]; None when there are none."""
        if not self.is_padded:
            return None
        rows, columns = (self.rows < 0) | (self.rows >= self.hw[0]), (self.columns < 0) | (self.columns >= self.hw[1])
        cells = (rows[:, None] | columns)[None, ..., None]
        return rearrange(cells, "b (m p) (n q) d -> b (m n) p q d", p=self.window[0], q=self.window[1])


class WindowScore(nn.Module):
    """Depthwise 3x3 convolution inside each window, layer norm, GELU, one or more scores per token."""

    def __init__(self, dim: int, num_scores: int, *, eps: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.score = nn.Linear(dim, num_scores, bias=False)

    def forward(self, windows: Tensor) -> Tensor:
        """[B, M, p, q, D] -> [B, M, p q, num_scores]."""
        mixed = self.dwconv(windows.flatten(0, 1).permute(0, 3, 1, 2))
        mixed = F.gelu(self.norm(mixed.flatten(2).transpose(1, 2)))
        return self.score(mixed).unflatten(0, windows.shape[:2])


def weighted_mean(scores: Tensor, windows: Tensor) -> Tensor:
    """Softmax of the scores [B, M, p q] in float32 over the tokens [B, M, p, q, D] -> [B, M, D]."""
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(windows.dtype)
    return (weights[:, :, None] @ windows.flatten(2, 3))[:, :, 0]


class GenerationLayer(nn.Module):
    """A backbone's block whose queries are semantic tokens and whose keys are image tokens (equation 2).

    Image tokens are not changed. Where attention divides time and space, the temporal half works on semantic tokens.
    """

    def __init__(self, block: Block, factory: LayerFactory, config: SemanticConfig) -> None:
        super().__init__()
        self.lattice = factory.grid.require_lattice("semantic")
        self.key_steps = 1 if config.keys == "joint" else self.lattice[0]
        self.block = block
        self.budget = self.checked(config.budget)

    def checked(self, budget: Budget) -> tuple[int, int]:
        """Raises ConfigError unless it is a lattice within the patches of a step."""
        height, width = self.lattice[1:]
        fits = isinstance(budget, tuple) and len(budget) == 2 and 1 <= budget[0] <= height and 1 <= budget[1] <= width
        if not fits:
            raise ConfigError(
                f"semantic budget '{format_budget(budget)}' must be a lattice h x w per time step within "
                f"{height}x{width}, such as 4x4"
            )
        return budget

    def out_grid(self, grid: TokenGrid) -> TokenGrid:
        return TokenGrid.lattice(self.lattice[0], *self.budget)

    def generate(self, tokens: Tokens, image: Tensor, *, centres: Tensor | None = None) -> Tokens:
        """Run the block: semantic tokens [B, t M, D] look at image tokens [B, t S, D].

        With ``centres``, added to the queries alone, keys are semantic and image tokens together.
        """
        block, steps = self.block, self.key_steps
        time_first = isinstance(block, DividedBlock) and block.order == "time_space"
        if time_first:
            tokens = block.mix_time(tokens)
        queries, context = fold_steps(tokens.x, steps), fold_steps(image, steps)
        if centres is not None:
            context = torch.cat([queries, context], dim=1)
            queries = queries + fold_steps(centres.to(queries.dtype), steps)
        queries, context = block.norm1(queries), block.norm1(context)
        branch = block.drop_path(block.attn.cross(queries, context))
        tokens = replace(
            tokens, x=tokens.x + unfold_steps(branch, steps), source=self._looked_at(tokens, queries, context)
        )
        if isinstance(block, DividedBlock) and not time_first:
            tokens = block.mix_time(tokens)
        return block.feed(tokens)

    def _looked_at(self, tokens: Tokens, queries: Tensor, context: Tensor) -> Tensor | None:
        """While tracing: the mean attention of the heads, with semantic tokens as keys resolved into patches."""
        if tokens.source is None:
            return None
        shares = self.block.attn.cross_weights(queries, context)  # [B steps, M, keys]
        num_patches = self.lattice[0] // self.key_steps * self.lattice[1] * self.lattice[2]
        semantic, image = shares.split([context.shape[1] - num_patches, num_patches], dim=-1)
        source = block_diagonal(image, self.key_steps)
        if semantic.shape[-1]:
            source = source + block_diagonal(semantic, self.key_steps) @ tokens.source
        return source


class FirstGeneration(GenerationLayer):
    """Asks with pooled centres; hands the image tokens on as the second stream."""

    def __init__(self, block: Block, factory: LayerFactory, config: SemanticConfig) -> None:
        super().__init__(block, factory, config)
        self.pool = WindowPool(factory.dim, self.lattice[1:], self.budget, kind=config.pooling, eps=factory.norm_eps)

    def set_budget(self, budget: Budget) -> None:
        budget = self.checked(budget)
        if self.pool.kind == "inter" and budget != self.budget:
            raise ConfigError(
                f"semantic budget '{format_budget(budget)}': pooling 'inter' has one weight per cell of a window and "
                f"fixes the budget at {format_budget(self.budget)}; build with that budget, or with pooling intra"
            )
        self.budget = budget
        self.pool.set_target(budget)

    def out_grid(self, grid: TokenGrid) -> TokenGrid:
        if grid.require_lattice("semantic") != self.lattice:
            raise ConfigError(f"semantic was built for the lattice {self.lattice}, not {grid}")
        return super().out_grid(grid)

    def forward(self, tokens: Tokens) -> Tokens:
        image, num_steps = tokens.x, self.lattice[0]
        centres = unfold_steps(self.pool(fold_steps(image, num_steps)), num_steps)
        return self.generate(
            replace(tokens, x=centres, grid=self.out_grid(tokens.grid), lookup=image, lookup_grid=tokens.grid), image
        )


class SecondGeneration(GenerationLayer):
    """Asks with semantic tokens plus learned global centres; drops the image tokens."""

    def __init__(self, block: Block, factory: LayerFactory, config: SemanticConfig) -> None:
        super().__init__(block, factory, config)
        height, width = config.centres
        self.centres = nn.Parameter(0.02 * torch.randn(1, height * width, factory.dim))
        self.resize = LatticeResize((1, height, width), (1, *self.budget))

    def set_budget(self, budget: Budget) -> None:
        self.budget = self.checked(budget)
        self.resize.set_target((1, *self.budget))

    def forward(self, tokens: Tokens) -> Tokens:
        assert tokens.lookup is not None, "the second generation layer needs the image tokens of the first"
        centres = self.resize(self.centres).repeat(tokens.x.shape[0], self.lattice[0], 1)
        tokens = self.generate(tokens, tokens.lookup, centres=centres)
        return replace(tokens, lookup=None, lookup_grid=None)


def plan_semantic(factory: LayerFactory, config: SemanticConfig) -> EncoderPlan:
    """A third of the layers on image tokens, two that generate, the rest on semantic tokens; no cls token.

    Raises ConfigError when there are fewer than three layers, or keys of all time steps where attention has none.
    """
    if factory.depth < 3:
        raise ConfigError(f"compressor 'semantic' needs 3 layers or more, this encoder has {factory.depth}")
    if config.keys == "joint" and factory.role != "joint":
        raise ConfigError(
            "model.compressor.keys 'joint' needs a backbone whose attention spans all time steps at once, such as "
            "vivit; here it sees one step at a time: use 'frame'"
        )
    blocks = [factory.block(layer) for layer in range(factory.depth)]
    modules: list[TokenModule] = [*blocks]
    first = factory.depth // 3
    modules[first] = FirstGeneration(blocks[first], factory, config)
    modules[first + 1] = SecondGeneration(blocks[first + 1], factory, config)
    return EncoderPlan(modules, 0, "mean")
