"""TimeSformer files of the official code (``.pyth``) and of mmaction2 (``.pth``)."""

from dataclasses import replace
from typing import Any

import torch
import yaml
from torch import Tensor

from vidtok.config import TimeSformerConfig
from vidtok.errors import WeightsError
from vidtok.models.pretrained.presets import HALF, SSV2_CLASSES, TIMESFORMER, colours, timesformer_preset
from vidtok.models.pretrained.source import (
    BLOCK,
    Files,
    Foreign,
    Hints,
    Ledger,
    backbone_shape,
    guess_heads,
    square_side,
)

OFFICIAL, MMACTION = "timesformer", "mmaction2-timesformer"
TEMPORAL = {name: name for name in ("temporal_norm1", "temporal_attn.qkv", "temporal_attn.proj")}

MMACTION_DIVIDED = {  # ours: theirs; q, k and v apart
    "temporal_norm1": "attentions.0.norm",
    "temporal_attn": "attentions.0.attn",
    "temporal_fc": "attentions.0.temporal_fc",
    "norm1": "attentions.1.norm",
    "attn": "attentions.1.attn",
    "norm2": "ffns.0.norm",
}
MMACTION_JOINT = {"norm1": "norms.0", "attn": "attentions.0.attn", "norm2": "norms.1"}


def matches(files: Files) -> bool:
    """Official names with temporal parameters, or with the official config as text beside them."""
    if "blocks.0.attn.qkv.weight" not in files.tensors:
        return False
    return "time_embed" in files.tensors or "TIMESFORMER" in settings(files)


def settings(files: Files) -> dict[str, Any]:
    """The training config, which the file holds as YAML text; empty when it does not."""
    text = files.extras.get("cfg")
    if not isinstance(text, str):
        return {}
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return tree if isinstance(tree, dict) else {}


def read(files: Files, hints: Hints) -> Foreign:
    """Translate an official file; what attends to what is told by its parameters. Raises WeightsError."""
    ledger, told = Ledger(files.tensors, files.where), settings(files)
    depth = ledger.depth(r"blocks\.(\d+)\.")
    attention = attention_of("time_embed" in ledger, "blocks.0.temporal_fc.weight" in ledger)
    ledger.copy_kernel("patch_embed.proj")
    read_tables(ledger, "cls_token", "pos_embed", "time_embed")
    names = {**BLOCK, **TEMPORAL, "temporal_fc": "temporal_fc"} if attention == "divided" else BLOCK
    for layer in range(depth):
        for ours, theirs in names.items():
            ledger.copy_pair(f"blocks.{layer}.{theirs}", f"encoder.blocks.{layer}.{ours}")
    ledger.copy_pair("norm", "encoder.norm")
    ledger.copy_head("head")
    data = told.get("DATA") or {}
    hints = replace(hints, source_frames=hints.source_frames or data.get("NUM_FRAMES"))
    return assemble(ledger, OFFICIAL, hints, attention, depth, stride=data.get("SAMPLING_RATE"), preset=TIMESFORMER)


def matches_mmaction(files: Files) -> bool:
    return any(key.startswith("backbone.transformer_layers.layers.") for key in files.tensors)


def read_mmaction(files: Files, hints: Hints) -> Foreign:
    """Translate an mmaction2 file, whose models were trained on [-1, 1]. Raises WeightsError."""
    ledger = Ledger(files.tensors, files.where)
    depth = ledger.depth(r"backbone\.transformer_layers\.layers\.(\d+)\.")
    divided = "backbone.transformer_layers.layers.0.attentions.1.norm.weight" in ledger
    attention = attention_of("backbone.time_embed" in ledger, divided)
    ledger.copy_kernel("backbone.patch_embed.projection")
    read_tables(ledger, *(f"backbone.{name}" for name in ("cls_token", "pos_embed", "time_embed")))
    for layer in range(depth):
        theirs, ours = f"backbone.transformer_layers.layers.{layer}", f"encoder.blocks.{layer}"
        for name, source in (MMACTION_DIVIDED if divided else MMACTION_JOINT).items():
            if name.endswith("attn"):
                _read_mmaction_attention(ledger, f"{theirs}.{source}", f"{ours}.{name}")
            else:
                ledger.copy_pair(f"{theirs}.{source}", f"{ours}.{name}")
        ledger.copy_pair(f"{theirs}.ffns.0.layers.0.0", f"{ours}.mlp.fc1")
        ledger.copy_pair(f"{theirs}.ffns.0.layers.1", f"{ours}.mlp.fc2")
    ledger.copy_pair("backbone.norm", "encoder.norm")
    ledger.copy_head("cls_head.fc_cls")
    return assemble(ledger, MMACTION, hints, attention, depth, stride=None, preset=HALF)


