"""Backbones: one class each, plus one line in ``BackboneUnion``."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from vidtok.config.base import Section
from vidtok.config.explain import brief
from vidtok.errors import ConfigError

SIZES: dict[str, tuple[int, int, int]] = {  # size: (dim, depth, num_heads)
    "ti": (192, 12, 3),
    "s": (384, 12, 6),
    "b": (768, 12, 12),
    "l": (1024, 24, 16),
    "h": (1280, 32, 16),
}


Layout = Literal["frames", "joint", "factorised", "divided", "divided_no_cls", "dot_product"]
"""How a backbone's attention is arranged over time and space: what a compressor has to fit."""


class BackboneBase(Section):
    size: Literal["ti", "s", "b", "l", "h"] = Field("b", description="named size: sets dim, depth and num_heads")
    dim: int | None = Field(None, ge=8, le=8192, description="token width, instead of the size's")
    depth: int | None = Field(None, ge=1, le=128, description="number of (spatial) blocks, instead of the size's")
    num_heads: int | None = Field(None, ge=1, le=256, description="attention heads, instead of the size's")
    patch: int = Field(16, ge=1, le=256, description="patch side [pixels]")
    mlp_ratio: float = Field(4.0, ge=0.01, le=64, description="hidden width of the MLP / dim")
    gelu: Literal["tanh", "erf"] = Field("tanh", description="GELU variant; scenic and HF ViViT use tanh")
    norm_eps: float = Field(1e-6, gt=0, le=1, description="epsilon of every layer norm")
    drop_path: float = Field(0.0, ge=0, lt=1, description="stochastic depth rate of the last block, linear from 0")
    pool: Literal["cls", "mean"] = Field("cls", description="what the head reads; mean of the patch tokens: no cls")
    default_frames: ClassVar[int] = 32
    arrangement: ClassVar[Layout] = "joint"

    @property
    def layout(self) -> Layout:
        """The arrangement of its attention, by which the support table is ordered."""
        return self.arrangement

    @property
    def shape(self) -> tuple[int, int, int]:
        """(dim, depth, num_heads) after explicit overrides. Raises ConfigError if heads do not divide dim."""
        named = SIZES[self.size]
        dim, depth, heads = (own or default for own, default in zip((self.dim, self.depth, self.num_heads), named))
        if dim % heads:
            raise ConfigError(f"model.backbone: dim {dim} is not a multiple of num_heads {heads}")
        return dim, depth, heads


class ViTConfig(BackboneBase):
    """Image ViT applied to each frame; logits of several frames are averaged."""

    kind: Literal["vit"] = "vit"
    gelu: Literal["tanh", "erf"] = Field("erf", description="GELU variant; timm and DeiT use erf")
    tubelet: Literal[1] = Field(1, description="tubelet depth [frames]; an image model has 1")
    pool: Literal["cls", "mean", "mean_with_cls"] = Field(
        "cls",
        description="what the head reads; mean of the patch tokens: no cls; mean_with_cls: cls stays a token, the mean "
        "of the patch tokens is normalised (MAE)",
    )
    default_frames: ClassVar[int] = 1
    arrangement: ClassVar[Layout] = "frames"


class ViViTConfig(BackboneBase):
    """ViViT model 1: joint attention over all space-time tokens."""

    kind: Literal["vivit"] = "vivit"
    tubelet: int = Field(2, ge=1, le=64, description="tubelet depth [frames]")


class ViViTFEConfig(BackboneBase):
    """ViViT model 2: factorised encoder, a spatial encoder per time step, then a temporal one."""

    kind: Literal["vivit_fe"] = "vivit_fe"
    tubelet: int = Field(2, ge=1, le=64, description="tubelet depth [frames]")
    temporal_depth: int = Field(4, ge=0, le=128, description="number of temporal blocks; 0: the mean over time steps")
    arrangement: ClassVar[Layout] = "factorised"


class ViViTFSAConfig(BackboneBase):
    """ViViT model 3: factorised self-attention, time and space in turn inside every block."""

    kind: Literal["vivit_fsa"] = "vivit_fsa"
    tubelet: int = Field(2, ge=1, le=64, description="tubelet depth [frames]")
    pool: Literal["mean"] = Field("mean", description="what the head reads; this model has no cls token")
    order: Literal["time_space", "space_time"] = Field("time_space", description="order of the two attentions")
    arrangement: ClassVar[Layout] = "divided_no_cls"


class ViViTFDPConfig(BackboneBase):
    """ViViT model 4: factorised dot products, half of the heads along time and half along space."""

    kind: Literal["vivit_fdp"] = "vivit_fdp"
    tubelet: int = Field(2, ge=1, le=64, description="tubelet depth [frames]")
    pool: Literal["mean"] = Field("mean", description="what the head reads; this model has no cls token")
    arrangement: ClassVar[Layout] = "dot_product"

    @property
    def shape(self) -> tuple[int, int, int]:
        dim, depth, heads = super().shape
        if heads % 2:
            raise ConfigError(f"model.backbone: vivit_fdp halves its heads, so num_heads {heads} must be even")
        return dim, depth, heads


class TimeSformerConfig(BackboneBase):
    """TimeSformer: attention along time, then space, inside every block; joint and space-only for comparison."""

    kind: Literal["timesformer"] = "timesformer"
    gelu: Literal["tanh", "erf"] = Field("erf", description="GELU variant; the official code uses erf")
    tubelet: int = Field(1, ge=1, le=64, description="tubelet depth [frames]; the official models have 1")
    attention: Literal["divided", "joint", "space"] = Field("divided", description="what attends to what in a block")
    default_frames: ClassVar[int] = 8

    @property
    def layout(self) -> Layout:
        if self.attention == "space":
            return "frames"
        if self.attention == "joint":
            return "joint"
        return "divided" if self.pool == "cls" else "divided_no_cls"


class VideoMAEConfig(BackboneBase):
    """VideoMAE: joint attention, fixed sine-cosine positions, no key bias, the mean of the tokens is normalised."""

    kind: Literal["videomae"] = "videomae"
    gelu: Literal["tanh", "erf"] = Field("erf", description="GELU variant; the official code uses erf")
    tubelet: int = Field(2, ge=1, le=64, description="tubelet depth [frames]")
    pool: Literal["mean"] = Field("mean", description="what the head reads; this model has no cls token")
    fc_norm_eps: float | None = Field(
        None, gt=0, le=1, description="epsilon of the norm after the mean; empty: norm_eps"
    )
    default_frames: ClassVar[int] = 16


def parse_backbone(value: Any) -> Any:
    """Turn a model name (``vivit_fe_b_16x2``) into the mapping of a backbone config; a mapping gets its kind."""
    if isinstance(value, dict):
        return {"kind": "vivit_fe"} | value
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([a-z][a-z0-9_]*?)_(ti|s|b|l|h)_(\d+)(?:x(\d+))?", value.lower())
    if match is None:
        raise ConfigError(
            f"backbone {brief(value)} is not a name like vit_s_16 or vivit_fe_b_16x2; see `vidtok models`"
        )
    kind, size, patch, tubelet = match.groups()
    fields: dict[str, Any] = {"kind": kind, "size": size, "patch": int(patch)}
    return fields | ({"tubelet": int(tubelet)} if tubelet else {})


BackboneUnion = (
    ViTConfig | ViViTConfig | ViViTFEConfig | ViViTFSAConfig | ViViTFDPConfig | TimeSformerConfig | VideoMAEConfig
)
BackboneConfig = Annotated[BackboneUnion, Field(discriminator="kind")]
