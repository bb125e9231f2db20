"""Cost of a model, counted on the meta device: no memory, no time, no hardware."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from vidtok.config import Budget, ClipConfig, ModelConfig
from vidtok.models.backbones import TokenCount, VideoModel
from vidtok.models.build import build_model


@dataclass(frozen=True, slots=True)
class Profile:
    gmacs_per_view: float
    """Multiply-adds / 1e9 of one view, attention products and heads included; papers call them GFLOPs."""
    params_m: float
    tokens_per_layer: list[TokenCount]


def profile(config: ModelConfig, clip: ClipConfig, *, num_classes: int = 400, budget: Budget | None = None) -> Profile:
    """Count multiply-adds, parameters and tokens of one view. Raises ConfigError as ``build_model`` does."""
    with torch.device("meta"):
        model = build_model(config, clip, num_classes=num_classes)
    if budget is not None:
        model.set_budget(budget)
    return Profile(count_gmacs(model), count_params(model) / 1e6, model.token_counts)


def count_params(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def count_gmacs(model: VideoModel) -> float:
    """Multiply-adds / 1e9 of all heads for one view, run on a copy on the meta device.

    torch's counter sees no fused attention on the CPU, and reports two operations per multiply-add.
    """
    clip = model.preprocessing
    ghost = build_ghost(model)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ghost.forward_heads(torch.empty(1, 3, clip.frames, clip.size, clip.size, device="meta"))
    return counter.get_total_flops() / 2 / 1e9


def build_ghost(model: VideoModel) -> VideoModel:
    """The same model with the same budget on the meta device, in eval mode."""
    with torch.device("meta"):
        ghost = build_model(model.config, model.preprocessing, num_classes=model.num_classes)
    if model.budget is not None:
        ghost.set_budget(model.budget)
    return ghost.to("meta").eval().requires_grad_(False)
