"""From config to model: the only place that reads ``ModelConfig``. Sizes and names live in config.py."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from vidtok.compress import PLANS
from vidtok.compress.plan import EncoderPlan, LayerFactory, Role, plan_none
from vidtok.compress.support import LAYOUTS, SUPPORT
from vidtok.config import (
    BackboneUnion,
    Budget,
    ClipConfig,
    CompressorUnion,
    EvalConfig,
    ModelConfig,
    TimeSformerConfig,
    VideoMAEConfig,
    ViTConfig,
    ViViTConfig,
    ViViTFDPConfig,
    ViViTFEConfig,
    ViViTFSAConfig,
    from_tree,
)
from vidtok.errors import ConfigError
from vidtok.models.backbones import (
    FactorisedEncoderModel,
    JointModel,
    PerFrameModel,
    SpaceOnlyModel,
    VideoModel,
)
from vidtok.models.encoder import Encoder
from vidtok.nn.attention import AxialAttention, FusedLinear, QueryValueBiasAttention
from vidtok.nn.divided import AxialBlock, DividedBlock
from vidtok.nn.embed import Positions, SinCosPositions, SpaceTimePositions, TubeletEmbed
from vidtok.nn.tokens import TokenGrid

Lattice = tuple[int, int, int]

MAX_TOKENS = 2**16
"""Patch tokens of a clip: 64 time steps of 32 x 32."""


def _name_models() -> Iterator[str]:
    for family in get_args(BackboneUnion):
        kind, tubelet = (family.model_fields[field].default for field in ("kind", "tubelet"))
        for size, patch in (("ti", 16), ("s", 16), ("b", 16), ("l", 16), ("h", 14)):
            if (kind, size) != ("vivit_fdp", "ti"):  # its 3 heads cannot be halved
                yield f"{kind}_{size}_{patch}" + (f"x{tubelet}" if tubelet > 1 else "")


MODEL_NAMES = tuple(_name_models())
"""The names that ``vidtok models`` lists; other patches and tubelets work by the same pattern."""


def list_models(pattern: str = "*", *, compressor: str = "none") -> list[str]:
    """Names of models that match a shell pattern and can be built with ``compressor``. Raises ConfigError."""
    names = [name for name in MODEL_NAMES if fnmatch(name, pattern)]
    configs = [from_tree(ModelConfig, {"backbone": name, "compressor": compressor}) for name in names]
    return [name for name, config in zip(names, configs, strict=True) if refusal(config) is None]


def refusal(config: ModelConfig) -> str | None:
    """Why this pair of backbone and compressor cannot be built, in one sentence; None when it can."""
    backbone, compressor = config.backbone, config.compressor
    support = SUPPORT[compressor.kind][backbone.layout]
    if support.status != "refused":
        return None
    able = [kind for kind, row in SUPPORT.items() if row[backbone.layout].status != "refused"]
    return (
        f"compressor '{compressor.kind}' cannot work on {backbone.kind} ({LAYOUTS[backbone.layout]}): {support.note}; "
        f"choose one of {', '.join(able)}"
    )


def create_model(
    name: str | BackboneUnion,
    *,
    num_classes: int = 400,
    num_frames: int | None = None,
    image_size: int = 224,
    compressor: str | CompressorUnion = "none",
    budget: Budget | str | None = None,
    pretrained: str | Path | None = None,
) -> VideoModel:
    """Build a model by name.

    Args:
        name: family, size, patch x tubelet, such as ``vit_s_16`` or ``vivit_fe_b_16x2``; or a backbone config.
        num_frames: frames per clip; when not given, the family's own: vit 1, timesformer 8, videomae 16, vivit 32.
        image_size: side of the square crop in pixels.
        compressor: name or config of the compressor.
        budget: token budget, such as (5, 5) for lookup; the compressor's own when not given.
        pretrained: checkpoint to start from, ours or public: a file, a folder or ``hf://org/name``. Positions,
            tubelets and the head are fitted to what is asked; random weights when not given.

    Returns:
        A model that maps [B, 3, num_frames, image_size, image_size] to [B, num_classes].

    Raises:
        ConfigError: unknown name, sizes that do not divide, a budget that does not fit.
        WeightsError: ``pretrained`` cannot be read or does not fit.
    """
    config = from_tree(ModelConfig, {"backbone": name, "compressor": compressor, "num_classes": num_classes})
    if budget is not None:
        config = with_budget(config, budget, keep=not isinstance(compressor, str))
    frames = config.backbone.default_frames if num_frames is None else num_frames
    clip = from_tree(ClipConfig, {"frames": frames, "size": image_size})
    if pretrained is None:
        return build_model(config, clip, num_classes=num_classes)
    from vidtok.models.pretrained.start import start_from

    with torch.device("cpu"):
        model = start_from(pretrained, config, clip, num_classes=num_classes)[0]
    return model.to(torch.get_default_device())


def with_budget(config: ModelConfig, budget: Budget | str, *, keep: bool = True) -> ModelConfig:
    """The same model config with another default budget. Raises ConfigError when the compressor has none.

    The compressor keeps its other settings; without ``keep`` they are the defaults at that budget.
    """
    compressor = config.compressor.model_dump()
    if "budget" not in compressor:
        raise ConfigError(f"compressor '{config.compressor.kind}' has no budget; choose another one or drop the budget")
    kept = compressor if keep else {"kind": config.compressor.kind}
    return from_tree(ModelConfig, config.model_dump() | {"compressor": kept | {"budget": budget}})


def build_model(
    config: ModelConfig, clip: ClipConfig, *, num_classes: int, eval_protocol: EvalConfig | None = None
) -> VideoModel:
    """Build a model with random weights for clips of ``clip.frames`` x ``clip.size``. Raises ConfigError."""
    refused = refusal(config)
    if refused:
        raise ConfigError(refused)
    dim, _, _ = config.backbone.shape
    embed = TubeletEmbed(dim, tubelet=config.backbone.tubelet, patch=config.backbone.patch)
    lattice = embed.lattice(clip.frames, clip.size)
    _require_sane_size(lattice, dim)
    model = BACKBONES[type(config.backbone)](config, embed, lattice, num_classes)
    init_weights(model)
    model.config = config.model_copy(update={"num_classes": num_classes})
    model.preprocessing = clip
    model.eval_protocol = eval_protocol or EvalConfig()
    return model


def _require_sane_size(lattice: Lattice, dim: int) -> None:
    """Position tables and buffers grow with the tokens, whatever the weights are. Raises ConfigError."""
    count = prod(lattice)
    if count > MAX_TOKENS or count * dim > MAX_TOKENS * 512:
        raise ConfigError(
            f"a clip makes {count} patch tokens of width {dim}; at most {min(MAX_TOKENS, MAX_TOKENS * 512 // dim)} of "
            "that width are allowed: choose larger patches or tubelets, or smaller clips"
        )


def _vit(config: ModelConfig, embed: TubeletEmbed, lattice: Lattice, num_classes: int) -> VideoModel:
    return PerFrameModel(**_parts(config, embed, lattice, num_classes, _per_step(config.backbone, lattice)))


def _vivit(config: ModelConfig, embed: TubeletEmbed, lattice: Lattice, num_classes: int) -> VideoModel:
    return JointModel(**_parts(config, embed, lattice, num_classes, _over_clip(config.backbone, lattice)))


def _vivit_fe(config: ModelConfig, embed: TubeletEmbed, lattice: Lattice, num_classes: int) -> VideoModel:
    backbone = config.backbone
    assert isinstance(backbone, ViViTFEConfig)
    if backbone.temporal_depth == 0:
        return _vit(config, embed, lattice, num_classes)
    dim, _, _ = backbone.shape
    factory = _factory(backbone, TokenGrid.lattice(lattice[0], 1, 1), "joint")
    temporal = plan_none(replace(factory, depth=backbone.temporal_depth, drop_path=0.0), None)
    return FactorisedEncoderModel(
        **_parts(config, embed, lattice, num_classes, _per_step(backbone, lattice)),
        temporal_positions=Positions(lattice[0], dim, num_prefix=temporal.num_prefix),
        temporal=Encoder(temporal, factory.grid, dim=dim, depth=backbone.temporal_depth, norm_eps=backbone.norm_eps),
    )


def _vivit_fsa(config: ModelConfig, embed: TubeletEmbed, lattice: Lattice, num_classes: int) -> VideoModel:
    backbone = config.backbone
    assert isinstance(backbone, ViViTFSAConfig)
    return JointModel(
        **_parts(config, embed, lattice, num_classes, _divided(backbone, lattice, backbone.order, temporal_fc=False))
    )


def _vivit_fdp(config: ModelConfig, embed: TubeletEmbed, lattice: Lattice, num_classes: int) -> VideoModel:
    factory = _factory(config.backbone, TokenGrid.lattice(*lattice), "divided")
    factory = replace(factory, make_attn=AxialAttention, make_block=AxialBlock)
    return JointModel(**_parts(config, embed, lattice, num_classes, factory))


def _timesformer(config: ModelConfig, embed: TubeletEmbed, lattice: Lattice, num_classes: int) -> VideoModel:
    backbone = config.backbone
    assert isinstance(backbone, TimeSformerConfig)
    if backbone.attention == "space":
        return SpaceOnlyModel(**_parts(config, embed, lattice, num_classes, _per_step(backbone, lattice)))
    factory = _over_clip(backbone, lattice)
    if backbone.attention == "divided":
        factory = _divided(backbone, lattice, "time_space", temporal_fc=True)
    positions = partial(SpaceTimePositions, num_steps=lattice[0])
    return JointModel(**_parts(config, embed, lattice, num_classes, factory, make_positions=positions))


def _videomae(config: ModelConfig, embed: TubeletEmbed, lattice: Lattice, num_classes: int) -> VideoModel:
    backbone = config.backbone
    assert isinstance(backbone, VideoMAEConfig)
    factory = replace(_over_clip(backbone, lattice), make_attn=QueryValueBiasAttention)
    fc_norm_eps = backbone.fc_norm_eps or backbone.norm_eps
    return JointModel(
        **_parts(config, embed, lattice, num_classes, factory, make_positions=SinCosPositions, fc_norm_eps=fc_norm_eps)
    )


Builder = Callable[[ModelConfig, TubeletEmbed, Lattice, int], VideoModel]
BACKBONES: dict[type, Builder] = {
    ViTConfig: _vit,
    ViViTConfig: _vivit,
    ViViTFEConfig: _vivit_fe,
    ViViTFSAConfig: _vivit_fsa,
    ViViTFDPConfig: _vivit_fdp,
    TimeSformerConfig: _timesformer,
    VideoMAEConfig: _videomae,
}
"""The whole registry of backbones, by config class."""


def _parts(
    config: ModelConfig,
    embed: TubeletEmbed,
    lattice: Lattice,
    num_classes: int,
    factory: LayerFactory,
    *,
    make_positions: Callable[..., Positions | SinCosPositions] = Positions,
    fc_norm_eps: float | None = None,
) -> dict[str, Any]:
    """What every model is made of: embedding, positions and the encoder that the compressor plans.

    With ``fc_norm_eps`` the last norm comes after the mean of the tokens and has that epsilon; it also comes after
    the mean with pool ``mean_with_cls``.
    """
    plan: EncoderPlan = PLANS[type(config.compressor)](factory, config.compressor)
    dim, grid = factory.dim, factory.grid
    return {
        "embed": embed,
        "positions": make_positions(grid.num_tokens, dim, num_prefix=plan.num_prefix),
        "encoder": Encoder(
            plan,
            grid,
            dim=dim,
            depth=factory.depth,
            norm_eps=fc_norm_eps or factory.norm_eps,
            norm_pooled=fc_norm_eps is not None or factory.pool == "mean_with_cls",
        ),
        "dim": dim,
        "num_classes": num_classes,
        "loss_weights": plan.loss_weights,
        "eval_head": plan.eval_head,
        "lattice": lattice,
    }


def _per_step(backbone: BackboneUnion, lattice: Lattice) -> LayerFactory:
    return _factory(backbone, TokenGrid.lattice(1, *lattice[1:]), "spatial")


def _over_clip(backbone: BackboneUnion, lattice: Lattice) -> LayerFactory:
    return _factory(backbone, TokenGrid.lattice(*lattice), "joint")


def _divided(
    backbone: BackboneUnion, lattice: Lattice, order: Literal["time_space", "space_time"], *, temporal_fc: bool
) -> LayerFactory:
    block = partial(DividedBlock, num_heads=backbone.shape[2], order=order, temporal_fc=temporal_fc)
    return replace(_factory(backbone, TokenGrid.lattice(*lattice), "divided"), make_block=block)


def _factory(backbone: BackboneUnion, grid: TokenGrid, role: Role) -> LayerFactory:
    dim, depth, num_heads = backbone.shape
    return LayerFactory(
        depth=depth,
        dim=dim,
        num_heads=num_heads,
        grid=grid,
        role=role,
        mlp_ratio=backbone.mlp_ratio,
        gelu=backbone.gelu,
        norm_eps=backbone.norm_eps,
        drop_path=backbone.drop_path,
        pool=backbone.pool,
    )


@torch.no_grad()
def init_weights(model: VideoModel) -> None:
    """Xavier-uniform matrices with zero biases, as scenic's ViViT; maps fused into one matrix count apart.

    Divided blocks start as their spatial half.
    """
    heads = {model.head, model.lookup_head}
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv3d) and module not in heads:
            for matrix in module.weight.flatten(1).chunk(module.num_maps if isinstance(module, FusedLinear) else 1):
                bound = (6 / sum(matrix.shape)) ** 0.5
                matrix.uniform_(-bound, bound)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, DividedBlock):
            module.zero_time()