def _read_mmaction_attention(ledger: Ledger, theirs: str, ours: str) -> None:
    for part in ("weight", "bias"):
        ledger.copy(f"{theirs}.in_proj_{part}", f"{ours}.qkv.{part}")
    ledger.copy_pair(f"{theirs}.out_proj", f"{ours}.proj")


def attention_of(has_time: bool, has_temporal_blocks: bool) -> str:
    """divided, joint or space, by which temporal parameters there are."""
    if not has_time:
        return "space"
    return "divided" if has_temporal_blocks else "joint"


def read_tables(ledger: Ledger, cls_token: str, pos_embed: str, time_embed: str) -> None:
    ledger.copy(cls_token, "positions.cls_token")
    ledger.copy(pos_embed, "positions.pos_embed")
    if time_embed in ledger:
        ledger.copy(time_embed, "positions.time_embed")


def assemble(
    ledger: Ledger,
    name: str,
    hints: Hints,
    attention: str,
    depth: int,
    *,
    stride: int | None,
    preset: dict[str, Any],
    fields: dict[str, Any] | None = None,
) -> Foreign:
    """Config, preprocessing and weights of any TimeSformer file. Raises WeightsError."""
    weights, where = ledger.weights, ledger.where
    dim, patch = weights["patch_embed.proj.weight"].shape[0], weights["patch_embed.proj.weight"].shape[-1]
    heads, notes = guess_heads(dim, hints, where)
    shape = backbone_shape(dim, depth, heads, weights["encoder.blocks.0.mlp.fc1.weight"].shape[0])
    backbone = TimeSformerConfig(attention=attention, patch=patch, **shape, **(fields or {}))
    time_table = weights.get("positions.time_embed")
    clip, protocol = timesformer_preset(
        frames=(hints.source_frames or 8) if time_table is None else time_table.shape[1],
        size=square_side(weights["positions.pos_embed"].shape[1] - 1, where) * patch,
        num_classes=ledger.num_classes,
        preset=colours(hints.preset, preset),
        kinetics="mmaction" if name == MMACTION else "timesformer",
    )
    if stride is not None and clip.sampling != "uniform":
        clip = clip.model_copy(update={"stride": stride})
    notes += turn_colours(ledger, name, hints)
    return Foreign(name, backbone, clip, protocol, **ledger.close(), notes=notes)


def turn_colours(ledger: Ledger, name: str, hints: Hints) -> tuple[str, ...]:
    """Make a model that was trained on BGR one for RGB, by turning round the kernel's input channels.

    The official loader reads Something-Something frames with OpenCV and never reorders them, so those models,
    and conversions of them, saw BGR. Turning the kernel is exact, as mean and std are equal for all channels.
    """
    by_default = "bgr" if ledger.num_classes == SSV2_CLASSES and name != MMACTION else "rgb"
    order = hints.channel_order or by_default
    if order not in ("rgb", "bgr"):
        raise WeightsError(f"channel_order '{order}' is neither rgb nor bgr")
    if order == "rgb":
        return ()
    kernel: Tensor = ledger.weights["patch_embed.proj.weight"]
    change = "input channels turned round: trained on BGR, this model takes RGB"
    ledger.put(
        "patch_embed.proj.weight", torch.flip(kernel, [1]), *ledger.origin["patch_embed.proj.weight"], change=change
    )
    return (f"trained on BGR frames{'' if hints.channel_order else ', as the official SSv2 loader has it'}",)
