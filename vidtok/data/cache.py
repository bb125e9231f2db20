"""All frames of many videos in memory, decoded once."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from vidtok.data.decode import DEFAULT_LIMITS, DecodeLimits, decode_frames
from vidtok.data.segment import Segment, segment_frames
from vidtok.errors import DecodeError

Progress = Callable[[int, int], None]
"""Called with (videos done, videos in all)."""

_CHUNK_BYTES = 1 << 28


class FrameCache:
    """Frames of videos by index, packed into a few large tensors.

    Forked workers read the parent's memory; spawned ones get it as shared memory, one handle per chunk.

    Args:
        videos: for each video its frames, uint8 [F, H, W, 3], or the line that says why they cannot be read.
        times: for each video when its frames are shown, float64 [F] seconds.
        chunk_bytes: size of a chunk, unless one video needs more.
    """

    def __init__(
        self,
        videos: Iterable[Tensor | str],
        *,
        times: Mapping[int, np.ndarray] | None = None,
        chunk_bytes: int = _CHUNK_BYTES,
    ) -> None:
        self._times = {} if times is None else times
        self._chunks: list[Tensor] = [torch.empty(0, dtype=torch.uint8)]
        self._places: list[tuple[int, int, torch.Size] | str] = []
        offset = 0
        for video in videos:
            if isinstance(video, str):
                self._places.append(video)
                continue
            if offset + video.numel() > len(self._chunks[-1]):
                self._chunks.append(torch.empty(max(chunk_bytes, video.numel()), dtype=torch.uint8))
                offset = 0
            self._chunks[-1][offset : offset + video.numel()] = video.flatten()
            self._places.append((len(self._chunks) - 1, offset, video.shape))
            offset += video.numel()
        self._chunks[-1] = self._chunks[-1][:offset].clone()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Tensor:
        """All frames of one video, uint8 [F, H, W, 3]; not a copy. Raises DecodeError if it cannot be read."""
        place = self._places[index]
        if isinstance(place, str):
            raise DecodeError(place)
        chunk, offset, shape = place
        return self._chunks[chunk][offset : offset + shape.numel()].view(shape)

    def pts_seconds(self, index: int) -> np.ndarray | None:
        """When the frames of one video are shown, float64 [F]; None where that is unknown."""
        return self._times.get(index)

    @property
    def num_bytes(self) -> int:
        """Size of all frames."""
        return sum(place[2].numel() for place in self._places if not isinstance(place, str))

    @property
    def failures(self) -> dict[int, str]:
        """Why videos cannot be read, by index."""
        return {index: place for index, place in enumerate(self._places) if isinstance(place, str)}


def decode_all(
    paths: Sequence[str],
    *,
    segments: Sequence[Segment | None] | None = None,
    decoder: str = "auto",
    short_side: int | None = None,
    threads: int | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
    progress: Progress | None = None,
) -> FrameCache:
    """Decode every frame of all videos into memory; a thread pool serves, as PyAV releases the GIL.

    Args:
        paths: the videos.
        segments: the part of each that is kept; None: all of all.
        decoder: engine.
        short_side: shorter side of the frames [pixels], None as stored.
        threads: videos decoded at the same time; None is one per CPU core.
        limits: what a video may cost, all its frames together.
        progress: told about every video that is done.
    """

    times: dict[int, np.ndarray] = {}

    def decode(index: int) -> Tensor | str:
        segment = None if segments is None else segments[index]
        try:
            decoded = decode_frames(
                paths[index],
                lambda info: np.arange(*segment_frames(segment, info)),
                decoder=decoder,
                short_side=short_side,
                limits=limits,
            )
        except DecodeError as failure:
            return str(failure)
        times[index] = decoded.info.pts_seconds[decoded.indices]
        return torch.from_numpy(decoded.frames)

    def reported(videos: Iterator[Tensor | str]) -> Iterator[Tensor | str]:
        for done, video in enumerate(videos, 1):
            yield video
            if progress is not None:
                progress(done, len(paths))

    pool = ThreadPoolExecutor(threads or os.cpu_count() or 1)
    try:
        return FrameCache(reported(pool.map(decode, range(len(paths)))), times=times)
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt must not wait for the whole list
