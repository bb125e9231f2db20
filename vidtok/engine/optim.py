"""Optimiser and learning-rate schedule, both functions of the step alone."""

import math

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vidtok.config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """AdamW or SGD; vectors (biases, norms), cls tokens and position tables are not decayed."""
    decayed, plain = [], []
    for name, parameter in model.named_parameters():
        table = name.rpartition(".")[2] in ("cls_token", "pos_embed", "time_embed")
        (plain if parameter.ndim <= 1 or table else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, config.beta2))


def lr_scale(step: int, *, warmup_steps: int, total_steps: int, floor: float) -> float:
    """Share of the peak rate at optimiser step ``step``: linear warm-up, then a cosine to ``floor``."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def build_schedule(optimizer: Optimizer, config: TrainConfig, *, steps_per_epoch: int, total_steps: int) -> LambdaLR:
    """The schedule of ``lr_scale``, stepped once per optimiser step."""
    warmup = min(round(config.warmup_epochs * steps_per_epoch), total_steps - 1)
    floor = min(config.min_lr / config.lr, 1.0)
    return LambdaLR(optimizer, lambda step: lr_scale(step, warmup_steps=warmup, total_steps=total_steps, floor=floor))
