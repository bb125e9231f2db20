"""Rotation, shear and translation of a clip, together with the crop: one sampling of the stored pixels.

Matrices map a point (x, y, 1) of the changed picture to its place in the stored one, in pixels from the top left
corner, y downwards; they follow PIL's conventions, so shears keep the top left corner and rotations the centre.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidtok.data.pixels import Op
from vidtok.data.transforms import Box, resize

FILL = 128
"""Grey level of what lies outside the stored picture."""

_ALIASING = 1.5
"""A box this many times larger than the result is shrunk first: sampling alone would skip pixels."""

Matrix = NDArray[np.float64]


def _rotate(degrees: float, height: int, width: int) -> Matrix:
    """Counter-clockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2, height / 2
    return np.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y], [0, 0, 1]])


def _shear_x(share: float, height: int, width: int) -> Matrix:
    return np.array([[1, share, 0], [0, 1, 0], [0, 0, 1]])


def _shear_y(share: float, height: int, width: int) -> Matrix:
    return np.array([[1, 0, 0], [share, 1, 0], [0, 0, 1]])


def _translate_x(share: float, height: int, width: int) -> Matrix:
    return np.array([[1, 0, share * width], [0, 1, 0], [0, 0, 1]])


def _translate_y(share: float, height: int, width: int) -> Matrix:
    return np.array([[1, 0, 0], [0, 1, share * height], [0, 0, 1]])


WARP_OPS: dict[str, Callable[[float, int, int], Matrix]] = {
    "rotate": _rotate,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}


def warp_crop_and_resize(frames: Tensor, ops: Sequence[Op], box: Box, *, size: int) -> Tensor:
    """Apply operations in order to frames, then cut a box and resize it, bilinear, in one step.

    Args:
        frames: uint8 [T, H, W, 3].
        ops: of :data:`WARP_OPS`.
        box: of the changed picture.
        size: side of the result.

    Returns:
        uint8 [T, size, size, 3].
    """
    shrink = min(box[2:]) / size
    if shrink > _ALIASING:
        frames = resize(frames, height=round(frames.shape[1] / shrink), width=round(frames.shape[2] / shrink))
        box = tuple(round(side / shrink) for side in box)
    height, width = frames.shape[1:3]
    matrix = np.eye(3)
    for op in ops:
        matrix = matrix @ WARP_OPS[op.name](op.amount, height, width)
    return _sample(frames, *_places(matrix @ _box_matrix(box, size), size))


def _box_matrix(box: Box, size: int) -> Matrix:
    """From the result, ``size`` pixels a side, to its box."""
    top, left, height, width = box
    return np.array([[width / size, 0, left], [0, height / size, top], [0, 0, 1]])


def _places(matrix: Matrix, size: int) -> tuple[Tensor, Tensor]:
    """Where the pixels of the result lie in the stored picture: x and y [size, size], 0 at the first pixel's centre."""
    (xx, xy, x0), (yx, yy, y0) = matrix[:2].tolist()
    centres = torch.arange(size) + 0.5
    across, down = centres, centres[:, None]
    return xx * across + xy * down + (x0 - 0.5), yx * across + yy * down + (y0 - 0.5)


def _sample(frames: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear values of all frames [T, H, W, 3] at the same places [S, S]; FILL outside. uint8 [T, S, S, 3]."""
    top, bottom = _needed(y, frames.shape[1])
    left, right = _needed(x, frames.shape[2])
    frames = frames[:, top:bottom, left:right]
    height, width = frames.shape[1:3]
    grid = torch.stack(((x - left + 0.5) * (2 / width) - 1, (y - top + 0.5) * (2 / height) - 1), -1)[None]
    out = torch.empty(len(frames), 3, *x.shape, dtype=torch.uint8)
    for frame, picture in enumerate(frames):  # one at a time: floats of a whole clip do not fit into the cache
        planes = picture.permute(2, 0, 1)[None].float().sub_(FILL)
        out[frame] = F.grid_sample(planes, grid, mode="bilinear", align_corners=False)[0].add_(FILL + 0.5)
    return out.permute(0, 2, 3, 1)


def _needed(places: Tensor, side: int) -> tuple[int, int]:
    """First and last but one of the stored rows, or columns, that some place needs; at least one."""
    first = min(max(math.floor(places.min()), 0), side - 1)
    return first, max(min(math.floor(places.max()) + 2, side), first + 1)
