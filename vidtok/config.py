"""The whole configuration surface: frozen sections with defaults, units and ranges. Imports no torch.

Every field carries a description; ``vidtok config show`` and ``explain`` print it. Unknown keys are
refused. A backbone or compressor is one class here plus one line in ``BackboneUnion`` /
``CompressorUnion``.
"""

import re
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from vidtok.errors import ConfigError

Budget = float | tuple[int, int] | tuple[int, int, int]


SectionT = TypeVar("SectionT", bound="Section")


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def from_tree(schema: type[SectionT], tree: dict[str, Any]) -> SectionT:
    """Validate one section given in code. Raises ConfigError with the first problem."""
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{'.'.join(map(str, first['loc']))}: {first['msg']} (got {first['input']!r})") from None


def parse_budget(value: Any) -> Any:
    """Turn the command-line spelling of a budget into its API value: ``5x5`` -> (5, 5), ``0.7`` -> 0.7."""
    if isinstance(value, str):
        text = value.strip().lower()
        if re.fullmatch(r"\d+(x\d+){1,2}", text):
            return tuple(int(part) for part in text.split("x"))
        try:
            return float(text)
        except ValueError:
            raise ConfigError(
                f"budget '{value}' is neither a grid like 5x5 or 8x5x5 nor a keep rate like 0.7"
            ) from None
    return tuple(value) if isinstance(value, list) else value


def format_budget(budget: Budget | None) -> str:
    """The command-line spelling of a budget: (5, 5) -> ``5x5``; None -> ``-``."""
    if budget is None:
        return "-"
    return "x".join(map(str, budget)) if isinstance(budget, tuple) else f"{budget:g}"


BudgetField = Annotated[Budget, BeforeValidator(parse_budget)]
GridField = Annotated[tuple[int, int] | tuple[int, int, int], BeforeValidator(parse_budget)]

# --------------------------------------------------------------------------------------- backbones

SIZES: dict[str, tuple[int, int, int]] = {  # size: (dim, depth, num_heads)
    "ti": (192, 12, 3),
    "s": (384, 12, 6),
    "b": (768, 12, 12),
    "l": (1024, 24, 16),
    "h": (1280, 32, 16),
}


class BackboneBase(Section):
    size: Literal["ti", "s", "b", "l", "h"] = Field("b", description="named size: sets dim, depth and num_heads")
    dim: int | None = Field(None, ge=8, description="token width, instead of the size's")
    depth: int | None = Field(None, ge=1, description="number of (spatial) blocks, instead of the size's")
    num_heads: int | None = Field(None, ge=1, description="attention heads, instead of the size's")
    patch: int = Field(16, ge=1, description="patch side [pixels]")
    mlp_ratio: float = Field(4.0, gt=0, description="hidden width of the MLP / dim")
    gelu: Literal["tanh", "erf"] = Field("tanh", description="GELU variant; scenic and HF ViViT use tanh")
    norm_eps: float = Field(1e-6, gt=0, description="epsilon of every layer norm")
    drop_path: float = Field(0.0, ge=0, lt=1, description="stochastic depth rate of the last block, linear from 0")
    pool: Literal["cls", "mean"] = Field("cls", description="what the head reads; mean of the patch tokens: no cls")
    default_frames: ClassVar[int] = 32

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


class ViViTConfig(BackboneBase):
    """ViViT model 1: joint attention over all space-time tokens."""

    kind: Literal["vivit"] = "vivit"
    tubelet: int = Field(2, ge=1, description="tubelet depth [frames]")


class ViViTFEConfig(BackboneBase):
    """ViViT model 2: factorised encoder, a spatial encoder per time step, then a temporal one."""

    kind: Literal["vivit_fe"] = "vivit_fe"
    tubelet: int = Field(2, ge=1, description="tubelet depth [frames]")
    temporal_depth: int = Field(4, ge=0, description="number of temporal blocks; 0: the mean over time steps")


class ViViTFSAConfig(BackboneBase):
    """ViViT model 3: factorised self-attention, time and space in turn inside every block."""

    kind: Literal["vivit_fsa"] = "vivit_fsa"
    tubelet: int = Field(2, ge=1, description="tubelet depth [frames]")
    pool: Literal["mean"] = Field("mean", description="what the head reads; this model has no cls token")
    order: Literal["time_space", "space_time"] = Field("time_space", description="order of the two attentions")


