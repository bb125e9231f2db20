"""Opening videos and reading the frames that a caller chooses. What the rest of the package uses."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from vidtok.data.decode.decord import DecordReader
from vidtok.data.decode.folder import FolderReader
from vidtok.data.decode.info import DEADLINE_SECONDS, FrameListChanged, PixelFormat, VideoInfo
from vidtok.data.decode.isolated import IsolatedReader
from vidtok.data.decode.known import PacketStore
from vidtok.data.decode.limits import DEFAULT_LIMITS, DecodeLimits
from vidtok.data.decode.pyav import PyAVReader
from vidtok.data.decode.torchcodec import TorchcodecReader
from vidtok.errors import ConfigError, DecodeError

AnyPath = str | os.PathLike[str]


class Reader(Protocol):
    """An open video. Every engine returns exactly the frames of a full sequential decode, or hands the file over.

    Readers are opened, read and closed, never cached: an idle one can hold much memory.
    """

    @property
    def name(self) -> str:
        """The engine that is really used: ``pyav``, ``decord``, ``torchcodec`` or, for a folder, ``images``."""

    @property
    def fallback(self) -> str | None:
        """Why the engine asked for handed the file to PyAV, if it did."""

    @property
    def info(self) -> VideoInfo:
        """What is known of the video; replaced when reading proves the frame list wrong."""

    def read(
        self,
        indices: np.ndarray,
        *,
        short_side: int | None = None,
        verify: bool = False,
        pixel_format: PixelFormat = "rgb",
    ) -> np.ndarray:
        """Decode frames.

        Args:
            indices: integers [T] in [0, info.num_frames), in any order, repeats allowed.
            short_side: scale so that the shorter displayed side has this many pixels, see
                :meth:`VideoInfo.scaled_size`; None: as stored.
            verify: first look for damage anywhere in the file, by decoding all of it; left out for files with
                more than ``VERIFY_MAX_FRAMES`` frames.
            pixel_format: ``yuv420`` leaves the conversion to the model's device (``vidtok.data.yuv``).

        Returns:
            uint8 [T, H, W, 3], RGB; or the planes Y, U, V as uint8 [T, H * 3 / 2, W], H and W rounded up to even
            numbers, in the colours that ``info`` tells. Turned for display.

        Raises:
            FrameListChanged: a damaged file has other frames than its packets promise, and this read found out.
                ``info`` is corrected: choose indices from it and read again. Happens at most once per reader.
            DecodeError: the deadline passed, pictures cannot be converted, or they take more memory than allowed.
            IndexError: an index is out of range.
        """

    def close(self) -> None:
        """Release the file; no read may follow."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


ENGINES: dict[str, Callable[..., Reader]] = {
    "auto": PyAVReader,
    "pyav": PyAVReader,
    "pyav-isolated": partial(IsolatedReader, PyAVReader),
    "decord": partial(IsolatedReader, DecordReader),
    "torchcodec": partial(IsolatedReader, TorchcodecReader),
}
"""By name. PyAV looks at the clock between packets and lets go of Python's lock; the others run where they can be
killed."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Frames of one video and how they were got."""

    frames: np.ndarray
    """uint8 [T, H, W, 3] RGB, or [T, H * 3 / 2, W] as YUV."""
    indices: np.ndarray
    """int64 [T]: the frame numbers chosen."""
    info: VideoInfo
    """The video as it turned out to be while decoding."""
    decoder: str
    """The engine really used."""
    fallback: str | None
    """Why it was not the engine asked for."""


def open_video(
    path: AnyPath,
    *,
    decoder: str = "auto",
    deadline_seconds: float = DEADLINE_SECONDS,
    limits: DecodeLimits = DEFAULT_LIMITS,
    packets: PacketStore | None = None,
) -> Reader:
    """Open a video file for reading.

    Args:
        path: the file. Its first video stream is used; cover pictures of music files do not count. A folder of
            numbered images is read as one video, whatever the ``decoder``.
        decoder: ``auto`` (PyAV: exact and fastest), ``pyav``, ``decord`` or ``torchcodec``; ``pyav-isolated`` survives
            crashes and hangs of native code too, for the price of moving the frames between two processes.
        deadline_seconds: longest time that opening, and each read, may take.
        limits: size of pictures and of what a read gives, beyond which a file is refused.
        packets: what earlier openings found out, which PyAV then need not find out again.

    Raises:
        DecodeError: no such file, empty, no video stream, not a video, codec missing, too large, or deadline passed.
        ConfigError: unknown ``decoder``.
        EnvironmentFault: the engine asked for is not installed or does not load.
    """
    if decoder not in ENGINES:
        raise ConfigError(f"decoder '{decoder}' is unknown; choose one of {', '.join(ENGINES)}")
    engine = FolderReader if os.path.isdir(path) else ENGINES[decoder]
    if packets is not None and engine is PyAVReader:
        known = packets.find(os.fspath(path))
        return PyAVReader(path, deadline_seconds=deadline_seconds, limits=limits, known=known)
    return engine(path, deadline_seconds=deadline_seconds, limits=limits)


def check_engine(decoder: str) -> None:
    """Find out before the first video whether an engine works here.

    Raises:
        ConfigError, EnvironmentFault: as :func:`open_video`.
    """
    with suppress(DecodeError):  # of what is no video, once the engine was loaded
        open_video(os.devnull, decoder=decoder).close()


def decode_frames(
    path: AnyPath,
    choose: Callable[[VideoInfo], np.ndarray],
    *,
    decoder: str = "auto",
    short_side: int | None = None,
    verify: bool = False,
    pixel_format: PixelFormat = "rgb",
    deadline_seconds: float = DEADLINE_SECONDS,
    limits: DecodeLimits = DEFAULT_LIMITS,
    packets: PacketStore | None = None,
) -> Decoded:
    """Open a video, let the caller choose frames, decode and close it.

    Args:
        path: the file.
        choose: gives frame numbers in [0, num_frames), integers of any shape; called a second time when decoding
            proves the frame list wrong. Repeated numbers are decoded once.
        decoder: see :func:`open_video`.
        short_side: see :meth:`Reader.read`.
        verify: see :meth:`Reader.read`.
        pixel_format: see :meth:`Reader.read`.
        deadline_seconds, limits: see :func:`open_video`.
        packets: see :func:`open_video`.

    Raises:
        DecodeError, ConfigError, EnvironmentFault: as :func:`open_video`.
    """
    with open_video(path, decoder=decoder, deadline_seconds=deadline_seconds, limits=limits, packets=packets) as reader:
        while True:
            info = reader.info
            indices = np.asarray(choose(info), dtype=np.int64).reshape(-1)
            try:
                frames = reader.read(indices, short_side=short_side, verify=verify, pixel_format=pixel_format)
            except FrameListChanged:
                continue
            return Decoded(frames, indices, info, reader.name, reader.fallback)


def probe(path: AnyPath) -> VideoInfo:
    """What a video's packets tell of it. Decodes one frame, more only where packets do not tell the frames.

    Raises:
        DecodeError: as :func:`open_video`.
    """
    with open_video(path) as reader:
        return reader.info
