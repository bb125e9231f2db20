"""Writes ``timm.json``: logits and a resized position table of timm, for weights that ``formula.py`` makes.

Run from the repository root in an environment of its own, since torchvision must not enter the project's:

    pip install torch==2.13.0 numpy safetensors huggingface_hub pyyaml
    pip install --no-deps timm==1.0.31 torchvision==0.28.0
    python -m tests.models.golden.make_timm
"""

import json
from pathlib import Path
from typing import Any

import torch

# torchvision's wheel fails to import beside a torch without CUDA unless these operators are declared first
LIBRARY = torch.library.Library("torchvision", "DEF")
for operator in ("nms", "qnms"):
    LIBRARY.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import timm  # noqa: E402
from timm.layers import resample_abs_pos_embed  # noqa: E402

from tests.models.golden import formula  # noqa: E402

CASES = {  # name: (timm's model, arguments)
    "vit_32": ("vit_tiny_patch16_224", {"img_size": 32, "depth": 2, "num_classes": 5}),
    "vit_48": ("vit_tiny_patch16_224", {"img_size": 48, "depth": 3, "num_classes": 5}),
    "deit": ("deit_tiny_patch16_224", {"img_size": 64, "depth": 2, "num_classes": 5}),
    "deit3": ("deit3_small_patch16_224", {"img_size": 32, "depth": 2, "num_classes": 5}),
    "mean": ("vit_tiny_patch16_224", {"img_size": 32, "depth": 2, "num_classes": 5, "global_pool": "avg"}),
}


def logits(name: str, arguments: dict[str, Any]) -> dict[str, object]:
    model = timm.create_model(name, **arguments).eval()
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({key: torch.from_numpy(value) for key, value in formula.weights(shapes).items()})
    picture = torch.from_numpy(formula.clip([2, 3, arguments["img_size"], arguments["img_size"]]))
    with torch.no_grad():
        return {"shapes": shapes, "logits": model(picture).tolist()}


def resized() -> list[list[float]]:
    """A table of a cls row and 4x4 positions, at 6x6."""
    table = torch.from_numpy(formula.clip([1, 17, 3]))
    return resample_abs_pos_embed(table, new_size=[6, 6], num_prefix_tokens=1)[0].tolist()


if __name__ == "__main__":
    golden = {"timm": timm.__version__, "cases": {key: logits(*case) for key, case in CASES.items()}, "6x6": resized()}
    Path(__file__).with_name("timm.json").write_text(json.dumps(golden) + "\n", encoding="utf-8")
