"""flax names: scenic's ViViT 1-4 (msgpack) and Google's image ViTs (``.npz``).

flax stores a dense kernel as [in, out], attention kernels with an axis for the heads, a convolution as
[(t,) h, w, in, out]. GELU is flax's own, the tanh approximation.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vidtok.config import ViTConfig, ViViTConfig, ViViTFDPConfig, ViViTFEConfig, ViViTFSAConfig
from vidtok.errors import WeightsError
from vidtok.models.pretrained.presets import HALF, colours, image_preset, vivit_preset
from vidtok.models.pretrained.source import Files, Foreign, Hints, Ledger, backbone_shape, split_steps, square_side

SCENIC, GOOGLE = "scenic-vivit", "google-npz"


@dataclass(frozen=True, slots=True)
class BlockNames:
    norms: dict[str, str]
    """Ours: theirs."""
    attentions: dict[str, str]
    mlp: str


VIVIT_BLOCK = BlockNames(
    {"norm1": "LayerNorm_0", "norm2": "LayerNorm_1"}, {"attn": "MultiHeadDotProductAttention_0"}, "MlpBlock_0"
)
IMAGE_BLOCK = BlockNames(
    {"norm1": "LayerNorm_0", "norm2": "LayerNorm_2"}, {"attn": "MultiHeadDotProductAttention_1"}, "MlpBlock_3"
)
FSA_BLOCK = BlockNames(
    {"norm1": "LayerNorm_space", "temporal_norm1": "LayerNorm_time", "norm2": "LayerNorm_mlp"},
    {"attn": "MultiHeadDotProductAttention_space", "temporal_attn": "MultiHeadDotProductAttention_time"},
    "MlpBlock",
)


def matches(files: Files) -> bool:
    """scenic's ViViT: a 3-D embedding."""
    kernel = files.tensors.get("embedding/kernel")
    return kernel is not None and kernel.ndim == 5


def matches_image(files: Files) -> bool:
    kernel = files.tensors.get("embedding/kernel")
    return kernel is not None and kernel.ndim == 4


def read(files: Files, hints: Hints) -> Foreign:
    """Translate a scenic ViViT; which of the four models it is follows from its names. Raises WeightsError."""
    ledger, notes = Ledger(files.tensors, files.where), ()
    _read_kernel(ledger)
    factorised = any(key.startswith("SpatialTransformer/") for key in ledger.left)
    shape = _read_encoder(ledger, "SpatialTransformer" if factorised else "Transformer", "positions", "encoder")
    if factorised:
        kind, fields = ViViTFEConfig, {"temporal_depth": _read_temporal(ledger)}
    elif "temporal_attn.qkv.weight" in {name.split(".", 3)[-1] for name in ledger.weights}:
        kind, fields = ViViTFSAConfig, {}
        notes = ("attention along time, then space, as by default in scenic: the file does not say",)
    else:
        kind, fields = _plain_kind(ledger, hints)
    if "positions.cls_token" not in ledger.weights:
        fields["pool"] = "mean"
    _read_dense(ledger, "output_projection", "head")
    _, _, tubelet, patch, _ = ledger.weights["patch_embed.proj.weight"].shape
    backbone = kind(patch=patch, tubelet=tubelet, **shape, **fields)
    clip, protocol = _clip(ledger, hints, patch, tubelet, factorised=factorised)
    return Foreign(SCENIC, backbone, clip, protocol, **ledger.close(), notes=notes)


def _plain_kind(ledger: Ledger, hints: Hints) -> tuple[Any, dict[str, Any]]:
    """Models 1 and 4 have the same parameters; only a cls token, which model 4 cannot have, tells them apart."""
    if "positions.cls_token" in ledger.weights:
        return ViViTConfig, {}
    kinds = {"vivit": ViViTConfig, "vivit_fdp": ViViTFDPConfig}
    if hints.family not in kinds:
        raise WeightsError(
            f"{ledger.where}: without a cls token this is ViViT model 4 or model 1 with mean pooling, whose names are "
            "the same; give source_family 'vivit_fdp' or 'vivit'"
        )
    return kinds[hints.family], {}


def _read_temporal(ledger: Ledger) -> int:
    """The temporal encoder of the factorised encoder, if any; returns its depth."""
    if not any(key.startswith("TemporalTransformer/") for key in ledger.left):
        return 0
    _read_encoder(ledger, "TemporalTransformer", "temporal_positions", "temporal")
    return 1 + max(int(name.split(".")[2]) for name in ledger.weights if name.startswith("temporal.blocks."))


def _clip(ledger: Ledger, hints: Hints, patch: int, tubelet: int, *, factorised: bool) -> tuple[Any, Any]:
    num_prefix = "positions.cls_token" in ledger.weights
    count = ledger.weights["positions.pos_embed"].shape[1] - num_prefix
    if not factorised:
        frames, size = split_steps(count, patch=patch, tubelet=tubelet, hints=hints, where=ledger.where)
    else:
        steps = ledger.weights.get("temporal_positions.pos_embed")
        told = hints.source_frames or 32
        frames = told if steps is None else (steps.shape[1] - num_prefix) * tubelet
        size = square_side(count, ledger.where) * patch
    return vivit_preset(frames=frames, size=size, preset=colours(hints.preset, HALF))


