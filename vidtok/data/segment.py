"""A part of a video, as a row of a list names it, and the frames that it means."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from vidtok.errors import DecodeError

if TYPE_CHECKING:
    from vidtok.data.decode import VideoInfo

TRIMMED_SECONDS = 2.0
"""A clip that was cut out of its video may be so much longer than the part that it stands for: cutters round to key
frames and whole seconds."""

_BEYOND_SECONDS = 1.0
"""Annotations may end so much behind the last picture: sound is often longer, and times are rounded."""

_SLACK_SECONDS = 0.0005
"""Containers round times, Matroska to a millisecond: a frame counts as shown so much earlier."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The half-open part [start, end) of a video, in presentation time or in frames counted from 0."""

    start: float
    """First second, from 0 at the first frame's time; or the first frame."""
    end: float | None
    """First second or frame behind the segment; None: to the end of the video."""
    unit: Literal["s", "frames"] = "s"
    may_be_cut: bool = False
    """The file may be this part already, as a data set is downloaded either way; see :func:`segment_frames`."""

    def __str__(self) -> str:
        end = "end" if self.end is None else f"{self.end:g}"
        return f"{self.start:g}-{end} s" if self.unit == "s" else f"frames {self.start:g}-{end}"


def segment_frames(segment: Segment | None, info: "VideoInfo") -> tuple[int, int]:
    """The frames [start, end) of a video that a segment means, one or more; all where there is no segment.

    A frame belongs to the segment in which it appears; a segment in which none appears holds the one that is on
    screen. Where the file ``may_be_cut`` it is the clip itself, and used whole, when it is at most 2 s longer than the
    segment, or ends before the segment starts; else it is the whole video, of which the segment is used.

    Raises:
        DecodeError: the video ends before the segment starts, or more than a second before it ends.
    """
    if segment is None or is_cut(segment, info.duration_seconds):
        return 0, info.num_frames
    check_inside(segment, info.path, seconds=info.duration_seconds, num_frames=info.num_frames)
    if segment.unit == "frames":
        return int(segment.start), int(min(info.num_frames, info.num_frames if segment.end is None else segment.end))
    ends = (segment.start, np.inf if segment.end is None else segment.end)
    start, end = (int(place) for place in np.searchsorted(info.pts_seconds, np.array(ends) - _SLACK_SECONDS))
    return (max(start - 1, 0) if start == end else start), max(end, 1)


def segment_seconds(segment: Segment | None, info: "VideoInfo") -> tuple[float, float]:
    """Start and end of a segment in a video [seconds]; of the video where there is no segment. Raises DecodeError."""
    start, end = segment_frames(segment, info)
    if segment is None or (start, end) == (0, info.num_frames) or segment.unit == "frames":
        behind = info.duration_seconds if end == info.num_frames else float(info.pts_seconds[end])
        return float(info.pts_seconds[start]), behind
    return segment.start, min(info.duration_seconds if segment.end is None else segment.end, info.duration_seconds)


def is_cut(segment: Segment, seconds: float) -> bool:
    """Whether a file of so many seconds is the segment itself, cut out of its video; see :func:`segment_frames`."""
    if not segment.may_be_cut or segment.end is None:
        return False
    return seconds <= max(segment.end - segment.start + TRIMMED_SECONDS, segment.start)


def check_inside(segment: Segment, path: str, *, seconds: float, num_frames: int) -> None:
    """Raise DecodeError when a video of this length does not hold the segment; see :func:`segment_frames`."""
    in_frames = segment.unit == "frames"
    length, beyond = (num_frames, _BEYOND_SECONDS * num_frames / seconds) if in_frames else (seconds, _BEYOND_SECONDS)
    if segment.start >= length or (segment.end is not None and segment.end > length + beyond):
        has = f"{num_frames} frames" if in_frames else f"{seconds:.3g} s"
        raise DecodeError(f"{path}: the list means {segment} of it, but the video has {has}; correct the row")
