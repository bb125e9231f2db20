"""What a foreign file holds, before and after its names are translated into ours."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vidtok.config import SIZES, BackboneUnion, ClipConfig, EvalConfig
from vidtok.errors import WeightsError
from vidtok.models.tensors import as_parameter

BLOCK = {  # timm's names inside a block, which are ours
    name: name for name in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
}


@dataclass(frozen=True, slots=True)
class Files:
    """A source as it was read: tensors by their foreign names, and what lay beside them."""

    where: str
    tensors: dict[str, Tensor]
    config: dict[str, Any] = field(default_factory=dict)
    """The folder's ``config.json``; empty when there is none."""
    processor: dict[str, Any] = field(default_factory=dict)
    """The folder's ``preprocessor_config.json``; empty when there is none."""
    extras: dict[str, Any] = field(default_factory=dict)
    """What else the file holds beside the weights: epoch, optimiser state, a config as text."""
    wrapper: str | None = None
    """The entry that the weights were found under; None when they are the file itself."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Kind of object that was not read -> where it stood."""
    notes: tuple[str, ...] = ()
    """What is to be said about the reading itself."""

    @property
    def arguments(self) -> dict[str, Any]:
        """What the training script was called with, as far as the file keeps it; empty when it does not."""
        for name in ("args", "arguments", "hyper_parameters", "hparams", "opt", "config", "cfg"):
            told = self.extras.get(name)
            if isinstance(told, Mapping):
                return {str(key): value for key, value in told.items()}
        return {}


@dataclass(frozen=True, slots=True)
class Hints:
    """What a file cannot say about itself; None where the file, or the usual value, decides."""

    num_heads: int | None = None
    source_frames: int | None = None
    """Frames per clip that the source was trained on."""
    family: str | None = None
    """Backbone family, where files of several look the same."""
    preset: str | None = None
    """Name of the preprocessing, see ``presets.py``."""
    channel_order: str | None = None


@dataclass(frozen=True, slots=True)
class Foreign:
    """A source in our names, complete for the model that ``backbone`` and ``clip`` describe."""

    format: str
    backbone: BackboneUnion
    clip: ClipConfig
    protocol: EvalConfig
    weights: dict[str, Tensor]
    origin: dict[str, tuple[str, ...]]
    """Our name -> the foreign names that it was made of."""
    changed: dict[str, str] = field(default_factory=dict)
    """Our name -> how its values differ from the file's."""
    unused: dict[str, str] = field(default_factory=dict)
    """Foreign name -> why it is not used."""
    notes: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None

    @property
    def num_classes(self) -> int | None:
        """None when the source has no classifier."""
        return len(self.weights["head.weight"]) if "head.weight" in self.weights else None


