"""From views of a video to class scores: the one path of evaluation, ``vidtok infer`` and the Python API.

Shapes: V views, C classes, T frames, S side of the crop.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from vidtok.config import Budget
from vidtok.data.transforms import normalise
from vidtok.errors import ConfigError, EnvironmentFault
from vidtok.models.backbones import VideoModel
from vidtok.text import brief

Average = Literal["logits", "probs"]
Precision = Literal["fp32", "bf16", "fp16"]

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
MAX_CLIPS = 100
NOT_FINITE = "scores are not finite: the weights, or a number made from them, are NaN or infinite"

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Compute:
    """Where a model runs and in which arithmetic; weights stay float32."""

    device: torch.device
    precision: Precision

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which matrix products run in the chosen precision."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_DTYPES[self.precision])


def choose_compute(device: str = "auto", precision: str = "auto") -> Compute:
    """Resolve ``run.device`` and ``run.precision``.

    ``auto`` is the GPU when there is one, with bfloat16 products where it has them; else the CPU in float32. Evaluation
    and inference use ``auto`` unless they are told otherwise, whatever the run was trained in, so that their scores of
    the same views are equal.

    Raises:
        ConfigError: another device than auto, cpu, cuda or cuda:0; another precision; fp16 on the CPU.
        EnvironmentFault: a GPU is asked for and absent.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", device):
        raise ConfigError(f"device '{device}' is unknown; choose auto, cpu, cuda or cuda:0")
    if precision not in PRECISIONS:
        raise ConfigError(f"precision '{precision}' is unknown; choose one of {', '.join(PRECISIONS)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EnvironmentFault(
            "device 'cuda' is asked for and torch sees no GPU; use --device cpu, or see `vidtok doctor`"
        )
    number, count = int(device.partition(":")[2] or 0), torch.cuda.device_count()
    if device.startswith("cuda") and number >= count:
        raise EnvironmentFault(f"device '{device}' is not there: torch sees {count}, so the last is cuda:{count - 1}")
    if device == "cpu" and precision == "fp16":
        raise ConfigError("precision 'fp16' needs a GPU; on the CPU choose fp32, or bf16")
    if precision == "auto":
        precision = "bf16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "fp32"
    return Compute(torch.device(device), precision)


def parse_views(text: str) -> tuple[int, int]:
    """``4x3`` -> (4, 3): temporal clips x spatial crops. Raises ConfigError."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})x([13])", text.strip().lower())
    if match is None or int(match[1]) > MAX_CLIPS:
        raise ConfigError(
            f"views '{brief(text)}' are not clips x crops like 4x3; clips are 1 to {MAX_CLIPS}, crops 1 or 3"
        )
    return int(match[1]), int(match[2])


@torch.inference_mode()
def view_logits(model: VideoModel, views: Tensor, *, compute: Compute, batch_size: int = 16) -> Tensor:
    """Logits of every view: uint8 [V, 3, T, S, S] -> float32 [V, C] on the CPU.

    The model must be in eval mode and on ``compute.device``.
    """
    assert not model.training
    clip = model.preprocessing
    batches = []
    for batch in views.split(batch_size):
        with compute.autocast():
            logits = model(normalise(batch.to(compute.device), clip.mean, clip.std))
        batches.append(logits.float().cpu())
    return torch.cat(batches)


def average_views(logits: Tensor, average: Average, *, multi_label: bool = False) -> Tensor:
    """Combine views: logits [..., V, C] -> probabilities [..., C], in float32.

    ``logits``: softmax of the mean logits; ``probs``: mean of the views' softmax; sigmoids with ``multi_label``. One
    logit that is not finite makes all of them NaN: a sigmoid would hide it.
    """
    logits = logits.float()
    is_broken = ~logits.isfinite().flatten(-2).all(-1, keepdim=True)  # [..., 1]
    if average == "logits":
        logits = logits.mean(-2, keepdim=True)
    probs = logits.sigmoid() if multi_label else logits.softmax(-1)
    return probs.mean(-2).masked_fill(is_broken, torch.nan)


def predict_views(
    model: VideoModel, views: Tensor, *, compute: Compute, average: Average, batch_size: int = 16
) -> Tensor:
    """Class probabilities of one video: uint8 views [V, 3, T, S, S] -> float32 [C] on the CPU."""
    logits = view_logits(model, views, compute=compute, batch_size=batch_size)
    return average_views(logits, average, multi_label=model.multi_label)


def class_labels(model: VideoModel, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """What classes are called in results: the checkpoint's names, else ``names``, else their numbers."""
    return tuple(model.class_names or names or map(str, range(model.num_classes)))


def top_classes(probs: Tensor, labels: Sequence[str], *, topk: int) -> list[dict[str, Any]]:
    """The best classes of one video, best first; ``topk`` is clipped to the number of classes."""
    scores, indices = probs.topk(min(topk, len(labels)))
    return [
        {"label": labels[index], "score": round(score, 6)}
        for score, index in zip(scores.tolist(), indices.tolist(), strict=True)
    ]


@contextmanager
def at_budget(model: VideoModel, budget: Budget | None) -> Iterator[None]:
    """Run the model at ``budget`` (None: as it is) and put its own back. Raises ConfigError."""
    before = model.budget
    if budget is not None:
        model.set_budget(budget)
    try:
        yield
    finally:
        if budget is not None and before is not None:
            model.set_budget(before)
