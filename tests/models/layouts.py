"""Writes weights in the documented layouts of other projects, from transformers' names or from ours."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import torch
from torch import Tensor

Weights = dict[str, Tensor]

TIMESFORMER = (  # transformers -> official
    (r"^timesformer\.embeddings\.cls_token$", "cls_token"),
    (r"^timesformer\.embeddings\.position_embeddings$", "pos_embed"),
    (r"^timesformer\.embeddings\.time_embeddings$", "time_embed"),
    (r"^timesformer\.embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^timesformer\.encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"temporal_layernorm", "temporal_norm1"),
    (r"temporal_attention\.attention\.qkv", "temporal_attn.qkv"),
    (r"temporal_attention\.output\.dense", "temporal_attn.proj"),
    (r"temporal_dense", "temporal_fc"),
    (r"attention\.attention\.qkv", "attn.qkv"),
    (r"attention\.output\.dense", "attn.proj"),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"intermediate\.dense", "mlp.fc1"),
    (r"output\.dense", "mlp.fc2"),
    (r"^timesformer\.layernorm", "norm"),
    (r"^classifier", "head"),
)
VIDEOMAE = (
    (r"^videomae\.embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^videomae\.encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"attention\.attention\.query\.bias", "attn.q_bias"),
    (r"attention\.attention\.value\.bias", "attn.v_bias"),
    (r"attention\.output\.dense", "attn.proj"),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"intermediate\.dense", "mlp.fc1"),
    (r"output\.dense", "mlp.fc2"),
    (r"^classifier", "head"),
)
MMACTION_BLOCK = (  # official -> mmaction2, inside a block
    (r"temporal_norm1", "attentions.0.norm"),
    (r"temporal_attn\.qkv\.", "attentions.0.attn.in_proj_"),
    (r"temporal_attn\.proj", "attentions.0.attn.out_proj"),
    (r"temporal_fc", "attentions.0.temporal_fc"),
    (r"(?<!_)norm1", "attentions.1.norm"),
    (r"(?<!_)attn\.qkv\.", "attentions.1.attn.in_proj_"),
    (r"(?<!_)attn\.proj", "attentions.1.attn.out_proj"),
    (r"norm2", "ffns.0.norm"),
    (r"mlp\.fc1", "ffns.0.layers.0.0"),
    (r"mlp\.fc2", "ffns.0.layers.1"),
)
MMACTION_JOINT_BLOCK = (
    (r"norm1", "norms.0"),
    (r"attn\.qkv\.", "attentions.0.attn.in_proj_"),
    (r"attn\.proj", "attentions.0.attn.out_proj"),
    (r"norm2", "norms.1"),
    *MMACTION_BLOCK[-2:],
)


def rename(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name


def official_timesformer(weights: Weights) -> Weights:
    """From transformers' names in memory."""
    return {rename(key, TIMESFORMER): value for key, value in weights.items()}


def mmaction_timesformer(weights: Weights) -> Weights:
    """From transformers' names in memory."""
    official = official_timesformer(weights)
    table = MMACTION_BLOCK if "blocks.0.temporal_fc.weight" in official else MMACTION_JOINT_BLOCK
    out = {}
    for key, value in official.items():
        if key.startswith("blocks."):
            _, layer, rest = key.split(".", 2)
            key = f"backbone.transformer_layers.layers.{layer}.{rename(rest, table)}"
        elif key.startswith("head."):
            key = key.replace("head.", "cls_head.fc_cls.")
        else:
            key = "backbone." + key.replace("patch_embed.proj", "patch_embed.projection")
        out[key] = value
    return out


def official_videomae(weights: Weights) -> Weights:
    """From transformers' names in memory; q, k and v become one matrix without bias."""
    out = {rename(key, VIDEOMAE): value for key, value in weights.items()}
    for key in [key for key in out if key.endswith("attention.attention.query.weight")]:
        stem = key.removesuffix("query.weight")
        parts = [out.pop(f"{stem}{part}.weight") for part in ("query", "key", "value")]
        out[f"{stem.removesuffix('attention.attention.')}attn.qkv.weight"] = torch.cat(parts)
    return out


