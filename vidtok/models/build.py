"""From config to model: the only place that reads ``ModelConfig``. Sizes and names live in config.py."""

from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any

import torch
from torch import nn

from vidtok.compress import PLANS
from vidtok.compress.plan import EncoderPlan, LayerFactory, plan_none
from vidtok.config import (
    BackboneUnion,
    Budget,
    ClipConfig,
    CompressorUnion,
    EvalConfig,
    ModelConfig,
    ViTConfig,
    ViViTConfig,
    ViViTFEConfig,
    from_tree,
)
from vidtok.errors import ConfigError
from vidtok.models.backbones import FactorisedEncoderModel, JointModel, PerFrameModel, VideoModel
from vidtok.models.encoder import Encoder
from vidtok.nn.attention import FusedLinear
from vidtok.nn.embed import Positions, TubeletEmbed
from vidtok.nn.tokens import TokenGrid

Lattice = tuple[int, int, int]

MODEL_NAMES = tuple(
    f"{family}_{size}_{patch}{depth}"
    for family, depth in (("vit", ""), ("vivit", "x2"), ("vivit_fe", "x2"))
    for size, patch in (("ti", 16), ("s", 16), ("b", 16), ("l", 16), ("h", 14))
)
"""The names that ``vidtok models`` lists; other patches and tubelets work by the same pattern."""


def list_models(pattern: str = "*", *, compressor: str = "none") -> list[str]:
    """Names of models that match a shell pattern and can be built with ``compressor``. Raises ConfigError."""
    kind = type(from_tree(ModelConfig, {"compressor": compressor}).compressor)
    return [name for name in MODEL_NAMES if fnmatch(name, pattern) and kind in PLANS]


def create_model(
    name: str | BackboneUnion,
    *,
    num_classes: int = 400,
    num_frames: int | None = None,
    image_size: int = 224,
    compressor: str | CompressorUnion = "none",
    budget: Budget | str | None = None,
) -> VideoModel:
    """Build a model by name, with random weights.

    Args:
        name: family, size, patch x tubelet, such as ``vit_s_16`` or ``vivit_fe_b_16x2``; or a backbone config.
        num_frames: frames per clip; 1 for image models and 32 for video models when not given.
        image_size: side of the square crop in pixels.
        compressor: name or config of the compressor.
        budget: token budget, such as (5, 5) for lookup; the compressor's own when not given.

    Returns:
        A model that maps [B, 3, num_frames, image_size, image_size] to [B, num_classes].

    Raises:
        ConfigError: unknown name, sizes that do not divide, a budget that does not fit.
    """
    config = from_tree(ModelConfig, {"backbone": name, "compressor": compressor, "num_classes": num_classes})
    if budget is not None:
        config = with_budget(config, budget)
    frames = num_frames or (1 if isinstance(config.backbone, ViTConfig) else 32)
    return build_model(config, ClipConfig(frames=frames, size=image_size), num_classes=num_classes)


def with_budget(config: ModelConfig, budget: Budget | str) -> ModelConfig:
    """The same model config with another default budget. Raises ConfigError when the compressor has none."""
    compressor = config.compressor.model_dump()
    if "budget" not in compressor:
        raise ConfigError(f"compressor '{config.compressor.kind}' has no budget; choose another one or drop the budget")
    return from_tree(ModelConfig, config.model_dump() | {"compressor": compressor | {"budget": budget}})


def build_model(
    config: ModelConfig, clip: ClipConfig, *, num_classes: int, eval_protocol: EvalConfig | None = None
) -> VideoModel:
    """Build a model with random weights for clips of ``clip.frames`` x ``clip.size``. Raises ConfigError."""
    dim, _, _ = config.backbone.shape
    embed = TubeletEmbed(dim, tubelet=config.backbone.tubelet, patch=config.backbone.patch)
    lattice = embed.lattice(clip.frames, clip.size)
    model = BACKBONES[type(config.backbone)](config, embed, lattice, num_classes)
    init_weights(model)
    model.config = config.model_copy(update={"num_classes": num_classes})
    model.preprocessing = clip
    model.eval_protocol = eval_protocol or EvalConfig()
    return model


