"""Compressors: one class each, plus one line in ``CompressorUnion``."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from vidtok.config.base import GridField, Section, format_budget


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
    q: float = Field(2.0, gt=0, description="hidden width of the lookup MLP is dim / q")
    loss_weights: tuple[float, float] = Field((0.5, 0.5), description="loss weight of the (compressed, lookup) head")
    eval_head: Literal["auto", "compressed", "lookup", "mean"] = Field(
        "auto", description="head that answers; auto: mean of both, compressed in the factorised encoder"
    )

    @field_validator("budget")
    @classmethod
    def _positive(cls, budget: tuple[int, ...]) -> tuple[int, ...]:
        if min(budget) < 1:
            raise ValueError(f"every side of the compressed grid must be at least 1, not {format_budget(budget)}")
        return budget

    @model_validator(mode="after")
    def _answer_is_trained(self) -> "LookupConfig":
        if min(self.loss_weights) < 0 or self.loss_weights[0] == 0:
            raise ValueError(f"loss_weights {self.loss_weights}: compressed must be > 0, lookup >= 0")
        if self.loss_weights[1] == 0 and self.eval_head in ("lookup", "mean"):
            raise ValueError(f"eval_head '{self.eval_head}' needs the lookup head: give loss_weights[1] > 0")
        return self


def parse_compressor(value: Any) -> Any:
    """Turn a compressor's name into the mapping of its config; a mapping gets its kind."""
    if isinstance(value, dict):
        return {"kind": "none"} | value
    return {"kind": value} if isinstance(value, str) else value


CompressorUnion = NoneConfig | LookupConfig
CompressorConfig = Annotated[CompressorUnion, Field(discriminator="kind")]
