"""Mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899) of a batch, on its device.

One draw per batch, as timm's batch mode: sample i is mixed with sample B - 1 - i, and targets in the same shares. A
pair with an unreadable video stays as it is.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vidtok.config import AugmentConfig
from vidtok.data.transforms import Box


@dataclass(frozen=True, slots=True)
class Mix:
    """How the samples of one batch are mixed."""

    share: float
    """Of a sample in what becomes of it, in [0, 1]; the rest is its partner's."""
    box: Box | None = None
    """CutMix: the pixels, of every frame, that the partner gives. None: all pixels are weighted sums."""


def draw_mix(config: AugmentConfig, *, size: int, rng: np.random.Generator) -> Mix | None:
    """Choose how to mix clips of ``size`` x ``size`` pixels; None leaves the batch as it is."""
    if not (config.mixup or config.cutmix) or rng.random() >= config.mix_prob:
        return None
    cuts = rng.random() < config.mix_switch_prob if config.mixup and config.cutmix else config.cutmix > 0
    alpha = config.cutmix if cuts else config.mixup
    share = float(rng.beta(alpha, alpha))
    return _draw_cut(share, size, rng) if cuts else Mix(share)


def _draw_cut(share: float, size: int, rng: np.random.Generator) -> Mix:
    """A square around any pixel that covers 1 - share of a picture where it fits; the share is what it leaves."""
    half = int(size * math.sqrt(1 - share)) // 2
    centre_y, centre_x = rng.integers(size, size=2).tolist()
    top, bottom, left, right = (min(max(edge, 0), size) for edge in (
        centre_y - half, centre_y + half, centre_x - half, centre_x + half
    ))  # fmt: skip
    height, width = bottom - top, right - left
    return Mix(1 - height * width / size**2, (top, left, height, width))


def mix_batch(clips: Tensor, targets: Tensor, valid: Tensor, mix: Mix) -> tuple[Tensor, Tensor]:
    """Mix every sample with its partner.

    Args:
        clips: float [B, 3, T, S, S]; changed in place.
        targets: float [B, C], shares of the classes.
        valid: bool [B], False where the video could not be read.
        mix: the choice.

    Returns:
        The clips and their targets.
    """
    both_valid = valid & valid.flip(0)
    share = torch.where(both_valid, mix.share, 1.0).to(clips.dtype)
    if mix.box is None:
        clips = torch.lerp(clips.flip(0), clips, share.view(-1, 1, 1, 1, 1))
    else:
        top, left, height, width = mix.box
        cut = clips[..., top : top + height, left : left + width]
        cut.copy_(torch.where(both_valid.view(-1, 1, 1, 1, 1), cut.flip(0), cut))
    return clips, torch.lerp(targets.flip(0), targets, share.to(targets.dtype).view(-1, 1))
