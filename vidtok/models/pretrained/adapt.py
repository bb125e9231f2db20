"""From a foreign model to the one that was asked for: positions, tubelets, time and head; nothing silently.

Shapes: t time steps, h w patches per step, P prefix rows, D width.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from vidtok.config import BackboneUnion, ClipConfig, ModelConfig, TimeSformerConfig, ViViTFEConfig, from_tree
from vidtok.errors import WeightsError
from vidtok.models.pretrained.presets import timesformer_preset, vivit_preset
from vidtok.models.pretrained.source import Foreign
from vidtok.nn.embed import resize_matrix

Lattice = tuple[int, int, int]
Inflation = Literal["central", "average"]

CARRIED = ("size", "dim", "depth", "num_heads", "patch", "mlp_ratio", "gelu", "norm_eps")
"""Config fields that an image ViT hands on to a video model."""
GROWN = ("vivit", "vivit_fe", "vivit_fsa", "vivit_fdp", "timesformer")
"""What an image ViT can become."""

_READOUTS = {
    "cls": "the cls token",
    "mean": "the mean of the tokens",
    "mean_with_cls": "the normalised mean of the patch tokens beside a cls token",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the model should be, where it is not what the source is; None keeps the source's."""

    backbone: str | dict[str, Any] | None = None
    num_frames: int | None = None
    image_size: int | None = None
    tubelet: int | None = None
    inflate: Inflation = "central"
    num_classes: int | None = None


@dataclass(slots=True)
class Adapted:
    """Weights for the wished model, and what was done to them; see ``Foreign`` for the dicts."""

    weights: dict[str, Tensor]
    changed: dict[str, str]
    unused: dict[str, str]
    new: dict[str, str] = field(default_factory=dict)
    """Pattern for names that the source need not have -> how they start."""
    notes: list[str] = field(default_factory=list)

    def change(self, name: str, value: Tensor, how: str) -> None:
        self.weights[name] = value
        self.changed[name] = "; ".join(filter(None, (self.changed.get(name), how)))

    def drop(self, pattern: str, reason: str) -> None:
        """Leave out our tensors whose names match ``pattern``."""
        for name in [name for name in self.weights if re.fullmatch(pattern, name)]:
            del self.weights[name]
            self.changed.pop(name, None)
            self.unused[name] = reason


def wished_backbone(foreign: Foreign, wish: Wish, where: str) -> BackboneUnion:
    """The backbone's config. Raises ConfigError, and WeightsError when the source cannot become it."""
    own = foreign.backbone.model_dump()
    asked = {"kind": wish.backbone} if isinstance(wish.backbone, str) else dict(wish.backbone or {})
    kind = asked.setdefault("kind", own["kind"])
    if kind != own["kind"]:
        if own["kind"] != "vit" or kind not in GROWN:
            raise WeightsError(
                f"{where}: {own['kind']} weights cannot become {kind}; an image ViT can: {', '.join(GROWN)}"
            )
        own = {name: own[name] for name in CARRIED}
    tubelet = {} if wish.tubelet is None else {"tubelet": wish.tubelet}
    return from_tree(ModelConfig, {"backbone": own | asked | tubelet}).backbone


def wished_clip(foreign: Foreign, backbone: BackboneUnion, wish: Wish) -> tuple[ClipConfig, Any]:
    """(preprocessing, test protocol). A video model made of an image ViT takes its family's, with the ViT's colours."""
    clip, protocol = foreign.clip, foreign.protocol
    if backbone.kind != foreign.backbone.kind:
        colours = {"mean": clip.mean, "std": clip.std}
        frames = wish.num_frames or type(backbone).default_frames
        if isinstance(backbone, TimeSformerConfig):
            clip, protocol = timesformer_preset(
                frames=frames, size=clip.size, num_classes=wish.num_classes, preset=colours
            )
        else:
            clip, protocol = vivit_preset(frames=frames, size=clip.size, preset=colours)
    size = wish.image_size or clip.size
    tree = clip.model_dump() | {"frames": wish.num_frames or clip.frames, "size": size}
    if clip.short_side is not None:
        tree["short_side"] = round(clip.short_side * size / clip.size)
    return from_tree(ClipConfig, tree), protocol


