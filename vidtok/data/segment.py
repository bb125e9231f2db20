"""A part of a video, as a row of a list names it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Segment:
    """The half-open part [start, end) of a video, in presentation time or in frames counted from 0."""

    start: float
    """First second, from 0 at the first frame's time; or the first frame."""
    end: float | None
    """First second or frame behind the segment; None: to the end of the video."""
    unit: Literal["s", "frames"] = "s"
