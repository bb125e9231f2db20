"""Changes of pixel values on uint8 clips [3, T, H, W]: the same change for every frame.

The operations are those of PIL's ImageOps and ImageEnhance, which timm's RandAugment uses. What depends on the picture
(autocontrast, equalize, the mean of contrast) is taken from the whole clip and not from each frame, so nothing
flickers. Neighbouring operations that treat every pixel value alike become one table lookup.

Differs from PIL: greys are rounded once, at the end, so values may be one level off. Differs from torchvision and
scenic: hue turns the colours in YIQ space, a linear operation, and not in HSV.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Tables = NDArray[np.uint8]
"""[3, 256]: the new value of every value, per channel"""

_LUMA = np.array([0.299, 0.587, 0.114])
_YIQ = np.array([_LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_LEVELS = np.arange(256)


@dataclass(frozen=True, slots=True)
class Op:
    """One operation of a policy; what ``amount`` means is the operation's affair."""

    name: str
    amount: float = 0.0


def apply_pixel_ops(clip: Tensor, ops: Sequence[Op]) -> Tensor:
    """Apply operations in order to a contiguous uint8 clip [3, T, H, W]; the clip itself stays."""
    tables: Tables | None = None
    for op in ops:
        if op.name in TABLE_OPS:
            tables = _joined(tables, TABLE_OPS[op.name](op.amount, _Counts(clip, tables)))
        else:
            clip, tables = CLIP_OPS[op.name](_look_up(clip, tables), op.amount), None
    return _look_up(clip, tables)


def _joined(tables: Tables | None, then: NDArray[np.uint8]) -> Tables:
    """One table instead of two, the second one [256] or [3, 256]."""
    then = np.broadcast_to(then, (3, 256))
    return then if tables is None else np.take_along_axis(then, tables.astype(np.int64), axis=1)


def _look_up(clip: Tensor, tables: Tables | None) -> Tensor:
    if tables is None:
        return clip
    out = torch.empty_like(clip)
    for channel, table in enumerate(tables):
        # twice as fast as NumPy's take, four times as fast as indexing with torch
        changed = bytearray(clip[channel].numpy()).translate(table.tobytes())
        out[channel] = torch.frombuffer(changed, dtype=torch.uint8).view(clip.shape[1:])
    return out


class _Counts:
    """How often each value occurs in a clip after pending tables; counted only when asked for."""

    def __init__(self, clip: Tensor, tables: Tables | None) -> None:
        self._clip, self._tables = clip, tables

    def per_channel(self) -> NDArray[np.int64]:
        """[3, 256]."""
        counts = np.stack([torch.bincount(plane.flatten(), minlength=256).numpy() for plane in self._clip])
        if self._tables is None:
            return counts
        return np.stack([np.bincount(table, weights=row, minlength=256).astype(np.int64)
                         for table, row in zip(self._tables, counts, strict=True)])  # fmt: skip

    def mean_grey(self) -> int:
        """Mean luma of all pixels, rounded."""
        counts = self.per_channel()
        return int(_LUMA @ (counts @ _LEVELS) / counts[0].sum() + 0.5)


# ------------------------------------------------------------------------------------------- tables


def _autocontrast(_: float, counts: _Counts) -> Tables:
    """Each channel is stretched to 0..255."""
    return np.stack([_stretched(np.flatnonzero(row)) for row in counts.per_channel()])


def _stretched(present: NDArray[np.int64]) -> Tables:
    low, high = present[0], present[-1]
    if low == high:
        return _LEVELS.astype(np.uint8)
    scale = 255.0 / (high - low)
    return _to_levels(_LEVELS * scale - low * scale)


def _equalize(_: float, counts: _Counts) -> Tables:
    """Each channel's values become equally frequent."""
    return np.stack([_equalized(row) for row in counts.per_channel()])


