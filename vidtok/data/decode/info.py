"""What is known of a video before its frames are read, and how stored pictures become displayed ones."""

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from av.video.frame import VideoFrame

from vidtok.errors import DecodeError

DEADLINE_SECONDS = 120.0
"""Longest time that opening a file, or one read from it, may take."""

PixelFormat = Literal["rgb", "yuv420"]
"""``rgb``: pictures [H, W, 3]. ``yuv420``: the stored planes Y, U, V of half the bytes, as one [H * 3 / 2, W]."""

ORDINARY_RATIO = 8
"""Of the longer side of a picture to the shorter one; nothing that was filmed has more."""

_MATRICES = {1: "bt709", 4: "fcc", 7: "smpte240m", 9: "bt2020"}
"""FFmpeg's AVColorSpace by name; all others, unknown ones first, are taken for BT.601, as FFmpeg's scaler does."""

_FULL_RANGE = 2
"""FFmpeg's AVCOL_RANGE_JPEG."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """One video as it is displayed: its frames in presentation order after edit lists, size after rotation.

    Pixels are taken as square: a sample aspect ratio in the file is not applied, as in other loaders.
    """

    path: str
    num_frames: int
    """Decodable frames."""
    pts_seconds: np.ndarray
    """float64 [num_frames], never falling: presentation time of each frame, the first one at 0."""
    fps: float
    """Mean frame rate, (num_frames - 1) / (last - first pts); the container's when that is undefined. Above 0."""
    width: int
    height: int
    rotation: int
    """0, 90, 180 or 270: degrees counter-clockwise by which the stored pictures were turned for display."""
    codec: str
    matrix: str = "bt601"
    """Which RGB the stored luma and chroma stand for: bt601, bt709, bt2020, fcc or smpte240m."""
    is_full_range: bool = False
    """Luma is stored in 0..255 instead of 16..235."""

    @property
    def duration_seconds(self) -> float:
        """Time from the first frame to the end of the last one, which is shown for 1 / fps."""
        return float(self.pts_seconds[-1]) + 1.0 / self.fps

    def scaled_size(self, short_side: int | None) -> tuple[int, int]:
        """(width, height) with the shorter side brought to ``short_side`` and the aspect kept.

        Down, and up too unless one side is more than :data:`ORDINARY_RATIO` times the other: enlarging such a strip
        would make millions of pixels of which a crop sees few.
        """
        if short_side is None:
            return self.width, self.height
        if short_side < 1:
            raise ValueError(f"short_side is {short_side}; it must be at least 1 pixel")
        shorter = min(self.width, self.height)
        if is_strip(self.width, self.height):
            short_side = min(short_side, shorter)
        width, height = ((2 * side * short_side + shorter) // (2 * shorter) for side in (self.width, self.height))
        return width, height

    def picture_shape(self, short_side: int | None, pixel_format: PixelFormat) -> tuple[int, ...]:
        """Shape of one picture; as YUV both sides are rounded up to even numbers."""
        width, height = self.scaled_size(short_side)
        if pixel_format == "rgb":
            return height, width, 3
        width, height = width + width % 2, height + height % 2
        return height * 3 // 2, width


def is_strip(width: int, height: int) -> bool:
    """True for pictures so long that they are cropped before they are enlarged."""
    return max(width, height) > ORDINARY_RATIO * min(width, height)


def colour_of(frame: VideoFrame) -> tuple[str, bool]:
    """Matrix and full range of a picture's YUV; see :class:`VideoInfo`."""
    return _MATRICES.get(int(frame.colorspace), "bt601"), int(frame.color_range) == _FULL_RANGE


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a stored picture is turned for display: axes swapped first, then flipped."""

    transpose: bool = False
    flip_y: bool = False
    flip_x: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> "Orientation":
        """Read a frame's display matrix, which sends a stored point (x, y) to (a x + c y, b x + d y)."""
        # PyAV ties a frame to its side data in a cycle, which would keep the whole picture in memory until the
        # garbage collector comes by. So the matrix is read off a copy of four pixels.
        copy = frame.reformat(width=2, height=2, format="gray", interpolation="POINT", threads=1)
        side_data = copy.side_data.get("DISPLAYMATRIX")
        if side_data is None:
            return cls()
        a, b, _, c, d = np.frombuffer(bytes(side_data), dtype=np.int32)[:5].tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, flip_y=d < 0, flip_x=a < 0)
        return cls(True, flip_y=b < 0, flip_x=c < 0)

    @property
    def is_mirrored(self) -> bool:
        """True when no rotation alone gives the displayed picture."""
        return self.transpose ^ self.flip_y ^ self.flip_x

    @property
    def rotation(self) -> int:
        """Degrees counter-clockwise (0, 90, 180, 270); of a mirrored picture, those applied before the mirror."""
        if self.transpose:
            return 90 if self.flip_y else 270
        return 180 if self.flip_y else 0

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """View a stored picture [H, W, 3] as displayed."""
        if self.transpose:
            picture = picture.swapaxes(0, 1)
        return picture[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


class FrameListChanged(DecodeError):
    """Decoding proved the frame list wrong while reading. The reader's ``info`` now holds the true one."""


class Deadline:
    """A moment after which work on one file is given up."""

    def __init__(self, path: str, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raise DecodeError when the time is over."""
        if time.monotonic() > self._end:
            raise self.error()

    def remaining(self) -> float:
        """Seconds left, at least a moment."""
        return max(self._end - time.monotonic(), 0.01)

    def error(self) -> DecodeError:
        """What to raise when the time is over."""
        return late(self._path, self._seconds)


def late(path: str, seconds: float) -> DecodeError:
    """What to raise when a file took longer than allowed."""
    return DecodeError(
        f"{path}: not decoded within the deadline of {seconds:g} s; "
        "re-encode the file (ffmpeg -i IN OUT.mp4) or leave it out"
    )


def frame_times(pts: list[int | None], time_base: float, container_rate: float) -> tuple[np.ndarray, float]:
    """Times and rate of frames in output order.

    Args:
        pts: presentation times in units of ``time_base`` seconds, None where the file has none.
        time_base: seconds per unit.
        container_rate: frames per second that the container states; used where pts say nothing.

    Returns:
        float64 [len(pts)] seconds, never falling, first one 0; and frames per second, above 0.
    """
    if any(value is None for value in pts):
        return np.arange(len(pts)) / container_rate, container_rate
    # Old AVI encoders number packed frames out of order: the order of output is right, the numbers get sorted.
    units = np.sort(np.array(pts, dtype=np.int64))
    seconds = (units - units[0]).astype(np.uint64) * time_base  # unsigned: times that lie may be 2**64 units apart
    rate = (len(pts) - 1) / seconds[-1] if seconds[-1] > 0 else container_rate
    return seconds, float(rate)


def unique_numbers(indices: np.ndarray, info: VideoInfo) -> tuple[np.ndarray, np.ndarray]:
    """Distinct frame numbers asked for, so that each is decoded once.

    Args:
        indices: integers [T] in any order, repeats allowed.
        info: the video they are numbers of.

    Returns:
        int64 [K], rising, and int64 [T] such that ``unique[places] == indices``.

    Raises:
        IndexError: a number is outside [0, num_frames).
    """
    indices = np.asarray(indices, dtype=np.int64)
    if indices.ndim != 1:
        raise ValueError(f"frame numbers have shape {indices.shape}; flatten them to one axis")
    if indices.size and (indices.min() < 0 or indices.max() >= info.num_frames):
        raise IndexError(f"{info.path}: frames {indices.min()}..{indices.max()} asked of 0..{info.num_frames - 1}")
    return np.unique(indices, return_inverse=True)