class ViViTFDPConfig(BackboneBase):
    """ViViT model 4: factorised dot products, half of the heads along time and half along space."""

    kind: Literal["vivit_fdp"] = "vivit_fdp"
    tubelet: int = Field(2, ge=1, description="tubelet depth [frames]")
    pool: Literal["mean"] = Field("mean", description="what the head reads; this model has no cls token")

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
    tubelet: int = Field(1, ge=1, description="tubelet depth [frames]; the official models have 1")
    attention: Literal["divided", "joint", "space"] = Field("divided", description="what attends to what in a block")
    default_frames: ClassVar[int] = 8


class VideoMAEConfig(BackboneBase):
    """VideoMAE: joint attention, fixed sine-cosine positions, no key bias, the mean of the tokens is normalised."""

    kind: Literal["videomae"] = "videomae"
    gelu: Literal["tanh", "erf"] = Field("erf", description="GELU variant; the official code uses erf")
    tubelet: int = Field(2, ge=1, description="tubelet depth [frames]")
    pool: Literal["mean"] = Field("mean", description="what the head reads; this model has no cls token")
    fc_norm_eps: float | None = Field(None, gt=0, description="epsilon of the norm after the mean; empty: norm_eps")
    default_frames: ClassVar[int] = 16


def parse_backbone(value: Any) -> Any:
    """Turn a model name (``vivit_fe_b_16x2``) into the mapping of a backbone config; a mapping gets its kind."""
    if isinstance(value, dict):
        return {"kind": "vivit_fe"} | value
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([a-z][a-z0-9_]*?)_(ti|s|b|l|h)_(\d+)(?:x(\d+))?", value.lower())
    if match is None:
        raise ConfigError(f"backbone '{value}' is not a name like vit_s_16 or vivit_fe_b_16x2; see `vidtok models`")
    kind, size, patch, tubelet = match.groups()
    fields: dict[str, Any] = {"kind": kind, "size": size, "patch": int(patch)}
    return fields | ({"tubelet": int(tubelet)} if tubelet else {})


BackboneUnion = (
    ViTConfig | ViViTConfig | ViViTFEConfig | ViViTFSAConfig | ViViTFDPConfig | TimeSformerConfig | VideoMAEConfig
)
BackboneConfig = Annotated[BackboneUnion, Field(discriminator="kind")]

# ------------------------------------------------------------------------------------- compressors


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


class ModelConfig(Section):
    backbone: Annotated[BackboneConfig, BeforeValidator(parse_backbone)] = Field(
        ViViTFEConfig(), description="name (vivit_fe_b_16x2) or mapping with kind"
    )
    compressor: Annotated[CompressorConfig, BeforeValidator(parse_compressor)] = Field(
        NoneConfig(), description="name (lookup) or mapping with kind"
    )
    num_classes: int | None = Field(None, ge=1, description="number of classes; empty: counted from the data")
    pretrained: str | None = Field(None, description="checkpoint to start from: path of a .ckpt or folder")


# -------------------------------------------------------------------------------- data and clips


class ClipConfig(Section):
    """What a model sees of a video. Stored with the weights and used unchanged by eval and infer."""

    frames: int = Field(32, ge=1, description="frames per clip")
    stride: int = Field(2, ge=1, description="frames between neighbours of a clip (dense sampling)")
    sampling: Literal["dense", "uniform"] = Field("dense", description="dense: stride apart; uniform: over the video")
    size: int = Field(224, ge=1, description="side of the square crop [pixels]")
    short_side: int | None = Field(None, ge=1, description="short side before the test crop [pixels]; empty: size")
    mean: tuple[float, float, float] = Field((0.5, 0.5, 0.5), description="RGB mean to subtract, of values in [0, 1]")
    std: tuple[float, float, float] = Field((0.5, 0.5, 0.5), description="RGB divisor, of values in [0, 1]")

    @property
    def test_short_side(self) -> int:
        return self.short_side or self.size

    @model_validator(mode="after")
    def _crop_fits(self) -> "ClipConfig":
        if self.test_short_side < self.size:
            raise ValueError(f"short_side {self.short_side} is smaller than the crop size {self.size}")
        if min(self.std) <= 0:
            raise ValueError(f"std {self.std} must be positive")
        return self


