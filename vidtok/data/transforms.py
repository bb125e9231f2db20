"""Clips as tensors: resize and crop on uint8, test views, normalisation on the device.

Frames come from the decoder as uint8 [T, H, W, 3] RGB and leave as uint8 [3, T, S, S]. They are resized as
they lie in memory (channels last): torch's antialiased uint8 kernel is ten times slower on planar pictures.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidtok.data.decode.info import is_strip

Box = tuple[int, int, int, int]
"""top, left, height, width in pixels"""


def resize(frames: Tensor, *, height: int, width: int) -> Tensor:
    """Resize uint8 frames [T, H, W, 3] to [T, height, width, 3], bilinear with antialias."""
    if frames.shape[1:3] == (height, width):
        return frames
    planes = frames.permute(0, 3, 1, 2)
    out = F.interpolate(planes, size=(height, width), mode="bilinear", antialias=True)
    return out.permute(0, 2, 3, 1)


def resize_short_side(frames: Tensor, *, short_side: int) -> Tensor:
    """Resize frames [T, H, W, 3], up or down, so that the shorter side has ``short_side`` pixels."""
    height, width = (_scaled(side, short_side, min(frames.shape[1:3])) for side in frames.shape[1:3])
    return resize(frames, height=height, width=width)


def _scaled(side: int, short_side: int, shorter: int) -> int:
    """``side * short_side / shorter``, rounded half up, as the decoder does when it resizes."""
    return (2 * side * short_side + shorter) // (2 * shorter)


def crop_and_resize(frames: Tensor, box: Box, *, size: int) -> Tensor:
    """Cut one box out of all frames [T, H, W, 3] and resize it to [T, size, size, 3]."""
    top, left, height, width = box
    return resize(frames[:, top : top + height, left : left + width], height=size, width=size)


def to_clip(frames: Tensor) -> Tensor:
    """Frames [..., T, H, W, 3] as contiguous clips [..., 3, T, H, W]."""
    return frames.movedim(-1, -4).contiguous()


def view_boxes(height: int, width: int, *, size: int, num_crops: int) -> list[Box]:
    """Square test crops: one in the centre, or three along the longer side (start, centre, end).

    Centres are rounded up, as in scenic and PySlowFast. Three crops of a square picture lie along its width,
    and are identical when its side is ``size``.
    """
    room_y, room_x = height - size, width - size
    assert min(room_y, room_x) >= 0 and num_crops in (1, 3), (height, width, size, num_crops)
    centre_y, centre_x = (room_y + 1) // 2, (room_x + 1) // 2
    if num_crops == 1:
        return [(centre_y, centre_x, size, size)]
    if height > width:
        return [(top, centre_x, size, size) for top in (0, centre_y, room_y)]
    return [(centre_y, left, size, size) for left in (0, centre_x, room_x)]


def source_boxes(height: int, width: int, *, short_side: int, size: int, num_crops: int) -> list[Box]:
    """The test crops in pictures that a decoder was asked to give with ``short_side``.

    A strip that it did not enlarge (:meth:`VideoInfo.scaled_size`) has the same crops, only in fewer pixels.
    """
    shorter = min(height, width)
    if shorter < short_side:
        size = max(1, round(size * shorter / short_side))
    return view_boxes(height, width, size=size, num_crops=num_crops)


def make_views(
    frames: Tensor,
    rows: Tensor,
    *,
    short_side: int,
    size: int,
    num_crops: int,
    check: Callable[[], None] = lambda: None,
) -> Tensor:
    """Cut all test views of a video.

    Args:
        frames: uint8 [F, H, W, 3], every frame that some view needs, once.
        rows: int64 [clips, T], which of them each temporal clip consists of.
        short_side: shorter side of the pictures before cropping [pixels], at least ``size``. Strips are cropped
            first and enlarged then: the rest of them is never made.
        size: side of the square crop [pixels].
        num_crops: 1 or 3, see :func:`view_boxes`.
        check: called before each step; raises when the time is over.

    Returns:
        uint8 [clips * num_crops, 3, T, size, size], the crops of the first clip first.
    """
    if min(frames.shape[1:3]) > short_side or not is_strip(*frames.shape[1:3]):
        frames = resize_short_side(frames, short_side=short_side)
    boxes = source_boxes(*frames.shape[1:3], short_side=short_side, size=size, num_crops=num_crops)
    if boxes[0][2] != size:
        crops = [crop_and_resize(frames, box, size=size) for box in boxes]
        frames, boxes = torch.cat(crops, dim=2), [(0, size * crop, size, size) for crop in range(num_crops)]
    check()
    views = torch.empty(len(rows), num_crops, 3, rows.shape[1], size, size, dtype=torch.uint8)
    # Through NumPy: torch takes three times as long to turn pictures and to copy so many small pieces.
    planes = np.stack([frames[..., channel].numpy() for channel in range(3)])  # [3, F, H, W]
    out = views.numpy()
    for clip, chosen in enumerate(rows.tolist()):
        check()
        for place, frame in enumerate(chosen):
            picture = planes[:, frame]
            for crop, (top, left, height, width) in enumerate(boxes):
                out[clip, crop, :, place] = picture[:, top : top + height, left : left + width]
    return views.flatten(0, 1)


def normalise(clips: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 clips [..., 3, T, H, W] in 0..255 -> float32 ``(clip / 255 - mean) / std``, on the clips' device.

    The same function serves training, evaluation and inference. Means and deviations stay Python numbers, so
    nothing is copied to a GPU.
    """
    out = clips / 255
    for channel in range(3):
        out.select(-4, channel).sub_(mean[channel]).div_(std[channel])
    return out
