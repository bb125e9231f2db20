"""Small models for the tests: one of every backbone and variant, 4 frames of 32 pixels, 3 classes."""

from typing import Any

import torch
from torch import Tensor

from vidtok.config import ClipConfig, ModelConfig, from_tree
from vidtok.models.backbones import VideoModel
from vidtok.models.build import build_model

FRAMES, SIZE, CLASSES = 4, 32, 3

VARIANTS: dict[str, dict[str, Any]] = {
    "vit": {"kind": "vit"},
    "vit mean": {"kind": "vit", "pool": "mean"},
    "vit mean with cls": {"kind": "vit", "pool": "mean_with_cls"},
    "vivit": {"kind": "vivit"},
    "vivit mean": {"kind": "vivit", "pool": "mean"},
    "vivit_fe": {"kind": "vivit_fe", "temporal_depth": 2},
    "vivit_fe mean": {"kind": "vivit_fe", "temporal_depth": 2, "pool": "mean"},
    "vivit_fe averaged": {"kind": "vivit_fe", "temporal_depth": 0},
    "vivit_fsa": {"kind": "vivit_fsa"},
    "vivit_fsa space first": {"kind": "vivit_fsa", "order": "space_time"},
    "vivit_fdp": {"kind": "vivit_fdp"},
    "timesformer divided": {"kind": "timesformer"},
    "timesformer joint": {"kind": "timesformer", "attention": "joint"},
    "timesformer space": {"kind": "timesformer", "attention": "space"},
    "videomae": {"kind": "videomae"},
}


def tiny_model(
    variant: str | dict[str, Any],
    *,
    frames: int = FRAMES,
    size: int = SIZE,
    compressor: str | dict[str, Any] = "none",
    **fields: Any,
) -> VideoModel:
    """A variant by name, or backbone fields, at width 16, 2 heads and 2 layers, in eval mode."""
    own = VARIANTS[variant] if isinstance(variant, str) else variant
    backbone = {"dim": 16, "num_heads": 2, "depth": 2, **own, **fields}
    config = from_tree(ModelConfig, {"backbone": backbone, "compressor": compressor})
    return build_model(config, ClipConfig(frames=frames, size=size), num_classes=CLASSES).eval()


def tiny_clip(batch: int = 2, *, frames: int = FRAMES, size: int = SIZE) -> Tensor:
    return torch.randn(batch, 3, frames, size, size)


@torch.no_grad()
def perturb(model: torch.nn.Module, std: float = 0.05) -> None:
    """Noise on every parameter: zeros and ones of a fresh model hide swapped and unused ones."""
    for parameter in model.parameters():
        parameter.add_(std * torch.randn_like(parameter))
