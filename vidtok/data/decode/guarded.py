"""What engines other than PyAV share: a guard in front, PyAV behind.

The packet index says whether an engine was found exact on files of this kind. Where it was not, and where the engine
fails or contradicts the index, PyAV reads the file, and ``fallback`` says why.
"""

import os
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import numpy as np

from vidtok.data.decode.convert import resized
from vidtok.data.decode.info import DEADLINE_SECONDS, FrameListChanged, PixelFormat, VideoInfo, unique_numbers
from vidtok.data.decode.limits import DEFAULT_LIMITS, DecodeLimits
from vidtok.data.decode.pyav import PyAVReader

_PIXEL_FORMATS = ("yuv420p", "yuvj420p")
"""What engines were compared on: bit-equal or above 46 dB to PyAV. With 10 bits decord is at 26 dB."""


class Refusal(Exception):
    """The engine cannot read the file as its index promises; the text says why."""


class GuardedReader(ABC):
    """Reads frames with another engine where that is exact. Implements :class:`vidtok.data.decode.Reader`.

    Such engines can hang or crash where Python cannot interrupt them: open them by ``open_video``, which runs them in
    a process of their own.

    Args:
        path: the video.
        deadline_seconds: longest time that opening, and each read through PyAV, may take.
        limits: what the file may cost; the engine reads only what also fits in them at stored size.

    Raises:
        EnvironmentFault: the engine is not installed or does not load.
        DecodeError: as :class:`PyAVReader` does.
    """

    engine: str
    """Its name."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        limits: DecodeLimits = DEFAULT_LIMITS,
    ) -> None:
        self.load()
        self._limits = limits
        self.exact = PyAVReader(path, deadline_seconds=deadline_seconds, limits=limits)
        self.fallback = self._doubt() or self.cause_to_refuse() or self._difference()

    @abstractmethod
    def load(self) -> None:
        """Import the engine. Raises EnvironmentFault."""

    @abstractmethod
    def cause_to_refuse(self) -> str | None:
        """Why the engine may not read this file, whose ``exact`` reader is open; None where it is known to be exact."""

    @abstractmethod
    def decode(self, numbers: np.ndarray) -> np.ndarray:
        """Decode distinct, rising frame numbers, at least one, to uint8 [K, H, W, 3] of stored size. Raises Refusal."""

    @property
    def name(self) -> str:
        """The engine that reads this file."""
        return self.engine if self.fallback is None else self.exact.name

    @property
    def info(self) -> VideoInfo:
        """What is known of the video, from the packet index."""
        return self.exact.info

    def read(
        self,
        indices: np.ndarray,
        *,
        short_side: int | None = None,
        verify: bool = False,
        pixel_format: PixelFormat = "rgb",
    ) -> np.ndarray:
        """Read frames; see :meth:`vidtok.data.decode.Reader.read`."""
        if pixel_format != "rgb":
            self.fallback = self.fallback or f"{self.engine} gives no {pixel_format} pictures"
        if self.fallback is None and verify:
            self._verify()
        if self.fallback is None:
            wanted, places = unique_numbers(indices, self.info)
            try:
                return self._decode_scaled(wanted, short_side)[places]
            except Refusal as refusal:
                self.fallback = str(refusal)
        return self.exact.read(indices, short_side=short_side, verify=verify, pixel_format=pixel_format)

    def close(self) -> None:
        """Release the file; no read may follow."""
        self.exact.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _doubt(self) -> str | None:
        """Why the packet index says nothing about this file."""
        if self.exact.index.doubt is not None or not self.exact.trusts_index:
            return self.exact.index.doubt or "the file is damaged"
        return None

    def _difference(self) -> str | None:
        """What other engines make other pictures of."""
        if self.exact.source.pixel_format not in _PIXEL_FORMATS:
            return f"{self.engine} converts {self.exact.source.pixel_format} otherwise"
        if self.exact.source.num_video_streams > 1:
            return f"{self.engine} may pick another of its video streams"
        if self.exact.orientation.is_mirrored:
            return "it is displayed mirrored"
        return None

    def _verify(self) -> None:
        """Let PyAV look for damage, which other engines hide, and hand a damaged file over."""
        try:
            self.exact.read(np.arange(0), verify=True)
        except FrameListChanged:
            self.fallback = "the file is damaged"
            raise
        if not self.exact.trusts_index:
            self.fallback = "the file is damaged"

    def _decode_scaled(self, wanted: np.ndarray, short_side: int | None) -> np.ndarray:
        """Decode, and resize as PyAV's pictures are resized. Raises Refusal."""
        width, height = self.info.scaled_size(short_side)
        if len(wanted) == 0:
            return np.empty((0, height, width, 3), dtype=np.uint8)
        if len(wanted) * self.info.height * self.info.width * 3 > self._limits.read_bytes:
            raise Refusal(f"{self.engine} would hold {len(wanted)} frames at their stored size")
        frames = self.decode(wanted)
        if frames.shape != (len(wanted), self.info.height, self.info.width, 3):
            raise Refusal(
                f"{self.engine} gives pictures of {frames.shape[2]}x{frames.shape[1]}, not {self.info.width}x"
                f"{self.info.height}"
            )
        return frames if short_side is None else resized(frames, height=height, width=width)
