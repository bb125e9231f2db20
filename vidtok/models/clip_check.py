"""Whether a tensor is a clip that a model takes, and what it is instead.

Shapes: B batch, T frames, H W pixels.
"""

from typing import Any

import torch
from torch import Tensor

from vidtok.errors import DataError

_BATCHED = {  # axes of B C T H W in the order in which they arrive: what to do
    (0, 2, 1, 3, 4): "transformers puts time before colour: clip.transpose(1, 2)",
    (0, 2, 3, 4, 1): "decoders put colour last: clip.permute(0, 4, 1, 2, 3)",
}
_SINGLE = {  # the same for C T H W
    (0, 1, 2, 3): "the batch dimension is missing: clip[None]",
    (1, 0, 2, 3): "time comes before colour, and the batch dimension is missing: clip.transpose(0, 1)[None]",
    (1, 2, 3, 0): "colour comes last, and the batch dimension is missing: clip.permute(3, 0, 1, 2)[None]",
}
_NORMALISE = "turn bytes into (clip / 255 - mean) / std with mean and std of model.preprocessing"
_LARGEST = 30.0
"""No normalised pixel is larger: white under the mean and deviation of any public weights is below 5."""


def check_clip(clip: Tensor, expected: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    """Raise DataError unless ``clip`` is [B, *expected] of floats; ``expected`` is (3, T, H, W).

    Without autocast its type must be ``dtype``, the weights'. Looks at shape and type alone: nothing is computed or
    copied, and a captured graph keeps its batch open.
    """
    if not isinstance(clip, Tensor) or clip.ndim != 5 or clip.shape[1:] != expected or not clip.is_floating_point():
        raise DataError(clip_fault(clip, expected))
    if clip.dtype != dtype and not torch.is_autocast_enabled(clip.device.type):
        raise DataError(f"expected a clip of {dtype}, as the weights, got {clip.dtype}; clip.to({dtype})")


def check_range(clip: Tensor) -> None:
    """Raise DataError for a clip on the CPU whose values are those of bytes; on other devices it is not looked at."""
    if clip.device.type == "cpu" and clip.numel() and (largest := clip.abs().max().item()) > _LARGEST:
        raise DataError(f"expected a normalised clip, got values up to {largest:.4g}; {_NORMALISE}")


def clip_fault(clip: Any, expected: tuple[int, int, int, int]) -> str:
    """What was expected, what arrived and how to get from one to the other, in one sentence."""
    shape = ", ".join(map(str, expected))
    if not isinstance(clip, Tensor):
        return f"expected a float clip [B, {shape}], got a {type(clip).__name__}, not a tensor; torch.as_tensor(clip)"
    kind = "" if clip.is_floating_point() else f" of {str(clip.dtype).removeprefix('torch.')}"
    return f"expected a float clip [B, {shape}], got {list(clip.shape)}{kind}; {_advice(clip, expected)}"


def _advice(clip: Tensor, expected: tuple[int, int, int, int]) -> str:
    orders = {5: _BATCHED, 4: _SINGLE}.get(clip.ndim, {})
    wanted = (-1, *expected) if clip.ndim == 5 else expected
    arrived = (-1, *clip.shape[1:]) if clip.ndim == 5 else tuple(clip.shape)
    parts = [how for order, how in orders.items() if arrived == tuple(wanted[axis] for axis in order)]
    if clip.ndim == 5 and not parts:
        parts = _differences(tuple(clip.shape[1:]), expected)
    if not clip.is_floating_point():
        parts.append(_NORMALISE)
    return "; ".join(parts) or "axes are batch, colour, time, height, width"


def _differences(shape: tuple[int, ...], expected: tuple[int, ...]) -> list[str]:
    """Of another clip than the model's; nothing when the shape is right."""
    parts = []
    if shape[0] != expected[0]:
        parts.append(f"{expected[0]} colours are wanted in axis 1, {shape[0]} arrive")
    if shape[1] != expected[1]:
        parts.append(f"{expected[1]} frames are wanted, {shape[1]} arrive: choose them, or build with num_frames")
    if shape[2:] != expected[2:]:
        parts.append(f"{expected[2]} pixels a side are wanted: resize and crop, or build with image_size")
    return parts
