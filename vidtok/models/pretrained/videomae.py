"""VideoMAE files of the official code, fine-tuned or from pre-training."""

import re

from vidtok.config import VideoMAEConfig
from vidtok.models.pretrained.presets import IMAGENET, colours, videomae_preset
from vidtok.models.pretrained.source import (
    Files,
    Foreign,
    Hints,
    Ledger,
    backbone_shape,
    guess_heads,
    whole_number,
)

NAME = "videomae"
BLOCK = ("norm1", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
KEY_BIAS = "bias of the keys: it shifts all scores of a query alike, which the softmax cancels"
DECODER = r"decoder\..*|encoder_to_decoder\..*|mask_token"


def matches(files: Files) -> bool:
    """A query bias of its own, with or without the prefix of the pre-training model; or one bias, but no positions."""
    if any(f"{prefix}blocks.0.attn.q_bias" in files.tensors for prefix in ("", "encoder.")):
        return True
    kernel = files.tensors.get("patch_embed.proj.weight")
    is_video = kernel is not None and kernel.ndim == 5 and "blocks.0.attn.qkv.weight" in files.tensors
    return is_video and not files.tensors.keys() & {"pos_embed", "cls_token"}


def read(files: Files, hints: Hints) -> Foreign:
    """Translate names. Positions are fixed and in no file; keys have no bias. Raises WeightsError."""
    prefix = "encoder." if "encoder.blocks.0.attn.q_bias" in files.tensors else ""
    ledger = Ledger(files.tensors, files.where)
    depth = ledger.depth(rf"{re.escape(prefix)}blocks\.(\d+)\.")
    ledger.copy_kernel(f"{prefix}patch_embed.proj")
    for layer in range(depth):
        theirs, ours = f"{prefix}blocks.{layer}", f"encoder.blocks.{layer}"
        for name in BLOCK:
            ledger.copy_pair(f"{theirs}.{name}", f"{ours}.{name}")
        ledger.copy(f"{theirs}.attn.qkv.weight", f"{ours}.attn.qkv.weight")
        _read_biases(ledger, f"{theirs}.attn", f"{ours}.attn")
    read_ending(ledger, re.escape(f"{prefix}norm"))
    ledger.copy_head("head")
    return _assemble(ledger, files, hints, depth)


def _read_biases(ledger: Ledger, theirs: str, ours: str) -> None:
    """Biases of queries and values, of their own or in the one of all three maps."""
    ledger.set_aside(re.escape(f"{theirs}.k_bias"), KEY_BIAS)
    if f"{theirs}.qkv.bias" not in ledger:
        for name in ("q_bias", "v_bias"):
            ledger.copy(f"{theirs}.{name}", f"{ours}.{name}")
        return
    q_bias, _, v_bias = ledger.take(f"{theirs}.qkv.bias").chunk(3)
    for name, bias in (("q_bias", q_bias), ("v_bias", v_bias)):
        ledger.put(f"{ours}.{name}", bias, f"{theirs}.qkv.bias", change=f"without the {KEY_BIAS}")


def read_ending(ledger: Ledger, token_norm: str) -> None:
    """The norm of the mean token; pre-training has one over tokens instead, which fine-tuning starts afresh."""
    if "fc_norm.weight" in ledger:
        ledger.copy_pair("fc_norm", "encoder.norm")
    ledger.set_aside(rf"{token_norm}\.(weight|bias)", "norm of the pre-training task; fine-tuning norms the mean token")
    ledger.set_aside(DECODER, "decoder of the pre-training task")


def _assemble(ledger: Ledger, files: Files, hints: Hints, depth: int) -> Foreign:
    weights, told = ledger.weights, files.arguments
    dim, _, tubelet, patch, _ = weights["patch_embed.proj.weight"].shape
    heads, notes = guess_heads(dim, hints, files.where)
    shape = backbone_shape(dim, depth, heads, weights["encoder.blocks.0.mlp.fc1.weight"].shape[0])
    frames, size = whole_number(told, "num_frames"), whole_number(told, "input_size")
    clip, protocol = videomae_preset(
        frames=hints.source_frames or frames or 16,
        size=size or 224,
        num_classes=ledger.num_classes,
        preset=colours(hints.preset, IMAGENET),
        stride=whole_number(told, "sampling_rate") or 4,
    )
    source = "its training arguments say" if frames and size else "is usual: the file does not say"
    if hints.source_frames is None:
        notes += (f"{clip.frames} frames of {clip.size} pixels, as {source}",)
    backbone = VideoMAEConfig(patch=patch, tubelet=tubelet, **shape)
    return Foreign(NAME, backbone, clip, protocol, **ledger.close(), notes=notes)
