"""What sampling knows of a video, and what becomes of positions past its end."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Short = Literal["hold", "loop", "stretch"]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Frames of a video and, where known, when they are shown."""

    num_frames: int
    pts_seconds: NDArray[np.float64] | None = None

    @property
    def rate(self) -> float | None:
        """Mean frames per second; None where times are unknown or all equal."""
        if self.pts_seconds is None or self.pts_seconds[-1] <= self.pts_seconds[0]:
            return None
        return (self.num_frames - 1) / float(self.pts_seconds[-1] - self.pts_seconds[0])


def fill(indices: NDArray[np.integer], *, num_frames: int, short: Short) -> Indices:
    """Bring frame numbers [..., T] past the end back into the video.

    ``hold`` takes the last frame and ``loop`` starts over, number by number; ``stretch`` replaces a row that
    passes the end by T frames spread over the whole video.
    """
    if short == "loop":
        return (indices % num_frames).astype(np.int64)
    if short == "stretch":
        spread = np.round(np.linspace(0, num_frames - 1, indices.shape[-1]))
        return np.where(indices.max(-1, keepdims=True) < num_frames, indices, spread).astype(np.int64)
    return np.minimum(indices, num_frames - 1).astype(np.int64)
