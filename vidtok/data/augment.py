"""Training-time changes of a clip: one draw per clip, applied to all its frames, with the label kept right.

Deciding and doing are separate: :func:`draw_augmentation` chooses, :func:`augment_clip` applies and
:class:`LabelSwaps` says which class a flipped or reversed clip belongs to.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vidtok.config import AugmentConfig, Swap
from vidtok.data.labels import did_you_mean
from vidtok.data.transforms import Box, crop_and_resize, to_clip
from vidtok.errors import ConfigError

_CROP_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to one clip: cut ``box``, then mirror and reverse."""

    box: Box
    hflip: bool = False
    vflip: bool = False
    reverse: bool = False


def draw_augmentation(config: AugmentConfig, *, height: int, width: int, rng: np.random.Generator) -> Augmentation:
    """Choose the changes of one clip whose frames are ``height`` x ``width`` pixels."""
    box = draw_box(height, width, scale=config.crop_scale, ratio=config.crop_ratio, rng=rng)
    hflip, vflip, reverse = (rng.random(3) < (config.hflip, config.vflip, config.reverse)).tolist()
    return Augmentation(box, hflip, vflip, reverse)


def draw_box(
    height: int, width: int, *, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> Box:
    """Choose a box by its share of the area and its aspect ratio (width / height, log-uniform).

    When ten draws do not fit into the picture, the largest centred box with an allowed ratio is taken.
    """
    for _ in range(_CROP_ATTEMPTS):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        box_height, box_width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < box_height <= height and 0 < box_width <= width:
            top = int(rng.integers(0, height - box_height, endpoint=True))
            left = int(rng.integers(0, width - box_width, endpoint=True))
            return top, left, box_height, box_width
    aspect = min(max(width / height, ratio[0]), ratio[1])
    box_height = min(height, max(1, round(width / aspect)))
    box_width = min(width, max(1, round(height * aspect)))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def augment_clip(frames: Tensor, choice: Augmentation, *, size: int) -> Tensor:
    """Apply one choice to uint8 frames [T, H, W, 3]; returns uint8 [3, T, size, size]."""
    frames = crop_and_resize(frames, choice.box, size=size)
    dims = [dim for dim, on in enumerate((choice.reverse, choice.vflip, choice.hflip)) if on]
    return to_clip(torch.flip(frames, dims) if dims else frames)


@dataclass(frozen=True, slots=True)
class LabelSwaps:
    """For each change, the classes that it turns into others; classes that are not named stay."""

    hflip: dict[int, int]
    vflip: dict[int, int]
    reverse: dict[int, int]

    def label_after(self, label: int, choice: Augmentation) -> int:
        """The class of a clip of class ``label`` after the changes."""
        for name in ("hflip", "vflip", "reverse"):
            if getattr(choice, name):
                label = getattr(self, name).get(label, label)
        return label


def resolve_swaps(config: AugmentConfig, class_names: Sequence[str] | None, num_classes: int) -> LabelSwaps:
    """Turn the label pairs of a recipe, by name or index, into class indices.

    Raises:
        ConfigError: unknown name, index out of range, or a class in two pairs of one change.
    """
    return LabelSwaps(
        hflip=_resolve(config.hflip_swaps, "hflip", class_names, num_classes),
        vflip=_resolve(config.vflip_swaps, "vflip", class_names, num_classes),
        reverse=_resolve(config.reverse_swaps, "reverse", class_names, num_classes),
    )


def _resolve(swaps: Sequence[Swap], change: str, class_names: Sequence[str] | None, num_classes: int) -> dict[int, int]:
    key = f"augment.{change}_swaps"
    out: dict[int, int] = {}
    for pair in swaps:
        first, second = (_class_index(label, key, class_names, num_classes) for label in pair)
        if first == second or first in out or second in out:
            raise ConfigError(f"{key}: pair {list(pair)} names a class that is already in a pair; name each class once")
        out |= {first: second, second: first}
    return out


def _class_index(label: str | int, key: str, class_names: Sequence[str] | None, num_classes: int) -> int:
    if isinstance(label, int):
        if not 0 <= label < num_classes:
            raise ConfigError(f"{key}: label {label}, but there are {num_classes} classes (0-{num_classes - 1})")
        return label
    if class_names is None:
        raise ConfigError(f"{key}: '{label}' is a name, but the data has none; set data.classes or use class indices")
    if label not in class_names:
        raise ConfigError(f"{key}: '{label}' is not one of the class names{did_you_mean(label, class_names)}")
    return list(class_names).index(label)