def _joint(config: ModelConfig, embed: TubeletEmbed, lattice: Lattice, num_classes: int) -> VideoModel:
    return JointModel(**_parts(config, embed, lattice, num_classes, TokenGrid.lattice(*lattice)))


def _per_frame(config: ModelConfig, embed: TubeletEmbed, lattice: Lattice, num_classes: int) -> VideoModel:
    return PerFrameModel(**_parts(config, embed, lattice, num_classes, TokenGrid.lattice(1, *lattice[1:])))


def _factorised(config: ModelConfig, embed: TubeletEmbed, lattice: Lattice, num_classes: int) -> VideoModel:
    backbone = config.backbone
    assert isinstance(backbone, ViViTFEConfig)
    dim, _, _ = backbone.shape
    steps = TokenGrid.lattice(lattice[0], 1, 1)
    temporal = plan_none(_factory(backbone, steps, depth=backbone.temporal_depth, drop_path=0.0), None)
    return FactorisedEncoderModel(
        **_parts(config, embed, lattice, num_classes, TokenGrid.lattice(1, *lattice[1:])),
        temporal_positions=Positions(lattice[0], dim, num_prefix=temporal.num_prefix),
        temporal=Encoder(temporal, steps, dim=dim, depth=backbone.temporal_depth, norm_eps=backbone.norm_eps),
    )


Builder = Callable[[ModelConfig, TubeletEmbed, Lattice, int], VideoModel]
BACKBONES: dict[type, Builder] = {ViTConfig: _per_frame, ViViTConfig: _joint, ViViTFEConfig: _factorised}
"""The whole registry of backbones, by config class."""


def _parts(
    config: ModelConfig, embed: TubeletEmbed, lattice: Lattice, num_classes: int, grid: TokenGrid
) -> dict[str, Any]:
    """What every model is made of: embedding, positions and the encoder that the compressor plans."""
    backbone = config.backbone
    dim, depth, _ = backbone.shape
    factory = _factory(backbone, grid, depth=depth, drop_path=backbone.drop_path)
    plan: EncoderPlan = PLANS[type(config.compressor)](factory, config.compressor)
    return {
        "embed": embed,
        "positions": Positions(grid.num_tokens, dim, num_prefix=plan.num_prefix),
        "encoder": Encoder(plan, grid, dim=dim, depth=depth, norm_eps=backbone.norm_eps),
        "dim": dim,
        "num_classes": num_classes,
        "loss_weights": plan.loss_weights,
        "eval_head": plan.eval_head,
        "lattice": lattice,
    }


def _factory(backbone: BackboneUnion, grid: TokenGrid, *, depth: int, drop_path: float) -> LayerFactory:
    dim, _, num_heads = backbone.shape
    return LayerFactory(
        depth=depth,
        dim=dim,
        num_heads=num_heads,
        grid=grid,
        role="joint" if grid.t and grid.t > 1 else "spatial",
        mlp_ratio=backbone.mlp_ratio,
        gelu=backbone.gelu,
        norm_eps=backbone.norm_eps,
        drop_path=drop_path,
    )


@torch.no_grad()
def init_weights(model: VideoModel) -> None:
    """Xavier-uniform matrices with zero biases, as scenic's ViViT; maps fused into one matrix count apart."""
    heads = {model.head, model.lookup_head}
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv3d) and module not in heads:
            for matrix in module.weight.flatten(1).chunk(module.num_maps if isinstance(module, FusedLinear) else 1):
                bound = (6 / sum(matrix.shape)) ** 0.5
                matrix.uniform_(-bound, bound)
            nn.init.zeros_(module.bias)
