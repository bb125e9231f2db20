"""Windows of a long video. The file is opened once and one window is in memory at a time."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from vidtok.config import ClipConfig
from vidtok.data.dataset import VideoViews
from vidtok.data.decode import DEFAULT_LIMITS, DecodeLimits, FrameListChanged, Reader, VideoInfo, open_video
from vidtok.data.sampling import frames_in_seconds, view_indices
from vidtok.data.segment import Segment, segment_seconds
from vidtok.data.transforms import make_views
from vidtok.errors import ConfigError

logger = logging.getLogger(__name__)

Span = tuple[float, float]

_SHORTEST, _LONGEST = 1e-3, 1e9
"""Seconds."""

_SLACK = 1e-6
"""Seconds by which a frame may come too early for its window: sums of tenths are not exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Cuts a video into pieces [start, end) that may overlap or leave gaps. Raises ConfigError.

    A piece in which no frame begins, or the same ones as in the piece before, is left out. So there are at most two
    pieces for each frame that there really is, whatever the times in the file say.
    """

    seconds: float
    stride_seconds: float

    def __post_init__(self) -> None:
        if not all(_SHORTEST <= length <= _LONGEST for length in (self.seconds, self.stride_seconds)):
            raise ConfigError(
                f"window {self.seconds:g} s with stride {self.stride_seconds:g} s: both must be above 0, from "
                f"{_SHORTEST:g} s to {_LONGEST:g} s"
            )

    def span(self, number: int, info: VideoInfo, segment: Segment | None = None) -> Span | None:
        """Start and end [seconds] of piece ``number``; None when the pieces before reach the end of the video.

        The pieces begin where the segment does, and end with it; without one, with the video.

        Half a frame is not worth a piece of its own. The last piece may be shorter than the others.
        """
        first, last = segment_seconds(segment, info)
        end = last - 0.5 / info.fps
        start = first + number * self.stride_seconds
        is_past = start - _SLACK > info.pts_seconds[-1] or start - self.stride_seconds + self.seconds >= end
        if number > 0 and is_past:
            return None
        return start, min(start + self.seconds, last)

    def after(self, number: int, info: VideoInfo, segment: Segment | None = None) -> int:
        """The next piece with frames, and other ones than piece ``number``; one past the end when there is none."""
        first, last = segment_seconds(segment, info)
        pts = info.pts_seconds[info.pts_seconds < last] - first
        while True:
            number += self._steps(number, pts)
            start, end = np.searchsorted(pts, self._edges(number))
            if start < end or start == len(pts):
                return number

    def _edges(self, number: int) -> np.ndarray:
        return np.array([0, self.seconds]) + (number * self.stride_seconds - _SLACK)

    def _steps(self, number: int, pts: np.ndarray) -> int:
        """How many pieces on a first frame falls out or a further one comes in."""
        edges = self._edges(number)
        places = np.searchsorted(pts, edges)
        waits = [pts[place] - edge for place, edge in zip(places, edges, strict=True) if place < len(pts)]
        return math.floor(min(waits) / self.stride_seconds) + 1 if waits else 1


def window_views(
    path: str,
    clip: ClipConfig,
    window: Window,
    *,
    num_clips: int,
    num_crops: int,
    decoder: str = "auto",
    limits: DecodeLimits = DEFAULT_LIMITS,
    segment: Segment | None = None,
) -> Iterator[tuple[Span, VideoViews]]:
    """All test views of every window of a segment, as ``load_views`` cuts them for one; says how many were left out.

    Raises:
        DecodeError: the video cannot be read.
    """
    num_left_out = 0
    with open_video(path, decoder=decoder, limits=limits) as reader:
        number = 0
        while (span := window.span(number, reader.info, segment)) is not None:
            try:
                yield span, _read(reader, clip, span, num_clips=num_clips, num_crops=num_crops)
            except FrameListChanged:  # a damaged file has other frames than it promises: choose from the true ones
                continue
            following = window.after(number, reader.info, segment)
            num_left_out += following - number - 1
            number = following
    if num_left_out:
        logger.warning("%s: left out %d windows in which no new frame is shown", path, num_left_out)


def _read(reader: Reader, clip: ClipConfig, span: Span, *, num_clips: int, num_crops: int) -> VideoViews:
    info = reader.info
    window = frames_in_seconds(info.pts_seconds, start_seconds=span[0], end_seconds=span[1])
    indices = view_indices(info.num_frames, clip, num_clips, window=window, pts_seconds=info.pts_seconds)
    wanted = np.unique(indices)
    frames = torch.from_numpy(reader.read(wanted, short_side=clip.test_short_side, verify=True))
    rows = torch.from_numpy(np.searchsorted(wanted, indices))
    views = make_views(frames, rows, short_side=clip.test_short_side, size=clip.size, num_crops=num_crops)
    return VideoViews(views, indices, info, reader.name, reader.fallback, span)
