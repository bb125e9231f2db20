"""One layer at a time for the tests of compressors: width 12, 3 heads, weights far from their start."""

from typing import Any

import torch
from torch import nn

from tests.models.tiny import VARIANTS
from vidtok.compress.plan import LayerFactory
from vidtok.config import ModelConfig, from_tree
from vidtok.models.build import refusal
from vidtok.nn.tokens import TokenGrid

DIM, HEADS = 12, 3
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
"""float32 sums in another order, of values of a few units."""


def make_factory(t: int, h: int, w: int, **options: Any) -> LayerFactory:
    """A factory of joint layers over a lattice, without a cls token unless ``pool`` says so."""
    fields = {"depth": 3, "dim": DIM, "num_heads": HEADS, "grid": TokenGrid.lattice(t, h, w), "role": "joint"}
    fields |= {"mlp_ratio": 2, "gelu": "erf", "norm_eps": 1e-6, "drop_path": 0.0, "pool": "mean"}
    return LayerFactory(**(fields | options))


@torch.no_grad()
def randomise(module: nn.Module) -> nn.Module:
    """Every parameter random, scales of norms around 1, in eval mode."""
    for name, parameter in module.named_parameters():
        nn.init.normal_(parameter, mean=float("norm" in name and "weight" in name), std=0.4)
    return module.eval()


def variants_with(compressor: str) -> list[str]:
    """Names of the tiny models that a compressor works on."""
    configs = {
        name: from_tree(ModelConfig, {"backbone": own, "compressor": compressor}) for name, own in VARIANTS.items()
    }
    return [name for name, config in configs.items() if refusal(config) is None]
