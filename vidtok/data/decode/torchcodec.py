"""The torchcodec engine, used only on files where it was found exact; every other file goes to PyAV.

torchcodec 0.13 in its exact mode was right on every intact file it was tried on except MPEG-TS, whose last frames it
does not reach. It says when each picture is shown, which is compared with the packet index at every read.
"""

import importlib
import os
from types import ModuleType

import numpy as np

from vidtok.data.decode.guarded import GuardedReader, Refusal
from vidtok.errors import EnvironmentFault

_CONTAINERS = ("mov", "matroska", "avi", "flv")
_CODECS = ("h264", "hevc", "av1", "vp8", "vp9", "mjpeg", "mpeg4")

_TIME_TOLERANCE = 0.1
"""Share of a mean frame's duration by which times may differ: containers round them."""


class TorchcodecReader(GuardedReader):
    """Reads frames with torchcodec where that is exact; see :class:`GuardedReader`."""

    engine = "torchcodec"

    def load(self) -> None:
        self._decoders = import_torchcodec()

    def cause_to_refuse(self) -> str | None:
        index = self.exact.index
        if index.container not in _CONTAINERS:
            return f"torchcodec is not known to be exact in {index.container} files"
        if index.codec not in _CODECS:
            return f"torchcodec is not known to be exact on {index.codec}"
        if index.has_partial_refreshes:
            return "torchcodec may start decoding where pictures still refer to earlier ones"
        return None

    def decode(self, numbers: np.ndarray) -> np.ndarray:
        info = self.info
        try:
            decoder = self._decoders.VideoDecoder(
                os.path.abspath(info.path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact"
            )
            if len(decoder) != info.num_frames:
                raise Refusal(f"torchcodec counts {len(decoder)} frames where the packets show {info.num_frames}")
            batch = decoder.get_frames_at(numbers.tolist())
        except (RuntimeError, ValueError, IndexError):
            raise Refusal("torchcodec fails to read it") from None
        times = batch.pts_seconds.numpy() - float(decoder.metadata.begin_stream_seconds)
        if np.abs(times - info.pts_seconds[numbers]).max() > _TIME_TOLERANCE / info.fps:
            raise Refusal("torchcodec gives pictures of other times than asked for")
        return batch.data.numpy()


def import_torchcodec() -> ModuleType:
    """``torchcodec.decoders``. Raises EnvironmentFault when it, or FFmpeg's libraries, do not load."""
    try:
        return importlib.import_module("torchcodec.decoders")
    except ModuleNotFoundError as error:
        raise EnvironmentFault(
            f"decoder 'torchcodec' is not installed ({error}); pip install torchcodec, or use decoder 'auto'"
        ) from None
    except (ImportError, OSError, RuntimeError) as error:
        raise EnvironmentFault(
            f"decoder 'torchcodec' does not load ({str(error).strip().splitlines()[0]}); it needs FFmpeg's shared "
            "libraries and the build made for your torch (see its README); or use decoder 'auto'"
        ) from None
