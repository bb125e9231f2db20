"""The decord engine, used only on files where it was found exact; every other file goes to PyAV.

decord 0.6.0 returns wrong frames without an error for open groups of pictures, edit lists, MPEG-TS and MPEG-4 with
B frames, and cannot open AV1 and GIF. The guard reads the packet index, not pictures, so it costs one demux.
"""

import importlib
import os
from types import ModuleType, TracebackType
from typing import Self

import numpy as np

from vidtok.data.decode.info import DEADLINE_SECONDS, FrameListChanged, VideoInfo, unique_numbers
from vidtok.data.decode.pyav import PyAVReader
from vidtok.errors import EnvironmentFault

_CONTAINERS = ("mov", "matroska", "avi")
_CODECS = ("h264", "vp8", "vp9", "mjpeg", "mpeg4")
_PIXEL_FORMATS = ("yuv420p", "yuvj420p")
"""What decord was compared on: bit-equal or above 46 dB to PyAV. With 10 bits the two are 26 dB apart."""


class DecordReader:
    """Reads frames with decord where that is exact. Implements :class:`vidtok.data.decode.Reader`.

    Scaled pictures (``short_side``) come from decord's own scaler, so they differ from PyAV's by rounding. A decord
    reader decodes ahead without limit while it is open, so one lives only as long as a read.

    Args:
        path: the video.
        deadline_seconds: longest time that opening, and each read through PyAV, may take. decord itself cannot be
            interrupted.

    Raises:
        EnvironmentFault: decord is not installed.
        DecodeError: as :class:`PyAVReader` does.
    """

    def __init__(self, path: str | os.PathLike[str], *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._decord = _import_decord()
        self._exact = PyAVReader(path, deadline_seconds=deadline_seconds)
        self.fallback = cause_to_refuse(self._exact)

    @property
    def name(self) -> str:
        """The engine that reads this file."""
        return "decord" if self.fallback is None else self._exact.name

    @property
    def info(self) -> VideoInfo:
        """What is known of the video, from the packet index."""
        return self._exact.info

    def read(self, indices: np.ndarray, *, short_side: int | None = None, verify: bool = False) -> np.ndarray:
        """Read frames; see :meth:`vidtok.data.decode.Reader.read`."""
        if self.fallback is None and verify:
            self._verify()
        if self.fallback is None:
            frames = self._read(indices, short_side)
            if frames is not None:
                return frames
        return self._exact.read(indices, short_side=short_side, verify=verify)

    def close(self) -> None:
        """Release the file; no read may follow."""
        self._exact.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _verify(self) -> None:
        """Let PyAV look for damage, which decord would hide, and hand a damaged file over."""
        try:
            self._exact.read(np.arange(0), verify=True)
        except FrameListChanged:
            self.fallback = "the file is damaged"
            raise
        if not self._exact.trusts_index:
            self.fallback = "the file is damaged"

    def _read(self, indices: np.ndarray, short_side: int | None) -> np.ndarray | None:
        """Frames from decord; None, and the cause noted, when it fails or disagrees with the index."""
        wanted, places = unique_numbers(indices, self.info)
        width, height = self.info.scaled_size(short_side)
        if len(wanted) == 0:
            return np.empty((0, height, width, 3), dtype=np.uint8)
        size = {} if short_side is None else {"width": width, "height": height}
        try:
            reader = self._decord.VideoReader(self.info.path, ctx=self._decord.cpu(0), num_threads=1, **size)
            if len(reader) != self.info.num_frames:
                self.fallback = f"decord counts {len(reader)} frames where the packets show {self.info.num_frames}"
                return None
            frames = reader.get_batch(wanted).asnumpy()
        except (self._decord.DECORDError, RuntimeError):
            self.fallback = "decord fails to read it"
            return None
        if frames.shape != (len(wanted), height, width, 3):
            self.fallback = f"decord gives pictures of {frames.shape[2]}x{frames.shape[1]}, not {width}x{height}"
            return None
        return frames[places]


def cause_to_refuse(reader: PyAVReader) -> str | None:
    """Why decord may not read a file, or None where it was found to return the right frames."""
    index, source = reader.index, reader.source
    if index.doubt is not None or not reader.trusts_index:
        return index.doubt or "the file is damaged"
    if index.container not in _CONTAINERS:
        return f"decord is not known to be exact in {index.container} files"
    if index.codec not in _CODECS:
        return f"decord is not known to be exact on {index.codec}"
    if source.pixel_format not in _PIXEL_FORMATS:
        return f"decord converts {source.pixel_format} otherwise"
    if source.num_video_streams > 1:
        return "decord may pick another of its video streams"
    if reader.orientation.is_mirrored:
        return "it is displayed mirrored"
    if index.has_hidden_packets:
        return "decord does not apply its edit list"
    if index.has_leading_pictures or index.has_partial_refreshes:
        return "decord starts decoding where pictures still refer to earlier ones"
    if index.codec == "mpeg4" and index.is_reordered:
        return "decord misplaces B frames of MPEG-4"
    return None


def _import_decord() -> ModuleType:
    try:
        decord = importlib.import_module("decord")
    except ImportError as error:
        raise EnvironmentFault(
            f"decoder 'decord' is not installed ({error}); pip install decord (x86-64), or use decoder 'auto'"
        ) from None
    decord.logging.set_level(decord.logging.QUIET)
    return decord
