"""Training-time changes of a clip: one draw per clip, applied to all its frames.

Deciding and doing are separate: :func:`draw_augmentation` chooses, :func:`augment_clip` applies, and
:mod:`vidtok.data.swaps` says which class a flipped or reversed clip belongs to. Mixing of clips happens later, on the
batch (:mod:`vidtok.data.mix`).
"""

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from vidtok.config import AugmentConfig, ClipConfig
from vidtok.config.randaugment import parse_randaugment
from vidtok.data.pixels import ColorTwist, Op, apply_pixel_ops
from vidtok.data.randaugment import draw_randaugment
from vidtok.data.transforms import Box, crop_and_resize, resize, to_clip
from vidtok.data.warp import WARP_OPS, warp_crop_and_resize
from vidtok.errors import ConfigError

_CROP_ATTEMPTS = 10
_ERASE_AREA = (0.02, 1 / 3)
_ERASE_RATIO = (0.3, 1 / 0.3)


@dataclass(frozen=True, slots=True)
class Erasure:
    """A box of the result that noise replaces in every frame; the noise differs from frame to frame."""

    box: Box
    seed: int
    mean: tuple[float, float, float]
    """Of the noise, per channel, for values in [0, 1]."""
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to one clip: warp and cut ``box``, mirror and reverse, change pixel values, erase."""

    box: Box
    hflip: bool = False
    vflip: bool = False
    reverse: bool = False
    color: ColorTwist | None = None
    ops: tuple[Op, ...] = ()
    """RandAugment; warps among them come first, whatever their place."""
    erasure: Erasure | None = None


def check_crop(config: AugmentConfig, clip: ClipConfig) -> None:
    """Raise ConfigError when the crop does not fit into the smallest scale jitter."""
    if config.jitter_scales is not None and config.jitter_scales[0] < clip.size:
        raise ConfigError(
            f"augment.jitter_scales begins at {config.jitter_scales[0]:g} pixels, less than clip.size {clip.size}; "
            "begin at clip.size or more"
        )


def check_twins(config: AugmentConfig, repeats: int) -> None:
    """Raise ConfigError when twins are wanted of an odd number of clips per video."""
    if config.reverse_twins and repeats % 2:
        raise ConfigError(
            f"augment.reverse_twins needs an even train.repeated_aug, not {repeats}; set train.repeated_aug=2"
        )


def draw_augmentation(
    config: AugmentConfig, clip: ClipConfig, *, height: int, width: int, rng: np.random.Generator
) -> Augmentation:
    """Choose the changes of one clip whose frames are ``height`` x ``width`` pixels."""
    if config.jitter_scales is None:
        box = draw_box(height, width, scale=config.crop_scale, ratio=config.crop_ratio, rng=rng)
    else:
        box = draw_jittered_box(
            height, width, size=clip.size, sides=config.jitter_scales, stretch=config.jitter_stretch, rng=rng
        )
    hflip, vflip, reverse = (rng.random(3) < (config.hflip, config.vflip, config.reverse)).tolist()
    color = _draw_color(config, rng)
    ops = draw_randaugment(parse_randaugment(config.randaugment), rng) if config.randaugment else []
    erasure = None
    if config.erase and rng.random() < config.erase:
        erasure = _draw_erasure(clip, rng)
    return Augmentation(box, hflip, vflip, reverse, color, tuple(ops), erasure)


def draw_repeats(
    config: AugmentConfig, clip: ClipConfig, *, height: int, width: int, repeats: int, rng: np.random.Generator
) -> list[Augmentation]:
    """Choose the changes of ``repeats`` clips made of one video's frames.

    With ``reverse_twins`` every second clip differs from the one before it in the direction of time alone: what the two
    share cancels in the gradient of a class and its reverse, and the order of frames, a faint signal, is left.
    """
    choices = [draw_augmentation(config, clip, height=height, width=width, rng=rng) for _ in range(repeats)]
    if config.reverse_twins:
        choices[1::2] = [replace(choice, reverse=not choice.reverse) for choice in choices[::2]]
    return choices


def draw_box(
    height: int,
    width: int,
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
) -> Box:
    """Choose a box by its share of the area and its aspect ratio (width / height, log-uniform).

    When ten draws do not fit into the picture, the largest centred box with an allowed ratio is taken.
    """
    for _ in range(_CROP_ATTEMPTS):
        box_height, box_width = _draw_sides(height * width, scale, ratio, rng)
        if 0 < box_height <= height and 0 < box_width <= width:
            return _placed(box_height, box_width, height, width, rng)
    aspect = min(max(width / height, ratio[0]), ratio[1])
    box_height = min(height, max(1, round(width / aspect)))
    box_width = min(width, max(1, round(height * aspect)))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def draw_jittered_box(
    height: int, width: int, *, size: int, sides: tuple[float, float], stretch: bool, rng: np.random.Generator
) -> Box:
    """Choose what a ``size`` x ``size`` crop sees after the short side was brought to a random length in ``sides``.

    With ``stretch`` height and width are scaled apart, as in scenic. A crop never reaches beyond the picture.
    """
    first = rng.uniform(*sides)
    second = rng.uniform(*sides) if stretch else first
    short = min(height, width)
    box_height, box_width = (max(1, round(size * short / side)) for side in (first, second))
    return _placed(min(box_height, height), min(box_width, width), height, width, rng)


def _draw_sides(
    area: int, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int]:
    """Height and width of a box with a random share of ``area`` and a random aspect ratio (width / height)."""
    share = area * rng.uniform(*scale)
    aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
    return round(math.sqrt(share / aspect)), round(math.sqrt(share * aspect))


def _placed(box_height: int, box_width: int, height: int, width: int, rng: np.random.Generator) -> Box:
    """A box of a given size anywhere in the picture."""
    top = int(rng.integers(0, height - box_height, endpoint=True))
    left = int(rng.integers(0, width - box_width, endpoint=True))
    return top, left, box_height, box_width


def _draw_color(config: AugmentConfig, rng: np.random.Generator) -> ColorTwist | None:
    """Colour jitter and dropped colours, each with its probability."""
    twist = None
    if config.color_jitter and rng.random() < config.color_jitter:
        amounts = rng.uniform(-1, 1, size=4) * config.color_strength + (1, 1, 1, 0)
        twist = ColorTwist(*amounts.tolist())
    if config.grayscale and rng.random() < config.grayscale:
        twist = replace(twist or ColorTwist(), saturation=0.0)
    return twist


def _draw_erasure(clip: ClipConfig, rng: np.random.Generator) -> Erasure | None:
    """Where to erase; None when ten draws do not fit."""
    for _ in range(_CROP_ATTEMPTS):
        height, width = _draw_sides(clip.size**2, _ERASE_AREA, _ERASE_RATIO, rng)
        if 0 < height < clip.size and 0 < width < clip.size:
            box = _placed(height, width, clip.size, clip.size, rng)
            return Erasure(box, int(rng.integers(2**63)), clip.mean, clip.std)
    return None


def augment_clip(frames: Tensor, choice: Augmentation, *, size: int) -> Tensor:
    """Apply one choice to uint8 frames [T, H, W, 3]; returns uint8 [3, T, size, size]."""
    warps = [op for op in choice.ops if op.name in WARP_OPS]
    if warps:
        frames = warp_crop_and_resize(frames, warps, choice.box, size=size)
    else:
        frames = crop_and_resize(frames, choice.box, size=size)
    dims = [dim for dim, on in enumerate((choice.reverse, choice.vflip, choice.hflip)) if on]
    clip = to_clip(torch.flip(frames, dims) if dims else frames)
    if choice.color is not None:
        clip = choice.color.apply(clip)
    clip = apply_pixel_ops(clip, [op for op in choice.ops if op.name not in WARP_OPS])
    return clip if choice.erasure is None else _erased(clip, choice.erasure)


def augment_planes(planes: Tensor, choice: Augmentation, *, size: int) -> Tensor:
    """Apply one choice to YUV planes uint8 [T, H * 3 / 2, W]; returns uint8 [T, size * 3 / 2, size] with an even size.

    The box is taken at even pixels, so that colour stays where it belongs. Only geometry: choices that change colours
    are made on RGB.
    """
    assert choice.color is None and not choice.ops and choice.erasure is None
    num_frames, rows, width = planes.shape
    height = rows * 2 // 3
    luma = planes[:, None, :height]
    chroma = planes[:, height:].reshape(num_frames, 2, height // 2, width // 2)
    top, left, *sides = (side // 2 for side in choice.box)
    box = top, left, *(max(side, 1) for side in sides)
    dims = [dim for dim, on in zip((0, 2, 3), (choice.reverse, choice.vflip, choice.hflip)) if on]
    parts = []
    for part, scale in ((luma, 2), (chroma, 1)):
        y, x, h, w = (scale * side for side in box)
        cut = part[:, :, y : y + h, x : x + w].permute(0, 2, 3, 1)
        resized = resize(cut, height=scale * size // 2, width=scale * size // 2).permute(0, 3, 1, 2)
        parts.append((torch.flip(resized, dims) if dims else resized).flatten(1))
    return torch.cat(parts, dim=1).view(num_frames, size * 3 // 2, size)


def _erased(clip: Tensor, erasure: Erasure) -> Tensor:
    """The clip [3, T, S, S] with noise in a box: normal after normalisation, but never outside 0..255."""
    top, left, height, width = erasure.box
    noise = np.random.default_rng(erasure.seed).integers(0, 256, (3, clip.shape[1], height, width), dtype=np.uint8)
    out = clip.clone()
    for channel, table in enumerate(_normal_levels(erasure.mean, erasure.std)):
        levels = torch.frombuffer(bytearray(noise[channel]).translate(table), dtype=torch.uint8)
        out[channel, :, top : top + height, left : left + width] = levels.view(noise.shape[1:])
    return out


@cache
def _normal_levels(mean: tuple[float, float, float], std: tuple[float, float, float]) -> tuple[bytes, bytes, bytes]:
    """Per channel a table that turns uniform bytes into normally distributed levels: 256 quantiles."""
    quantiles = torch.special.ndtri((torch.arange(256) + 0.5) / 256)
    levels = [(255 * (m + s * quantiles)).round().clamp(0, 255).to(torch.uint8) for m, s in zip(mean, std, strict=True)]
    return tuple(bytes(table.tolist()) for table in levels)