def adapt(foreign: Foreign, backbone: BackboneUnion, clip: ClipConfig, wish: Wish) -> Adapted:
    """Fit the source's tensors to the wished model. Raises WeightsError."""
    adapted = Adapted(dict(foreign.weights), dict(foreign.changed), dict(foreign.unused))
    _fit_kernel(adapted, backbone.tubelet, wish.inflate)
    _fit_positions(adapted, foreign, backbone, clip)
    _tell_readout(adapted, foreign.backbone.pool, backbone.pool)
    if backbone.kind != foreign.backbone.kind:
        _grow_time(adapted, foreign, backbone, clip)
    if backbone.kind == "videomae":
        adapted.new[r"encoder\.norm\..*"] = "one and zero: the source has no norm of the mean token"
        if (clip.frames, clip.size) != (foreign.clip.frames, foreign.clip.size):
            adapted.notes.append("positions are fixed sines: computed for the new lattice, not resized")
    _fit_head(adapted, foreign.num_classes, wish.num_classes)
    return adapted


def _fit_kernel(adapted: Adapted, tubelet: int, inflate: Inflation) -> None:
    name = "patch_embed.proj.weight"
    kernel = adapted.weights[name]
    if kernel.shape[2] != tubelet:
        how = f"tubelet {kernel.shape[2]} -> {tubelet} ({inflate})"
        adapted.change(name, inflate_kernel(kernel, tubelet, inflate), how)