class DataConfig(Section):
    root: str | None = Field(None, description="folder that list paths are relative to; empty: found beside the list")
    train: str | None = Field(None, description="training list (path label lines) or folder of class folders")
    val: str | None = Field(None, description="validation list or folder")
    test: str | None = Field(None, description="test list or folder; empty: the validation one")
    classes: str | None = Field(None, description="text file, one class name a line; line number = label")
    decoder: Literal["auto", "pyav", "decord"] = Field("auto", description="engine; auto is PyAV, exact and fastest")
    decode_short_side: int | None = Field(
        256, ge=1, description="short side at decode for training [pixels]; empty: as stored"
    )
    workers: int = Field(4, ge=0, description="loader processes per device")
    cache: Literal["none", "memory"] = Field("none", description="memory: decode every training clip once, keep it")
    max_missing: float = Field(0.05, ge=0, le=1, description="share of listed files that may be absent")
    max_failures: float = Field(0.005, ge=0, le=1, description="share of listed files that may be unreadable")


Swap = tuple[str | int, str | int]


class AugmentConfig(Section):
    """Training-time changes, one policy per clip. Swaps keep labels right where a change alters the class."""

    crop_scale: tuple[float, float] = Field((0.08, 1.0), description="area share of the random resized crop")
    crop_ratio: tuple[float, float] = Field((0.75, 1.3333), description="aspect ratio range of that crop")
    hflip: float = Field(0.0, ge=0, le=1, description="probability of a left-right flip")
    hflip_swaps: tuple[Swap, ...] = Field((), description="label pairs that a left-right flip exchanges")
    vflip: float = Field(0.0, ge=0, le=1, description="probability of an upside-down flip")
    vflip_swaps: tuple[Swap, ...] = Field((), description="label pairs that an upside-down flip exchanges")
    reverse: float = Field(0.0, ge=0, le=1, description="probability of playing the clip backwards")
    reverse_swaps: tuple[Swap, ...] = Field((), description="label pairs that playing backwards exchanges")
    shuffle: bool = Field(False, description="shuffle the frames of every clip, test too: a control for order")


class TrainConfig(Section):
    epochs: int = Field(30, ge=1, description="passes over the training list")
    max_steps: int | None = Field(None, ge=1, description="stop after this many optimiser steps, whichever is first")
    batch_size: int = Field(8, ge=1, description="clips per device and forward pass")
    effective_batch: int | None = Field(
        None, ge=1, description="clips per optimiser step over all devices; reached by accumulation"
    )
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="adamw or sgd with momentum")
    lr: float = Field(5e-4, gt=0, description="peak learning rate at the effective batch, not rescaled")
    min_lr: float = Field(1e-6, ge=0, description="learning rate at the end of the cosine")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd, beta1 of adamw")
    weight_decay: float = Field(0.05, ge=0, description="decoupled decay; none on biases, norms, cls and positions")
    warmup_epochs: float = Field(2.5, ge=0, description="linear warm-up [epochs]")
    smoothing: float = Field(0.0, ge=0, lt=1, description="label smoothing")
    clip_grad: float | None = Field(1.0, gt=0, description="largest gradient norm; empty: no clipping")
    grad_checkpointing: bool = Field(False, description="recompute activations in backward to save memory")
    budget_set: tuple[BudgetField, ...] = Field(
        (), description="budgets of elastic training: one is drawn per step, so one checkpoint serves all"
    )
    val_every: int = Field(1, ge=1, description="validate every this many epochs")
    checkpoint_every: int = Field(500, ge=1, description="write last.ckpt every this many steps")
    log_every: int = Field(10, ge=1, description="log every this many steps")


class EvalConfig(Section):
    clips: int = Field(4, ge=1, description="temporal clips per video")
    crops: Literal[1, 3] = Field(3, description="spatial crops per clip")
    average: Literal["logits", "probs"] = Field("logits", description="what is averaged over views")
    budgets: tuple[BudgetField, ...] = Field((), description="budgets to evaluate; empty: the model's own")
    batch_size: int = Field(16, ge=1, description="views per forward pass")


class RunConfig(Section):
    seed: int = Field(0, ge=0, description="seed of weights, data order and augmentation")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 mixed on a GPU that has it, fp32 on the CPU"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda when there is one")
    devices: int = Field(1, ge=1, description="devices per node")
    nodes: int = Field(1, ge=1, description="number of nodes")
    compile: bool = Field(False, description="torch.compile the model")
    output_dir: str = Field("runs", description="folder that holds run folders")


class LoggerConfig(Section):
    csv: bool = Field(True, description="write metrics.csv")
    tensorboard: bool = Field(True, description="write TensorBoard events")


class Recipe(Section):
    """One complete, resolved configuration."""

    name: str = Field("custom", description="name of the run's folder; default: the recipe file's name")
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    clip: ClipConfig = ClipConfig()
    augment: AugmentConfig = AugmentConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    run: RunConfig = RunConfig()
    logger: LoggerConfig = LoggerConfig()
