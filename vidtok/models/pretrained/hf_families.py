"""One reader for each of transformers' model families; ``config`` is complete and holds ``gelu`` and ``colours``."""

import re
from typing import Any

import torch

from vidtok.config import VideoMAEConfig, ViTConfig, ViViTConfig
from vidtok.errors import WeightsError
from vidtok.models.pretrained import presets
from vidtok.models.pretrained.source import (
    Foreign,
    Hints,
    Ledger,
    backbone_shape,
    guess_heads,
    split_steps,
    square_side,
)
from vidtok.models.pretrained.timesformer import assemble, read_tables
from vidtok.models.pretrained.videomae import KEY_BIAS, read_ending

PLAIN = {  # ours: theirs, in every family
    "norm1": "layernorm_before",
    "attn.proj": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
FUSED = {"attn.qkv": "attention.attention.qkv"}
DIVIDED = {
    "temporal_norm1": "temporal_layernorm",
    "temporal_attn.qkv": "temporal_attention.attention.qkv",
    "temporal_attn.proj": "temporal_attention.output.dense",
    "temporal_fc": "temporal_dense",
}
ATTENTION = {"divided_space_time": "divided", "joint_space_time": "joint", "space_only": "space"}


def read_vivit(ledger: Ledger, config: dict[str, Any], hints: Hints) -> Foreign:
    depth = _read_blocks(ledger, "vivit", PLAIN)
    _join_qkv(ledger, "vivit", depth)
    _read_ends(ledger, "vivit")
    fields, notes = _fields(ledger, config, hints, depth)
    backbone = ViViTConfig(tubelet=ledger.weights["patch_embed.proj.weight"].shape[2], **fields)
    count = ledger.weights["positions.pos_embed"].shape[1] - 1
    frames, size = split_steps(count, patch=backbone.patch, tubelet=backbone.tubelet, hints=hints, where=ledger.where)
    preset = presets.colours(hints.preset, presets.HALF)
    clip, protocol = presets.vivit_preset(frames=frames, size=size, preset=preset)
    return Foreign("hf-vivit", backbone, clip, protocol, **ledger.close(), notes=notes)


def read_vit(ledger: Ledger, config: dict[str, Any], hints: Hints) -> Foreign:
    depth = _read_blocks(ledger, "vit", PLAIN)
    _join_qkv(ledger, "vit", depth)
    _read_ends(ledger, "vit")
    fields, notes = _fields(ledger, config, hints, depth)
    backbone = ViTConfig(**fields)
    side = square_side(ledger.weights["positions.pos_embed"].shape[1] - 1, ledger.where)
    preset = presets.colours(hints.preset, config["colours"] or presets.HALF)
    clip, protocol = presets.image_preset(size=side * backbone.patch, preset=preset)
    return Foreign("hf-vit", backbone, clip, protocol, **ledger.close(), notes=notes)


def read_timesformer(ledger: Ledger, config: dict[str, Any], hints: Hints) -> Foreign:
    has_time, name = "timesformer.embeddings.time_embeddings" in ledger, "timesformer.embeddings"
    attention = ATTENTION.get(config.get("attention_type", "divided_space_time"))
    if attention is None or has_time != (attention != "space"):
        told = config.get("attention_type")
        raise WeightsError(f"{ledger.where}: attention_type '{told}' does not fit its tensors; is config.json its own?")
    depth = _read_blocks(ledger, "timesformer", PLAIN | FUSED | (DIVIDED if attention == "divided" else {}))
    read_tables(ledger, f"{name}.cls_token", f"{name}.position_embeddings", f"{name}.time_embeddings")
    ledger.copy_pair("timesformer.layernorm", "encoder.norm")
    ledger.copy_head("classifier")
    own = {"gelu": config["gelu"], "norm_eps": config["layer_norm_eps"]}
    return assemble(
        ledger, "hf-timesformer", hints, attention, depth, stride=None, preset=presets.TIMESFORMER, fields=own
    )


def read_videomae(ledger: Ledger, config: dict[str, Any], hints: Hints) -> Foreign:
    if config.get("use_mean_pooling") is False and "classifier.weight" in ledger:
        raise WeightsError(f"{ledger.where}: it answers with its first patch (use_mean_pooling is false): unsupported")
    depth = _read_blocks(ledger, "videomae", PLAIN)
    _join_qkv(ledger, "videomae", depth)
    read_ending(ledger, r"videomae\.layernorm")
    ledger.copy_head("classifier")
    fields, notes = _fields(ledger, config, hints, depth)
    tubelet = ledger.weights["patch_embed.proj.weight"].shape[2]
    # the library builds fc_norm with torch's default epsilon, whatever the config says
    backbone = VideoMAEConfig(tubelet=tubelet, fc_norm_eps=1e-5, **fields)
    clip, protocol = presets.videomae_preset(
        frames=hints.source_frames or 16,
        size=_side(config.get("image_size", 224), ledger.where),
        num_classes=ledger.num_classes,
        preset=presets.colours(hints.preset, config["colours"] or presets.IMAGENET),
    )
    if backbone.shape[0] == 384 and backbone.shape[2] != 6:
        notes += (f"{backbone.shape[2]} heads, as its config says; the official ViT-S has 6: num_heads=6 to match it",)
    return Foreign("hf-videomae", backbone, clip, protocol, **ledger.close(), notes=notes)


def _read_blocks(ledger: Ledger, name: str, modules: dict[str, str]) -> int:
    """Kernel and blocks, all but q, k and v where they are apart; returns the depth."""
    depth = ledger.depth(rf"{name}\.encoder\.layer\.(\d+)\.")
    ledger.copy_kernel(f"{name}.embeddings.patch_embeddings.projection")
    for layer in range(depth):
        for ours, theirs in modules.items():
            ledger.copy_pair(f"{name}.encoder.layer.{layer}.{theirs}", f"encoder.blocks.{layer}.{ours}")
    return depth


def _read_ends(ledger: Ledger, name: str) -> None:
    """cls token, positions, norm and classifier of a model with a cls read-out."""
    ledger.copy(f"{name}.embeddings.cls_token", "positions.cls_token")
    ledger.copy(f"{name}.embeddings.position_embeddings", "positions.pos_embed")
    ledger.copy_pair(f"{name}.layernorm", "encoder.norm")
    ledger.copy_head("classifier")


def _join_qkv(ledger: Ledger, name: str, depth: int) -> None:
    """q, k and v into one matrix. VideoMAE's keys need no bias; where a model has none at all it becomes zero."""
    for layer in range(depth):
        theirs, ours = f"{name}.encoder.layer.{layer}.attention.attention", f"encoder.blocks.{layer}.attn"
        keys = [f"{theirs}.{part}.weight" for part in ("query", "key", "value")]
        ledger.put(f"{ours}.qkv.weight", torch.cat([ledger.take(key) for key in keys]), *keys)
        if name == "videomae":
            _copy_or_zero(ledger, [f"{theirs}.q_bias"], f"{ours}.q_bias")
            _copy_or_zero(ledger, [f"{theirs}.v_bias"], f"{ours}.v_bias")
            ledger.set_aside(re.escape(f"{theirs}.key.bias"), KEY_BIAS)
        else:
            _copy_or_zero(ledger, [f"{theirs}.{part}.bias" for part in ("query", "key", "value")], f"{ours}.qkv.bias")


def _copy_or_zero(ledger: Ledger, keys: list[str], name: str) -> None:
    if keys[0] in ledger:
        ledger.put(name, torch.cat([ledger.take(key) for key in keys]), *keys)
    else:
        dim = len(ledger.weights["patch_embed.proj.bias"])
        ledger.put(name, torch.zeros(len(keys) * dim), change="zero: the source has no such bias")


def _fields(ledger: Ledger, config: dict[str, Any], hints: Hints, depth: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(backbone fields, notes) that every family has in common."""
    dim, patch = ledger.weights["patch_embed.proj.weight"].shape[0], ledger.weights["patch_embed.proj.weight"].shape[-1]
    heads, notes = guess_heads(dim, hints, ledger.where)
    shape = backbone_shape(dim, depth, heads, ledger.weights["encoder.blocks.0.mlp.fc1.weight"].shape[0])
    return {"patch": patch, "gelu": config["gelu"], "norm_eps": config["layer_norm_eps"], **shape}, notes


def _side(size: Any, where: str) -> int:
    sides = set(size) if isinstance(size, list) else {size}
    if len(sides) != 1:
        raise WeightsError(f"{where}: image_size {size} is not square; only square pictures are supported")
    return sides.pop()