def inflate_kernel(kernel: Tensor, tubelet: int, inflate: Inflation) -> Tensor:
    """[D, 3, u, p, p] -> [D, 3, tubelet, p, p]: the sum over time in frame tubelet // 2, or shared by all frames.

    A static clip gets the same tokens as before either way (ViViT, arXiv 2103.15691, section 3.4).
    """
    image = kernel.sum(2, keepdim=True)
    if inflate == "average":
        return image.expand(-1, -1, tubelet, -1, -1) / tubelet
    inflated = torch.zeros_like(image).repeat(1, 1, tubelet, 1, 1)
    inflated[:, :, tubelet // 2] = image[:, :, 0]
    return inflated


def table_lattices(backbone: BackboneUnion, clip: ClipConfig) -> dict[str, Lattice]:
    """The lattice of every learned position table, by name."""
    steps, side = clip.frames // backbone.tubelet, clip.size // backbone.patch
    if backbone.kind == "videomae":
        return {}
    if backbone.kind in ("vivit", "vivit_fsa", "vivit_fdp"):
        return {"positions.pos_embed": (steps, side, side)}
    tables = {"positions.pos_embed": (1, side, side)}
    if isinstance(backbone, ViViTFEConfig) and backbone.temporal_depth:
        tables["temporal_positions.pos_embed"] = (steps, 1, 1)
    if isinstance(backbone, TimeSformerConfig) and backbone.attention != "space":
        tables["positions.time_embed"] = (steps, 1, 1)
    return tables


def _fit_positions(adapted: Adapted, foreign: Foreign, backbone: BackboneUnion, clip: ClipConfig) -> None:
    sources, targets = table_lattices(foreign.backbone, foreign.clip), table_lattices(backbone, clip)
    for name in sources.keys() & targets.keys():
        if sources[name] != targets[name]:
            table = resize_table(adapted.weights[name], sources[name], targets[name])
            adapted.change(name, table, _describe_resize(sources[name], targets[name]))
    if backbone.pool == "mean" and foreign.backbone.pool != "mean":
        name = "positions.pos_embed"
        adapted.change(name, adapted.weights[name][:, 1:], "row of the cls token left out")
        adapted.drop(r"positions\.cls_token", "this model has no cls token")


def _tell_readout(adapted: Adapted, theirs: str, ours: str) -> None:
    if theirs != ours:
        adapted.notes.append(
            f"the source answers with {_READOUTS[theirs]}, this model with {_READOUTS[ours]}: fine-tune it"
        )


def resize_table(table: Tensor, source: Lattice, target: Lattice) -> Tensor:
    """[1, P + t h w, D] -> the table of another lattice; prefix rows stay as they are.

    Space by 2-D bicubic interpolation of each time step, as timm and DeiT do; time by linear interpolation. A
    table that is constant along an axis stays so.
    """
    prefix, patches = table.split([table.shape[1] - math.prod(source), math.prod(source)], dim=1)
    lattice = patches.unflatten(1, source)[0]  # [t, h, w, D]
    if source[1:] != target[1:]:
        planes = lattice.permute(0, 3, 1, 2)
        planes = F.interpolate(planes, size=target[1:], mode="bicubic", antialias=True, align_corners=False)
        lattice = planes.permute(0, 2, 3, 1)
    if source[0] != target[0]:
        lattice = torch.tensordot(resize_matrix(source[0], target[0]), lattice, dims=([1], [0]))
    return torch.cat([prefix, lattice.flatten(0, 2)[None]], dim=1)


def _describe_resize(source: Lattice, target: Lattice) -> str:
    parts = []
    if source[0] != target[0]:
        parts.append(f"{source[0]} -> {target[0]} time steps (linear)")
    if source[1:] != target[1:]:
        parts.append(f"{source[1]}x{source[2]} -> {target[1]}x{target[2]} (bicubic)")
    return ", ".join(parts)


def _grow_time(adapted: Adapted, foreign: Foreign, backbone: BackboneUnion, clip: ClipConfig) -> None:
    """What a video model has and an image ViT has not."""
    if isinstance(backbone, ViViTFEConfig):
        adapted.new[r"temporal(_positions)?\..*"] = "random: an image model has no temporal encoder"
    divided = backbone.kind == "vivit_fsa" or getattr(backbone, "attention", None) == "divided"
    if divided:
        _copy_attention_to_time(adapted, backbone)
    for name, (steps, _, _) in table_lattices(backbone, clip).items():
        if name == "positions.time_embed":
            dim = foreign.backbone.shape[0]
            adapted.change(name, torch.zeros(1, steps, dim), "zero: frames start alike")


def _copy_attention_to_time(adapted: Adapted, backbone: BackboneUnion) -> None:
    """Temporal attention starts as the spatial one behind a last matrix of zeros, so a block starts as the image's.

    Only that matrix is zero: were q, k and v zero too, nothing but its bias would ever learn.
    """
    last = "temporal_fc" if isinstance(backbone, TimeSformerConfig) else "temporal_attn.proj"
    for name in list(adapted.weights):
        match = re.fullmatch(r"(encoder\.blocks\.\d+)\.(attn\.\w+|norm1)\.(weight|bias)", name)
        if match:
            copy = f"{match[1]}.temporal_{match[2]}.{match[3]}"
            adapted.change(copy, adapted.weights[name].clone(), f"copied from {match[2]}")
    for layer in range(backbone.shape[1]):
        matrix = adapted.weights[f"encoder.blocks.{layer}.attn.proj.weight"]
        for part, zeros in (("weight", torch.zeros_like(matrix)), ("bias", torch.zeros(len(matrix)))):
            name = f"encoder.blocks.{layer}.{last}.{part}"
            adapted.weights[name], adapted.changed[name] = zeros, "zero: blocks start as the image model's"


def _fit_head(adapted: Adapted, have: int | None, want: int | None) -> None:
    if have is None:
        adapted.new[r"head\..*"] = "random: the source has no classifier"
    elif want is not None and want != have:
        adapted.drop(r"head\..*", f"classifier of {have} classes, {want} are wanted")
        adapted.new[r"head\..*"] = f"random: {want} classes instead of {have}"
