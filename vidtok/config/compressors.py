"""Compressors: one class each, plus one line in ``CompressorUnion``."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from vidtok.config.base import GridField, Section, format_budget, inside_validation, parse_budget

KeepRate = Annotated[float, BeforeValidator(inside_validation(parse_budget))]
Cell = tuple[int, int] | tuple[int, int, int]


def _lattice(value: Any) -> Any:
    """Two numbers. Raises ValueError."""
    lattice = parse_budget(value)
    if value is not None and not (isinstance(lattice, tuple) and len(lattice) == 2):
        raise ValueError("must be a lattice h x w per time step, such as 4x4")
    return lattice


Lattice = Annotated[tuple[int, int], BeforeValidator(inside_validation(_lattice))]


def _at_least_one(grid: Cell) -> Cell:
    if min(grid) < 1:
        raise ValueError(f"every side of a grid must be at least 1, not {format_budget(grid)}")
    return grid


class NoneConfig(Section):
    """No compression."""

    kind: Literal["none"] = "none"


class LookupConfig(Section):
    """LookupViT: few compressed tokens are refined, many lookup tokens only looked up and informed."""

    kind: Literal["lookup"] = "lookup"
    budget: GridField = Field((5, 5), description="compressed grid (h, w) per time step, or (t, h, w) when joint")
    reuse: Literal["post", "pre", "recompute"] = Field(
        "post", description="infusion attention: transpose of the gather's softmax, its logits re-softmaxed, or own"
    )
    norm: Literal["after", "before"] = Field("after", description="layer norm after or before the q, k, v projections")
    wo: bool = Field(True, description="output projection of the gather")
    wo2: bool = Field(True, description="output projection of the infusion")
    q: float = Field(2.0, ge=0.01, le=8192, description="hidden width of the lookup MLP is dim / q")
    loss_weights: tuple[float, float] = Field((0.5, 0.5), description="loss weight of the (compressed, lookup) head")
    eval_head: Literal["auto", "compressed", "lookup", "mean"] = Field(
        "auto", description="head that answers; auto: mean of both, compressed in the factorised encoder"
    )

    _positive = field_validator("budget")(_at_least_one)

    @model_validator(mode="after")
    def _answer_is_trained(self) -> "LookupConfig":
        if min(self.loss_weights) < 0 or self.loss_weights[0] == 0:
            raise ValueError(f"loss_weights {self.loss_weights}: compressed must be > 0, lookup >= 0")
        if self.loss_weights[1] == 0 and self.eval_head in ("lookup", "mean"):
            raise ValueError(f"eval_head '{self.eval_head}' needs the lookup head: give loss_weights[1] > 0")
        return self


class KeepRateConfig(Section):
    """What compressors with a keep rate share."""

    budget: KeepRate = Field(0.7, gt=0, le=1, description="share of the patch tokens that each reducing layer keeps")
    layers: tuple[int, ...] | None = Field(
        None, description="reducing layers, counted from 1; empty: 4, 7 and 10 of 12, scaled with the depth"
    )


class EViTConfig(KeepRateConfig):
    """EViT: keep the tokens that the cls token attends to, fuse the others into one."""

    kind: Literal["evit"] = "evit"
    fuse: bool = Field(True, description="add one token, the attention-weighted sum of those left out")


class RandomConfig(KeepRateConfig):
    """Keep tokens at random: the baseline that every selection has to beat."""

    kind: Literal["random"] = "random"


class MergeConfig(KeepRateConfig):
    """ToMe: merge the most similar tokens; works without training."""

    kind: Literal["merge"] = "merge"
    budget: KeepRate = Field(0.7, ge=0.5, le=1, description="share of the patch tokens left by each reducing layer")


class SemanticConfig(Section):
    """STViT: a few semantic tokens, cluster centres of the image tokens, replace them after a third of the layers."""

    kind: Literal["semantic"] = "semantic"
    budget: GridField = Field((4, 4), description="lattice (h, w) of semantic tokens per time step")
    pooling: Literal["intra", "inter", "adaptive"] = Field(
        "intra", description="first centres: weights within windows, these plus an offset across windows, adaptive max"
    )
    keys: Literal["frame", "joint"] = Field(
        "frame", description="image tokens that a semantic token looks at: its own time step's, or all"
    )
    centres: Lattice | None = Field(
        None, description="lattice (h, w) of the learned global centres, resized to the budget; empty: the budget's"
    )

    _positive = field_validator("budget", "centres")(_at_least_one)

    @model_validator(mode="before")
    @classmethod
    def _centres_of_the_budget(cls, values: Any) -> Any:
        """The lattice of the weights is stated, so that another budget does not change it."""
        if isinstance(values, dict) and values.get("centres") is None:
            return values | {"centres": values.get("budget", cls.model_fields["budget"].default)}
        return values


class SuperTokenConfig(Section):
    """SViT: attention runs over super tokens, sparse averages of neighbouring tokens; no token is dropped."""

    kind: Literal["supertoken"] = "supertoken"
    budget: GridField = Field((2, 2), description="tokens per super token: cell (h, w) per time step, or (t, h, w)")
    border_mask: bool = Field(False, description="leave neighbours beyond the border out; the official code does not")
    layers: tuple[int, ...] | None = Field(None, description="layers with super tokens, counted from 1; empty: all")

    _positive = field_validator("budget")(_at_least_one)


def parse_compressor(value: Any) -> Any:
    """Turn a compressor's name into the mapping of its config; a mapping gets its kind."""
    if isinstance(value, dict):
        return {"kind": "none"} | value
    return {"kind": value} if isinstance(value, str) else value


CompressorUnion = (
    NoneConfig | LookupConfig | SemanticConfig | EViTConfig | SuperTokenConfig | MergeConfig | RandomConfig
)
CompressorConfig = Annotated[CompressorUnion, Field(discriminator="kind")]