def _equalized(row: NDArray[np.int64]) -> Tables:
    step = (row.sum() - row[np.flatnonzero(row)[-1]]) // 255
    if step == 0:
        return _LEVELS.astype(np.uint8)
    below = np.cumsum(row) - row
    return np.minimum((step // 2 + below) // step, 255).astype(np.uint8)


def _invert(_: float, __: _Counts) -> Tables:
    return (255 - _LEVELS).astype(np.uint8)


def _posterize(bits: float, _: _Counts) -> Tables:
    """Keeps the highest ``bits`` bits."""
    return (_LEVELS & ~(2 ** (8 - int(bits)) - 1)).astype(np.uint8)


def _solarize(threshold: float, _: _Counts) -> Tables:
    """Inverts values from ``threshold`` on."""
    return np.where(threshold > _LEVELS, _LEVELS, 255 - _LEVELS).astype(np.uint8)


def _solarize_add(amount: float, _: _Counts) -> Tables:
    """Adds to the darker half."""
    return np.where(_LEVELS < 128, np.minimum(_LEVELS + int(amount), 255), _LEVELS).astype(np.uint8)


def _brightness(factor: float, _: _Counts) -> Tables:
    return _to_levels(_LEVELS * factor)


def _contrast(factor: float, counts: _Counts) -> Tables:
    """Moves values away from, or towards, the mean grey."""
    grey = counts.mean_grey()
    return _to_levels(grey + factor * (_LEVELS - grey))


def _to_levels(values: NDArray[np.float64]) -> Tables:
    return np.clip(values, 0, 255).astype(np.uint8)


TABLE_OPS: dict[str, Callable[[float, _Counts], Tables]] = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "invert": _invert,
    "posterize": _posterize,
    "solarize": _solarize,
    "solarize_add": _solarize_add,
    "brightness": _brightness,
    "contrast": _contrast,
}


# --------------------------------------------------------------------- channels and neighbourhoods


@dataclass(frozen=True, slots=True)
class ColorTwist:
    """Brightness, contrast, saturation and hue in one linear change of the colours.

    Without rounding and clipping in between their order makes no difference: saturation and hue leave greys alone,
    and contrast stretches colours away from the mean grey of the clip.
    """

    brightness: float = 1.0
    """Factor."""
    contrast: float = 1.0
    """Factor; 0 is a plain grey."""
    saturation: float = 1.0
    """Factor; 0 is a grey picture."""
    hue: float = 0.0
    """Turn of the colours around the grey axis; 1 is a full one."""

    def apply(self, clip: Tensor) -> Tensor:
        """uint8 [3, T, H, W] -> the same, changed."""
        matrix = torch.from_numpy(self.brightness * self.contrast * self._chroma_matrix()).float()
        grey = _mean_grey(clip) if self.contrast != 1 else 0.0
        offset = torch.full((3, 1), self.brightness * (1 - self.contrast) * grey + 0.5)  # half a level for rounding
        out = torch.empty_like(clip)
        for frame in range(clip.shape[1]):  # one at a time: floats of a whole clip do not fit into the cache
            mixed = torch.addmm(offset, matrix, clip[:, frame].flatten(1).float())
            out[:, frame] = mixed.clamp_(0, 255).view_as(out[:, frame])
        return out

    def _chroma_matrix(self) -> NDArray[np.float64]:
        """[3, 3]: what saturation and hue do to a colour."""
        cos, sin = (self.saturation * wave(2 * math.pi * self.hue) for wave in (math.cos, math.sin))
        return np.linalg.inv(_YIQ) @ np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]]) @ _YIQ


def _mean_grey(clip: Tensor) -> float:
    """Mean luma of all pixels."""
    frames = [clip[:, frame].flatten(1).float().mean(1) for frame in range(clip.shape[1])]
    return float(torch.stack(frames).mean(0).double() @ torch.from_numpy(_LUMA))


def _color(clip: Tensor, factor: float) -> Tensor:
    return ColorTwist(saturation=factor).apply(clip)


def _sharpness(clip: Tensor, factor: float) -> Tensor:
    """Moves values away from, or towards, those of PIL's 3 x 3 smoothing; the outermost pixels stay."""
    out = clip.clone()
    for frame in range(clip.shape[1]):  # one at a time, for the cache
        out[:, frame, 1:-1, 1:-1] = _sharpened(clip[:, frame], factor)
    return out


def _sharpened(planes: Tensor, factor: float) -> Tensor:
    """uint8 [3, H, W] -> float [3, H - 2, W - 2] in 0..255, to be truncated."""
    wide = planes.to(torch.int16)
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    square = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth_share = (1 - factor) / 13  # the smoothing is the sum of the square plus 4 x the centre, by 13
    out = square.float().mul_(smooth_share).add_(wide[:, 1:-1, 1:-1], alpha=factor + 4 * smooth_share)
    return out.add_(0.5).clamp_(0, 255)


CLIP_OPS: dict[str, Callable[[Tensor, float], Tensor]] = {"color": _color, "sharpness": _sharpness}
