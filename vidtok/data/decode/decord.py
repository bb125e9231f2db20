"""The decord engine, used only on files where it was found exact; every other file goes to PyAV.

decord 0.6.0 returns wrong frames without an error for open groups of pictures, edit lists, MPEG-TS and MPEG-4 with
B frames, and cannot open AV1 and GIF. The guard reads the packet index, not pictures, so it costs one demux.
"""

import importlib
import os
from types import ModuleType

import numpy as np

from vidtok.data.decode.guarded import GuardedReader, Refusal
from vidtok.errors import EnvironmentFault

_CONTAINERS = ("mov", "matroska", "avi")
_CODECS = ("h264", "vp8", "vp9", "mjpeg", "mpeg4")


class DecordReader(GuardedReader):
    """Reads frames with decord where that is exact; see :class:`GuardedReader`.

    A decord reader decodes ahead without limit while it is open, so one lives only as long as a read.
    """

    engine = "decord"

    def load(self) -> None:
        self._decord = _import_decord()

    def cause_to_refuse(self) -> str | None:
        index = self.exact.index
        if index.container not in _CONTAINERS:
            return f"decord is not known to be exact in {index.container} files"
        if index.codec not in _CODECS:
            return f"decord is not known to be exact on {index.codec}"
        if index.has_hidden_packets:
            return "decord does not apply its edit list"
        if index.has_leading_pictures or index.has_partial_refreshes:
            return "decord starts decoding where pictures still refer to earlier ones"
        if index.codec == "mpeg4" and index.is_reordered:
            return "decord misplaces B frames of MPEG-4"
        return None

    def decode(self, numbers: np.ndarray) -> np.ndarray:
        info, decord = self.info, self._decord
        try:
            reader = decord.VideoReader(os.path.abspath(info.path), ctx=decord.cpu(0), num_threads=1)
            if len(reader) != info.num_frames:
                raise Refusal(f"decord counts {len(reader)} frames where the packets show {info.num_frames}")
            return reader.get_batch(numbers).asnumpy()
        except (decord.DECORDError, RuntimeError):
            raise Refusal("decord fails to read it") from None


def _import_decord() -> ModuleType:
    try:
        decord = importlib.import_module("decord")
    except ImportError as error:
        raise EnvironmentFault(
            f"decoder 'decord' is not installed ({error}); pip install decord (x86-64), or use decoder 'auto'"
        ) from None
    decord.logging.set_level(decord.logging.QUIET)
    return decord
