"""Preprocessing and test protocols that published weights were trained with.

Values are those of the original code, not of the files that travel with conversions: the default processor
of ``google/vivit-b-16x2-kinetics400`` feeds [-3, 1] to a model that expects [-1, 1], and revisions of
TimeSformer's carry 0.5 where the model saw 0.45 and 0.225.
"""

from typing import Any

from vidtok.config import ClipConfig, EvalConfig, from_tree
from vidtok.config.data import Sampling
from vidtok.errors import WeightsError

HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
"""[-1, 1]: ViViT, and ViTs of Google (augreg, orig)."""
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
"""VideoMAE, DeiT, EViT, MAE, DINO."""
TIMESFORMER = {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}

COLOURS = {"half": HALF, "imagenet": IMAGENET, "timesformer": TIMESFORMER}
"""What a user may name for files that do not say it."""

SSV2_CLASSES = 174


def colours(name: str | None, default: dict[str, Any]) -> dict[str, Any]:
    """Mean and std by preset name. Raises WeightsError when there is no such preset."""
    if name is None:
        return default
    if name not in COLOURS:
        raise WeightsError(f"preset '{name}' is not one of {', '.join(COLOURS)}")
    return COLOURS[name]


def image_preset(*, size: int, preset: dict[str, Any], crop_pct: float = 0.875) -> tuple[ClipConfig, EvalConfig]:
    """One frame, the centre crop of ``crop_pct`` of the short side."""
    clip = ClipConfig(frames=1, stride=1, size=size, short_side=max(size, int(size / crop_pct)), **preset)
    return clip, EvalConfig(clips=1, crops=1)


def vivit_preset(*, frames: int, size: int, preset: dict[str, Any] = HALF) -> tuple[ClipConfig, EvalConfig]:
    """Stride 2, crops of 224 out of a short side of 256, 4x3 views (scenic's configs)."""
    short_side = round(size * 256 / 224)
    clip = ClipConfig(frames=frames, stride=2, sampling="scenic", size=size, short_side=short_side, **preset)
    return clip, EvalConfig(clips=4, crops=3)


def timesformer_preset(
    *,
    frames: int,
    size: int,
    num_classes: int | None,
    preset: dict[str, Any] = TIMESFORMER,
    kinetics: Sampling = "timesformer",
) -> tuple[ClipConfig, EvalConfig]:
    """Kinetics: 8x32, 16x16 or 96x4 frames, sampled as ``kinetics``; SSv2: spread over the video. 1x3 views."""
    sampling = "uniform" if num_classes == SSV2_CLASSES else kinetics
    stride = {8: 32, 16: 16, 96: 4}.get(frames, max(1, 256 // frames))
    tree = {"frames": frames, "stride": stride, "sampling": sampling, "size": size}
    return from_tree(ClipConfig, tree | preset), EvalConfig(clips=1, crops=3)


def videomae_preset(
    *, frames: int, size: int, num_classes: int | None, preset: dict[str, Any] = IMAGENET, stride: int = 4
) -> tuple[ClipConfig, EvalConfig]:
    """Kinetics: 16x4 frames, 5x3 views; Something-Something: spread over the video, 2x3 views."""
    ssv2 = num_classes == SSV2_CLASSES
    tree = {"frames": frames, "stride": stride, "sampling": "videomae_ssv2" if ssv2 else "videomae", "size": size}
    return from_tree(ClipConfig, tree | preset), EvalConfig(clips=2 if ssv2 else 5, crops=3)