FLAX_BLOCKS = {  # norm1, norm2, attention, MLP
    "vivit": ("LayerNorm_0", "LayerNorm_1", "MultiHeadDotProductAttention_0", "MlpBlock_0"),
    "image": ("LayerNorm_0", "LayerNorm_2", "MultiHeadDotProductAttention_1", "MlpBlock_3"),
    "fsa": ("LayerNorm_space", "LayerNorm_mlp", "MultiHeadDotProductAttention_space", "MlpBlock"),
}


def flax_tree(
    weights: Weights, *, num_heads: int, block: str = "vivit", head: str = "output_projection"
) -> dict[str, Any]:
    """Flat flax names with slashes, from ours: kernels [in, out], heads an axis of their own, convolutions last."""
    factorised = "temporal.norm.weight" in weights
    names = {"encoder": "SpatialTransformer" if factorised else "Transformer", "temporal": "TemporalTransformer"}
    tables = {"positions": names["encoder"], "temporal_positions": names["temporal"]}
    out: dict[str, Any] = {}
    for key, value in weights.items():
        array = value.numpy()
        first, *rest = key.split(".")
        if first == "patch_embed":
            kernel = np.transpose(array, (2, 3, 4, 1, 0)) if rest[-1] == "weight" else array
            kernel = kernel[0] if block == "image" and rest[-1] == "weight" else kernel
            out["embedding/kernel" if rest[-1] == "weight" else "embedding/bias"] = kernel
        elif rest[-1] == "cls_token":
            out["cls" if not factorised else f"cls_{tables[first]}"] = array
        elif rest[-1] == "pos_embed":
            out[f"{tables[first]}/posembed_input/pos_embedding"] = array
        elif first == "head":
            out[f"{head}/kernel" if rest[-1] == "weight" else f"{head}/bias"] = array.T
        elif rest[0] == "norm":
            out[f"{names[first]}/encoder_norm/{'scale' if rest[-1] == 'weight' else 'bias'}"] = array
        else:
            stem = f"{names[first]}/encoderblock_{rest[1]}"
            out |= _flax_module(stem, ".".join(rest[2:-1]), rest[-1], array, num_heads, FLAX_BLOCKS[block])
    return out


def _flax_module(
    stem: str, module: str, part: str, array: np.ndarray, num_heads: int, names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    norm1, norm2, attention, mlp = names
    norms = {"norm1": norm1, "norm2": norm2, "temporal_norm1": "LayerNorm_time"}
    if module in norms:
        return {f"{stem}/{norms[module]}/{'scale' if part == 'weight' else 'bias'}": array}
    if module.startswith("mlp."):
        dense = f"{stem}/{mlp}/Dense_{int(module[-1]) - 1}"
        return {f"{dense}/{'kernel' if part == 'weight' else 'bias'}": array.T}
    name = "MultiHeadDotProductAttention_time" if module.startswith("temporal") else attention
    width = array.shape[-1] // num_heads if part == "weight" else -1
    if module.endswith("proj"):
        kernel = array.T.reshape(num_heads, width, -1) if part == "weight" else array
        return {f"{stem}/{name}/out/{'kernel' if part == 'weight' else 'bias'}": kernel}
    out = {}
    for which, piece in zip(("query", "key", "value"), np.split(array, 3), strict=True):
        if part == "weight":
            out[f"{stem}/{name}/{which}/kernel"] = piece.T.reshape(-1, num_heads, width)
        else:
            out[f"{stem}/{name}/{which}/bias"] = piece.reshape(num_heads, -1)
    return out


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Names with slashes as nested dicts."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split("/")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return tree


def write_flax(path: Path, tree: Mapping[str, Any]) -> Path:
    """flax's msgpack: arrays are extension 1 around (shape, dtype name, bytes), numpy scalars extension 3."""
    path.write_bytes(msgpack.packb(tree, default=_pack_array, strict_types=True))
    return path


def _pack_array(value: Any) -> msgpack.ExtType:
    assert isinstance(value, np.ndarray | np.generic), type(value)
    array = np.asarray(value)
    content = msgpack.packb((array.shape, array.dtype.name, array.tobytes()), use_bin_type=True)
    return msgpack.ExtType(1 if isinstance(value, np.ndarray) else 3, content)
