"""Windows of a long video. The file is opened once and one window is in memory at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from vidtok.config import ClipConfig
from vidtok.data.dataset import VideoViews
from vidtok.data.decode import FrameListChanged, Reader, VideoInfo, open_video
from vidtok.data.sampling import frames_in_seconds, view_indices
from vidtok.data.segment import Segment, segment_seconds
from vidtok.data.transforms import make_views
from vidtok.errors import ConfigError

Span = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Cuts a video into pieces [start, end) that may overlap or leave gaps. Raises ConfigError."""

    seconds: float
    stride_seconds: float

    def __post_init__(self) -> None:
        if min(self.seconds, self.stride_seconds) <= 0:
            raise ConfigError(f"window {self.seconds:g} s with stride {self.stride_seconds:g} s: both must be above 0")

    def span(self, number: int, info: VideoInfo, segment: Segment | None = None) -> Span | None:
        """Start and end [seconds] of piece ``number``; None when the pieces before reach the end of the video.

        The pieces begin where the segment does, and end with it; without one, with the video.

        Half a frame is not worth a piece of its own. The last piece may be shorter than the others.
        """
        first, last = segment_seconds(segment, info)
        end = last - 0.5 / info.fps
        start = first + number * self.stride_seconds
        if number > 0 and (start >= end or start - self.stride_seconds + self.seconds >= end):
            return None
        return start, min(start + self.seconds, last)


def window_views(
    path: str,
    clip: ClipConfig,
    window: Window,
    *,
    num_clips: int,
    num_crops: int,
    decoder: str = "auto",
    segment: Segment | None = None,
) -> Iterator[tuple[Span, VideoViews]]:
    """All test views of every window of a segment, as ``load_views`` cuts them for one. Raises DecodeError."""
    with open_video(path, decoder=decoder) as reader:
        number = 0
        while (span := window.span(number, reader.info, segment)) is not None:
            try:
                yield span, _read(reader, clip, span, num_clips=num_clips, num_crops=num_crops)
            except FrameListChanged:  # a damaged file has other frames than it promises: choose from the true ones
                continue
            number += 1


def _read(reader: Reader, clip: ClipConfig, span: Span, *, num_clips: int, num_crops: int) -> VideoViews:
    info = reader.info
    window = frames_in_seconds(info.pts_seconds, start_seconds=span[0], end_seconds=span[1])
    indices = view_indices(info.num_frames, clip, num_clips, window=window, pts_seconds=info.pts_seconds)
    wanted = np.unique(indices)
    frames = torch.from_numpy(reader.read(wanted, short_side=clip.test_short_side, verify=True))
    rows = torch.from_numpy(np.searchsorted(wanted, indices))
    views = make_views(frames, rows, short_side=clip.test_short_side, size=clip.size, num_crops=num_crops)
    return VideoViews(views, indices, info, reader.name, reader.fallback, span)
