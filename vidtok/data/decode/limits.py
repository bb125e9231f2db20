"""What one video may cost. A file that wants more is refused before the memory is taken."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from vidtok.config import DataConfig
from vidtok.data.decode.info import PixelFormat, VideoInfo
from vidtok.errors import DecodeError


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits:
    """Bounds that hold for every file, whatever its tables say."""

    read_bytes: int = 1024 * 2**20
    """Of the decoded frames that one read gives."""
    frame_pixels: int = 8192 * 8192
    """Width times height of a stored picture."""

    @classmethod
    def of(cls, data: DataConfig) -> Self:
        """Those of a recipe."""
        return cls(read_bytes=data.max_clip_mb * 2**20, frame_pixels=data.max_pixels)

    def check_picture(self, path: str, width: int, height: int, *, what: str = "its pictures") -> None:
        """Raise DecodeError when pictures have more pixels than allowed."""
        if width * height > self.frame_pixels:
            raise DecodeError(
                f"{path}: {what} would take {width}x{height} pixels, more than data.max_pixels={self.frame_pixels}; "
                "re-encode it smaller or leave it out"
            )

    def empty_frames(
        self, info: VideoInfo, count: int, *, short_side: int | None, pixel_format: PixelFormat, asked: int
    ) -> np.ndarray:
        """Room for ``count`` distinct pictures, uint8 [count, ...], of which ``asked`` are handed out with repeats.

        Raises:
            DecodeError: they would take more bytes than allowed.
        """
        shape = info.picture_shape(short_side, pixel_format)
        num_bytes = max(count, asked) * int(np.prod(shape))
        if num_bytes > self.read_bytes:
            width, height = info.scaled_size(short_side)
            raise DecodeError(
                f"{info.path}: {max(count, asked)} frames of {width}x{height} would take {num_bytes / 2**20:.0f} MiB, "
                f"more than data.max_clip_mb={self.read_bytes // 2**20}; re-encode it smaller, ask for fewer frames or "
                "raise that"
            )
        return np.empty((count, *shape), dtype=np.uint8)


DEFAULT_LIMITS = DecodeLimits()
"""Those of ``DataConfig()``."""