def read_image(files: Files, hints: Hints) -> Foreign:
    """Translate a Google image ViT. Raises WeightsError."""
    ledger = Ledger(files.tensors, files.where)
    _read_kernel(ledger)
    shape = _read_encoder(ledger, "Transformer", "positions", "encoder")
    patch = ledger.weights["patch_embed.proj.weight"].shape[-1]
    notes: tuple[str, ...] = ()
    if "pre_logits/kernel" in ledger:
        ledger.set_aside(r"(pre_logits|head)/.*", "classifier behind a tanh layer, which 'vit' does not have")
        notes = ("the file's classifier needs its pre_logits layer and is left out",)
    _read_dense(ledger, "head", "head")
    side = square_side(ledger.weights["positions.pos_embed"].shape[1] - 1, files.where)
    clip, protocol = image_preset(size=side * patch, preset=colours(hints.preset, HALF))
    backbone = ViTConfig(patch=patch, **shape)
    return Foreign(GOOGLE, backbone, clip, protocol, **ledger.close(), notes=notes)


def _read_kernel(ledger: Ledger) -> None:
    kernel = ledger.take("embedding/kernel")
    kernel = (kernel if kernel.ndim == 5 else kernel[None]).permute(4, 3, 0, 1, 2)  # [D, 3, t, p, p]
    ledger.put("patch_embed.proj.weight", kernel.contiguous(), "embedding/kernel")
    ledger.copy("embedding/bias", "patch_embed.proj.bias")


def _read_encoder(ledger: Ledger, theirs: str, positions: str, encoder: str) -> dict[str, Any]:
    """cls token, positions, blocks and norm of one encoder; returns its config fields."""
    depth = ledger.depth(rf"{theirs}/encoderblock_(\d+)/")
    cls = "cls" if theirs == "Transformer" else f"cls_{theirs}"
    if cls in ledger:
        ledger.copy(cls, f"{positions}.cls_token")
    ledger.copy(f"{theirs}/posembed_input/pos_embedding", f"{positions}.pos_embed")
    names = next(
        (
            names
            for names in (FSA_BLOCK, IMAGE_BLOCK, VIVIT_BLOCK)
            if f"{theirs}/encoderblock_0/{names.mlp}/Dense_0/kernel" in ledger
        ),
        VIVIT_BLOCK,
    )
    heads = 0
    for layer in range(depth):
        heads = _read_block(ledger, f"{theirs}/encoderblock_{layer}", f"{encoder}.blocks.{layer}", names)
    _read_norm(ledger, f"{theirs}/encoder_norm", f"{encoder}.norm")
    hidden, dim = ledger.weights[f"{encoder}.blocks.0.mlp.fc1.weight"].shape
    return {"gelu": "tanh", **backbone_shape(dim, depth, heads, hidden)}


def _read_block(ledger: Ledger, theirs: str, ours: str, names: BlockNames) -> int:
    """One block; returns its number of heads."""
    for name, source in names.norms.items():
        _read_norm(ledger, f"{theirs}/{source}", f"{ours}.{name}")
    for name, source in names.attentions.items():
        heads = _read_attention(ledger, f"{theirs}/{source}", f"{ours}.{name}")
    _read_dense(ledger, f"{theirs}/{names.mlp}/Dense_0", f"{ours}.mlp.fc1")
    _read_dense(ledger, f"{theirs}/{names.mlp}/Dense_1", f"{ours}.mlp.fc2")
    return heads


def _read_norm(ledger: Ledger, theirs: str, ours: str) -> None:
    ledger.copy(f"{theirs}/scale", f"{ours}.weight")
    ledger.copy(f"{theirs}/bias", f"{ours}.bias")


def _read_dense(ledger: Ledger, theirs: str, ours: str) -> None:
    if f"{theirs}/kernel" in ledger or ours != "head":
        ledger.put(f"{ours}.weight", ledger.take(f"{theirs}/kernel").T.contiguous(), f"{theirs}/kernel")
        ledger.copy(f"{theirs}/bias", f"{ours}.bias")


def _read_attention(ledger: Ledger, theirs: str, ours: str) -> int:
    """Kernels [D, A, E] of query, key and value and [A, E, D] of out; returns A."""
    parts = ("query", "key", "value")
    kernels = [ledger.take(f"{theirs}/{part}/kernel") for part in parts]
    weight = torch.cat([kernel.flatten(1).T for kernel in kernels])
    ledger.put(f"{ours}.qkv.weight", weight, *(f"{theirs}/{part}/kernel" for part in parts))
    biases: list[Tensor] = [ledger.take(f"{theirs}/{part}/bias").flatten() for part in parts]
    ledger.put(f"{ours}.qkv.bias", torch.cat(biases), *(f"{theirs}/{part}/bias" for part in parts))
    out = ledger.take(f"{theirs}/out/kernel").flatten(0, 1).T.contiguous()
    ledger.put(f"{ours}.proj.weight", out, f"{theirs}/out/kernel")
    ledger.copy(f"{theirs}/out/bias", f"{ours}.proj.bias")
    return kernels[0].shape[1]
