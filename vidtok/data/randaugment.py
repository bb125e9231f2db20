"""RandAugment (arXiv 1909.13719) as timm and VideoMAE run it: which operations a clip gets, and how strong.

The 15 operations of timm's increasing set, each drawn with equal chance and repetition. Levels are magnitudes / 10.

Differs from VideoMAE: rotation, shear and translation are done first, all in one sampling with the crop; the others
follow after the crop, in the order drawn. Statistics are the clip's, not each frame's (see pixels.py). Posterize keeps
at least one bit: with none the clip is black.
"""

from collections.abc import Callable

import numpy as np

from vidtok.config.randaugment import RandAugment
from vidtok.data.pixels import Op
from vidtok.data.warp import WARP_OPS

Sign = Callable[[], float]

LEVELS: dict[str, Callable[[float, Sign], float]] = {
    "autocontrast": lambda level, sign: 0.0,
    "equalize": lambda level, sign: 0.0,
    "invert": lambda level, sign: 0.0,
    "rotate": lambda level, sign: sign() * 30 * level,
    "posterize": lambda level, sign: max(4 - int(level * 4), 1),
    "solarize": lambda level, sign: 256 - min(int(level * 256), 256),
    "solarize_add": lambda level, sign: min(int(level * 110), 128),
    "color": lambda level, sign: max(1 + sign() * 0.9 * level, 0.1),
    "contrast": lambda level, sign: max(1 + sign() * 0.9 * level, 0.1),
    "brightness": lambda level, sign: max(1 + sign() * 0.9 * level, 0.1),
    "sharpness": lambda level, sign: max(1 + sign() * 0.9 * level, 0.1),
    "shear_x": lambda level, sign: sign() * 0.3 * level,
    "shear_y": lambda level, sign: sign() * 0.3 * level,
    "translate_x": lambda level, sign: sign() * 0.45 * level,
    "translate_y": lambda level, sign: sign() * 0.45 * level,
}
"""The amount of every operation at a level; a sign is drawn where the direction is free."""


def draw_randaugment(policy: RandAugment, rng: np.random.Generator) -> list[Op]:
    """The operations of one clip, in the order drawn."""
    names = [name for name in LEVELS if policy.geometric or name not in WARP_OPS]
    drawn = [names[index] for index in rng.integers(len(names), size=policy.num_ops)]
    return [_draw_op(name, policy, rng) for name in drawn if rng.random() < policy.probability]


def _draw_op(name: str, policy: RandAugment, rng: np.random.Generator) -> Op:
    magnitude = float(np.clip(rng.normal(policy.magnitude, policy.magnitude_std), 0, policy.magnitude_max))
    return Op(name, LEVELS[name](magnitude / 10, lambda: float(rng.choice((-1.0, 1.0)))))