class Ledger:
    """The tensors of a source; each is taken or set aside with a reason, or ``close`` fails."""

    def __init__(self, tensors: dict[str, Tensor], where: str) -> None:
        self.left, self.where = dict(tensors), where
        self.weights: dict[str, Tensor] = {}
        self.origin: dict[str, tuple[str, ...]] = {}
        self.changed: dict[str, str] = {}
        self.unused: dict[str, str] = {}

    def __contains__(self, key: str) -> bool:
        return key in self.left

    def take(self, key: str) -> Tensor:
        """Remove and return one tensor in float32. Raises WeightsError when it is missing or no parameter."""
        try:
            value = self.left.pop(key)
        except KeyError:
            raise WeightsError(f"{self.where}: tensor '{key}' is missing; the file is incomplete") from None
        return as_parameter(value, key, self.where)

    def put(self, name: str, value: Tensor, *keys: str, change: str | None = None) -> None:
        """Store ``value`` under our ``name``; ``keys`` are what it was made of, ``change`` how it differs."""
        self.weights[name], self.origin[name] = value, keys
        if change is not None:
            self.changed[name] = change

    def copy(self, key: str, name: str) -> None:
        self.put(name, self.take(key), key)

    def copy_pair(self, theirs: str, ours: str) -> None:
        """Copy a module's weight and bias."""
        for part in ("weight", "bias"):
            self.copy(f"{theirs}.{part}", f"{ours}.{part}")

    def copy_kernel(self, theirs: str) -> None:
        """Copy a patch embedding; a 2-D kernel [D, 3, p, p] becomes a tubelet of depth 1."""
        kernel = self.take(f"{theirs}.weight")
        self.put("patch_embed.proj.weight", kernel if kernel.ndim == 5 else kernel[:, :, None], f"{theirs}.weight")
        self.copy(f"{theirs}.bias", "patch_embed.proj.bias")

    def copy_head(self, theirs: str) -> None:
        """Copy the classifier when there is one."""
        if f"{theirs}.weight" in self:
            self.copy_pair(theirs, "head")

    def set_aside(self, pattern: str, reason: str) -> None:
        """Do not use the tensors whose names match ``pattern``, a regular expression for the whole name."""
        for key in [key for key in self.left if re.fullmatch(pattern, key)]:
            self.left.pop(key)
            self.unused[key] = reason

    def depth(self, pattern: str) -> int:
        """Number of blocks, whose index is the group of ``pattern``. Raises WeightsError when one is missing."""
        found = {int(match[1]) for key in self.left if (match := re.match(pattern, key))}
        missing = set(range(max(found, default=-1) + 1)) - found
        if not found or missing:
            raise WeightsError(f"{self.where}: block {min(missing, default=0)} is missing; the file is incomplete")
        return len(found)

    @property
    def num_classes(self) -> int | None:
        """Rows of the classifier that was copied; None when there is none."""
        return len(self.weights["head.weight"]) if "head.weight" in self.weights else None

    def close(self) -> dict[str, Any]:
        """Weights, origin, changes and what is unused. Raises WeightsError when a tensor is left over."""
        if self.left:
            names, count = sorted(self.left), len(self.left)
            more = f" and {count - 1} more" if count > 1 else ""
            raise WeightsError(
                f"{self.where}: tensor '{names[0]}' {list(self.left[names[0]].shape)}{more} has no place in the "
                "model; the file is of another model than its other tensors say"
            )
        return {"weights": self.weights, "origin": self.origin, "changed": self.changed, "unused": self.unused}


def backbone_shape(dim: int, depth: int, num_heads: int, hidden: int) -> dict[str, Any]:
    """Config fields of a width, depth, heads and MLP width: the named size when there is one."""
    named = {shape: size for size, shape in SIZES.items()}.get((dim, depth, num_heads))
    fields = {"size": named} if named else {"dim": dim, "depth": depth, "num_heads": num_heads}
    return fields | {"mlp_ratio": hidden / dim}


def guess_heads(dim: int, hints: Hints, where: str) -> tuple[int, tuple[str, ...]]:
    """(heads, notes) of a width, which the tensors do not tell: the field's heads of 64 unless hinted."""
    if hints.num_heads is not None:
        return hints.num_heads, ()
    named = {width: heads for width, _, heads in SIZES.values()}
    if dim not in named:
        raise WeightsError(
            f"{where}: the number of heads of a width of {dim} cannot be told; give num_heads (--num-heads of convert)"
        )
    return named[dim], (f"{named[dim]} heads, as usual for a width of {dim}: the file does not say",)


def square_side(count: int, where: str) -> int:
    """Side of a square lattice of ``count`` positions. Raises WeightsError when it is none."""
    side = math.isqrt(count)
    if side * side != count:
        raise WeightsError(f"{where}: {count} spatial positions are not a square; only square pictures are supported")
    return side


def split_steps(count: int, *, patch: int, tubelet: int, hints: Hints, where: str) -> tuple[int, int]:
    """(frames, size) of a table of ``count`` space-time positions: 224 pixels unless ``source_frames`` is hinted."""
    if hints.source_frames is not None:
        steps = hints.source_frames // tubelet
        if steps and hints.source_frames % tubelet == 0 and count % steps == 0:
            return hints.source_frames, square_side(count // steps, where) * patch
    elif 224 % patch == 0 and count % (224 // patch) ** 2 == 0:
        return count // (224 // patch) ** 2 * tubelet, 224
    raise WeightsError(
        f"{where}: {count} positions cannot be split into time and space for tubelets of {tubelet} x {patch} pixels "
        f"and source_frames {hints.source_frames}; give the number of frames that the model was trained on"
    )


def whole_number(told: Mapping[str, Any], name: str) -> int | None:
    """A number that a file's training arguments hold, of a size that frames and pixels have; None otherwise."""
    value = told.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 4096 else None
