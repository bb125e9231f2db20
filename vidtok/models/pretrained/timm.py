"""Image ViTs with timm's names: timm, DeiT, the jx conversions, MAE and EViT.

EViT's files are DeiT's: nothing in them depends on the keep rate (its sheet, section 4).
"""

import re
from typing import Any, Literal

import torch

from vidtok.config import ViTConfig
from vidtok.errors import WeightsError
from vidtok.models.pretrained.presets import HALF, IMAGENET, colours, image_preset
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

NAME = "timm"
_OF_GOOGLE = re.compile(r"augreg|jx_vit|orig_in21k|in21k", re.IGNORECASE)
_OF_META = re.compile(r"deit|mae|evit|dino|fb_in1k", re.IGNORECASE)


def matches(files: Files) -> bool:
    """A 2-D patch embedding and timm's block names."""
    kernel = files.tensors.get("patch_embed.proj.weight")
    return kernel is not None and kernel.ndim == 4 and "blocks.0.attn.qkv.weight" in files.tensors


def read(files: Files, hints: Hints) -> Foreign:
    """Translate names; LayerScale is folded into the matrices that it scales. Raises WeightsError."""
    ledger = Ledger(files.tensors, files.where)
    kernel = files.tensors["patch_embed.proj.weight"]
    dim, patch, depth = kernel.shape[0], kernel.shape[-1], ledger.depth(r"blocks\.(\d+)\.")
    ledger.copy_kernel("patch_embed.proj")
    side = _read_positions(ledger, patch)
    for layer in range(depth):
        read_block(ledger, f"blocks.{layer}", f"encoder.blocks.{layer}")
    pool = _read_norm(ledger, files.config)
    notes = _read_head(ledger)
    ledger.set_aside(r"decoder.*|mask_token", "decoder of the pre-training task")
    heads, more = guess_heads(dim, _with_timm_heads(hints, files.config), files.where)
    hidden = ledger.weights["encoder.blocks.0.mlp.fc1.weight"].shape[0]
    backbone = ViTConfig(patch=patch, pool=pool, **backbone_shape(dim, depth, heads, hidden))
    preset = _preset(files, hints)
    clip, protocol = image_preset(size=side * patch, preset=preset, crop_pct=_pretrained(files).get("crop_pct", 0.875))
    return Foreign(NAME, backbone, clip, protocol, **ledger.close(), notes=(*notes, *more))


def read_block(ledger: Ledger, theirs: str, ours: str) -> None:
    """Copy a block. ``x + gamma * f(x)`` with a linear f at the end is f with scaled rows: exact."""
    for name in BLOCK:
        ledger.copy_pair(f"{theirs}.{name}", f"{ours}.{name}")
    for scale, matrix in (("ls1", "attn.proj"), ("ls2", "mlp.fc2")):
        key = f"{theirs}.{scale}.gamma"
        if key in ledger:
            _scale_rows(ledger, key, f"{ours}.{matrix}")


def _scale_rows(ledger: Ledger, key: str, name: str) -> None:
    gamma = ledger.take(key)
    for part, factor in (("weight", gamma[:, None]), ("bias", gamma)):
        full = f"{name}.{part}"
        origin = (*ledger.origin[full], key)
        ledger.put(full, ledger.weights[full] * factor, *origin, change="LayerScale folded in")


def _read_positions(ledger: Ledger, patch: int) -> int:
    """cls token and position table; returns the lattice's side."""
    ledger.copy("cls_token", "positions.cls_token")
    table, change = ledger.take("pos_embed"), None
    if "dist_token" in ledger:
        table = torch.cat([table[:, :1], table[:, 2:]], dim=1)
        change = "row of the distillation token left out"
        ledger.set_aside(r"dist_token|head_dist\..*", "distillation token and head: 'vit' answers with cls alone")
    elif not _is_square(table.shape[1] - 1):  # DeiT-3 adds positions to patches only
        table, change = torch.cat([torch.zeros_like(table[:, :1]), table], dim=1), "zero row added for cls"
    ledger.put("positions.pos_embed", table, "pos_embed", change=change)
    return square_side(table.shape[1] - 1, ledger.where)


def _read_norm(ledger: Ledger, config: dict[str, Any]) -> Literal["cls", "mean_with_cls"]:
    """The last norm; returns what the head reads. ``fc_norm`` follows the pooling, ``norm`` comes before it.

    Files of MAE say nothing about the pooling: its ``fc_norm`` belongs to the mean of the patch tokens. For the
    cls token both norms are the same.
    """
    is_pooled = "fc_norm.weight" in ledger
    pooling = config.get("global_pool") or ("avg" if is_pooled else "token")
    if pooling not in ("token", "avg") or (pooling == "avg" and not is_pooled):
        raise WeightsError(
            f"{ledger.where}: its read-out (global_pool '{pooling}'{'' if is_pooled else ', no fc_norm'}) is none that "
            "'vit' has beside a cls token; use a file that reads the cls token, or normalises the mean (fc_norm)"
        )
    ledger.copy_pair("fc_norm" if is_pooled else "norm", "encoder.norm")
    return "cls" if pooling == "token" else "mean_with_cls"


def _is_square(count: int) -> bool:
    return round(count**0.5) ** 2 == count


def _read_head(ledger: Ledger) -> tuple[str, ...]:
    if any(key.startswith("pre_logits.") for key in ledger.left):
        ledger.set_aside(r"pre_logits\..*|head\..*", "classifier behind a tanh layer, which 'vit' does not have")
        return ("the file's classifier needs its pre_logits layer and is left out",)
    dropped = any(key.startswith("head_dist.") for key in ledger.unused)
    ledger.copy_head("head")
    return (
        ("a distilled model: its own answer is the mean of two heads, this one's is the cls head",) if dropped else ()
    )


def _pretrained(files: Files) -> dict[str, Any]:
    """timm's own description of the preprocessing, from a hub folder; older ones have no part of its own for it."""
    return files.config.get("pretrained_cfg") or files.config


def _with_timm_heads(hints: Hints, config: dict[str, Any]) -> Hints:
    heads = (config.get("model_args") or {}).get("num_heads")
    return Hints(num_heads=hints.num_heads or heads)


def _preset(files: Files, hints: Hints) -> dict[str, Any]:
    """Mean and std: as the user or timm's config says, else as the file's name or its wrapper tells."""
    described = _pretrained(files)
    if hints.preset is None and "mean" in described:
        return {"mean": tuple(described["mean"]), "std": tuple(described["std"])}
    name = files.where.rstrip("/").rpartition("/")[2]
    if hints.preset is None and _OF_GOOGLE.search(name):
        return HALF
    if hints.preset is not None or _OF_META.search(name) or "model" in (files.wrapper, *files.extras):
        return colours(hints.preset, IMAGENET)
    raise WeightsError(
        f"{files.where}: nothing says which mean and std this image model was trained with; "
        "give preset 'half' (augreg, Google) or 'imagenet' (DeiT, MAE, DINO)"
    )
