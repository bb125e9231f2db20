"""From decoded pictures to arrays: colours, size and display orientation.

FFmpeg is fast at converting to RGB in stored size (0.04 ms for 340 x 256), slow at scaling in the same go (0.37 ms),
and then far off where colours are saturated. So pictures become RGB first, and a few together are then resized by
torch with antialias, to 298 x 224 in 0.14 ms each: above 38 dB to a conversion in floating point on all files tried.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter

from vidtok.data.decode.info import Orientation, PixelFormat, colour_of

_MOST_TOGETHER = 4
_MOST_BYTES = 32 * 2**20
"""Pictures resized together: they should stay in the processor's cache, and large ones not pile up."""


class Converter:
    """Turns the pictures of one video into arrays. A picture to be scaled is there only after :meth:`flush`.

    Args:
        orientation: how stored pictures are turned for display.
        check: called before pictures are converted or resized; raises when the time is over.
    """

    def __init__(self, orientation: Orientation, check: Callable[[], None] = lambda: None) -> None:
        self._orientation = orientation
        self._check = check
        self._reformat = partial(VideoReformatter().reformat, threads=1)  # one object keeps its tables
        self._waiting: list[np.ndarray] = []
        self._stored = np.empty((0, 0, 0, 3), np.uint8)

    def store(self, frame: VideoFrame, picture: np.ndarray, pixel_format: PixelFormat) -> None:
        """Fill ``picture``, scaled to its size, in the format asked for. Raises av.FFmpegError.

        Args:
            frame: the decoded picture.
            picture: uint8 [H, W, 3] for ``rgb``; [H * 3 / 2, W] with even H and W for ``yuv420``, whose planes FFmpeg
                scales.
            pixel_format: which of them.
        """
        self._check()
        if pixel_format == "yuv420":
            self._store_yuv420(frame, picture)
        elif (frame.height, frame.width) == self._stored_size(*picture.shape[:2]):
            picture[:] = self._orientation.apply(self._to_rgb(frame))
        else:
            self._store_later(frame, picture)

    def flush(self) -> None:
        """Resize what waits for it."""
        if not self._waiting:
            return
        self._check()
        height, width = self._stored_size(*self._waiting[0].shape[:2])
        scaled = resized(self._stored[: len(self._waiting)], height=height, width=width)
        for picture, pixels in zip(self._waiting, scaled, strict=True):
            picture[:] = self._orientation.apply(pixels)
        self._waiting = []

    def _store_later(self, frame: VideoFrame, picture: np.ndarray) -> None:
        shape = (frame.height, frame.width, 3)
        if 2 * np.prod(shape) > _MOST_BYTES:
            pixels = np.ascontiguousarray(self._to_rgb(frame))[None]
            height, width = self._stored_size(*picture.shape[:2])
            picture[:] = self._orientation.apply(resized(pixels, height=height, width=width)[0])
            return
        if self._waiting and (self._waiting[0].shape != picture.shape or self._stored.shape[1:] != shape):
            self.flush()
        if self._stored.shape[1:] != shape:
            self._stored = np.empty((min(_MOST_TOGETHER, _MOST_BYTES // np.prod(shape)), *shape), np.uint8)
        self._stored[len(self._waiting)] = self._to_rgb(frame)
        self._waiting.append(picture)
        if len(self._waiting) == len(self._stored):
            self.flush()

    def _to_rgb(self, frame: VideoFrame) -> np.ndarray:
        """uint8 [stored height, width, 3]; a view."""
        plane = self._reformat(frame, format="rgb24").planes[0]
        return _pixels(plane, 3 * frame.width).reshape(frame.height, frame.width, 3)

    def _store_yuv420(self, frame: VideoFrame, picture: np.ndarray) -> None:
        height, width = self._stored_size(picture.shape[0] * 2 // 3, picture.shape[1])
        _, is_full_range = colour_of(frame)
        frame = self._reformat(frame, width=width, height=height, format="yuvj420p" if is_full_range else "yuv420p")
        for plane, target in zip(frame.planes, split_planes(picture), strict=True):
            target[:] = self._orientation.apply(_pixels(plane, plane.width))

    def _stored_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) before the picture is turned for display."""
        return (width, height) if self._orientation.transpose else (height, width)


def resized(frames: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """uint8 pictures [T, H, W, 3] in another size, whatever engine decoded them."""
    import torch  # not at the top: who does not scale does without

    from vidtok.data.transforms import resize

    return resize(torch.from_numpy(frames), height=height, width=width).numpy()


def split_planes(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Views of Y [H, W], U and V [H / 2, W / 2] in one contiguous picture [H * 3 / 2, W]."""
    width, luma = picture.shape[1], picture.shape[0] * 2 // 3
    chroma = picture[luma:].reshape(2, luma // 2, width // 2)
    return picture[:luma], chroma[0], chroma[1]


def _pixels(plane: VideoPlane, row_bytes: int) -> np.ndarray:
    """View of a plane without the padding of its rows, uint8 [plane height, row_bytes]."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, :row_bytes]
