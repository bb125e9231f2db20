"""Which frames a clip looks at: pure functions of the frame count and, where rates matter, of the frames' times.

Every published convention has a name, the value of ``clip.sampling``, and one rule for training and one for test.
Frame numbers are 0-based, L is the number of frames, T ``clip.frames``, s ``clip.stride``, V the number of views.

    dense           T frames s apart. Train: any start that keeps them in the video. Test: starts are
                    trunc(linspace(0, max(0, L - T s), V)), a single view in the middle. With ``clip.fps`` the same
                    in time: frames s / fps seconds apart, each the one on screen then.
    scenic          DMVR and ViViT: as dense; short videos start over, in training from any frame.
    slowfast        PySlowFast: T frames spread over T s frames at 30 fps (``clip.fps``), positions truncated. View
                    k starts at k / V of the room, so the end of a video is never seen.
    slowfast_offset the same with USE_OFFSET_SAMPLING (MAE-ST): the last view reaches the end.
    timesformer     its Kinetics code, which is slowfast's. For Something-Something-V2 it has the rule uniform.
    mmaction        SampleFrames: rounded starts up to L - (T - 1) s - 1; training keeps T s frames free.
    videomae        Kinetics. Train: T frames spread over T s (so T s / (T - 1) apart). Test: every s-th frame of the
                    video, V windows of it. Short videos hold their last frame.
    uniform         one frame from each of T equal segments of the frames 0 to L - 1. Train: any, borders included.
                    Test: midpoints for one view (TimeSformer); for more, places 1/(V+1), 2/(V+1), ... (umt).
    umt             Unmasked Teacher: uniform, with its own rounding of one view too.
    tsn             one frame from each of T equal segments of L. Train: any of the first T floor(L / T) frames. Test:
                    midpoints for one view (mmaction2); places 0, 1/V, 2/V, ... for more.
    videomae_ssv2   VideoMAE's rule for Something-Something-V2, which is tsn's with two views.

What happens in a video that is shorter than a clip is ``clip.short``: ``hold`` repeats the last frame, ``loop`` starts
over, ``stretch`` spreads T frames over the video. ``auto`` is the convention's own: loop for scenic and mmaction, hold
for the others that count frames. The rules with segments repeat frames where a segment holds less than one.

Differs from the references: a single view of videomae stands in the middle (they divide by zero); tsn spreads a
training clip over a video shorter than T (mmaction2 rounds, VideoMAE repeats frame 0); rates are mean rates from
presentation times, not the container's statement.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidtok.config import ClipConfig
from vidtok.data.sampling import counted, segments
from vidtok.data.sampling.timeline import Indices, Timeline

__all__ = ["CONVENTIONS", "Convention", "Indices", "frames_in_seconds", "train_indices", "view_indices"]


@dataclass(frozen=True, slots=True)
class Convention:
    """How one code base chooses frames."""

    train: Callable[[Timeline, ClipConfig, np.random.Generator], Indices]
    """Draws the frames [T] of one clip."""
    test: Callable[[Timeline, ClipConfig, int], Indices]
    """The frames [V, T] of V views."""


_SLOWFAST = Convention(counted.slowfast_train, counted.slowfast_test)
_TSN = Convention(segments.tsn_train, segments.tsn_test)

CONVENTIONS: dict[str, Convention] = {
    "dense": Convention(counted.dense_train, counted.dense_test),
    "scenic": Convention(counted.scenic_train, counted.dense_test),
    "slowfast": _SLOWFAST,
    "slowfast_offset": Convention(counted.slowfast_train, counted.slowfast_offset_test),
    "timesformer": _SLOWFAST,
    "mmaction": Convention(counted.mmaction_train, counted.mmaction_test),
    "videomae": Convention(counted.videomae_train, counted.videomae_test),
    "uniform": Convention(segments.uniform_train, segments.uniform_test),
    "umt": Convention(segments.uniform_train, segments.umt_test),
    "tsn": _TSN,
    "videomae_ssv2": _TSN,
}


def train_indices(
    num_frames: int,
    clip: ClipConfig,
    rng: np.random.Generator,
    *,
    window: tuple[int, int] | None = None,
    pts_seconds: NDArray[np.float64] | None = None,
) -> Indices:
    """Draw the frames of one training clip.

    Args:
        num_frames: frames in the video, at least 1.
        clip: frames, stride, fps, sampling and short are used.
        rng: the only source of randomness.
        window: see :func:`view_indices`.
        pts_seconds: [num_frames] when each frame is shown, rising from any start; needed where rates matter
            (``clip.uses_times``).

    Returns:
        int64 [T], 0-based. Rising (repeats where the video is short) unless short videos start over.
    """
    start, timeline = _windowed(num_frames, clip, window, pts_seconds)
    return start + CONVENTIONS[clip.sampling].train(timeline, clip, rng)


def view_indices(
    num_frames: int,
    clip: ClipConfig,
    num_clips: int,
    *,
    window: tuple[int, int] | None = None,
    pts_seconds: NDArray[np.float64] | None = None,
) -> Indices:
    """The frames of every temporal view of a video.

    Args:
        num_frames: frames in the video, at least 1.
        clip: frames, stride, fps, sampling and short are used.
        num_clips: temporal views V.
        window: look only at frames [start, end) of the video, as if the rest were not there; see
            :func:`frames_in_seconds` and :func:`vidtok.data.segment.segment_frames`.
        pts_seconds: see :func:`train_indices`.

    Returns:
        int64 [V, T], 0-based. Rising along T unless short videos start over.
    """
    start, timeline = _windowed(num_frames, clip, window, pts_seconds)
    return start + CONVENTIONS[clip.sampling].test(timeline, clip, num_clips)


def _windowed(
    num_frames: int, clip: ClipConfig, window: tuple[int, int] | None, pts_seconds: NDArray[np.float64] | None
) -> tuple[int, Timeline]:
    """The first frame that may be chosen, and the frames from there on."""
    start, end = window or (0, num_frames)
    assert 0 <= start < end <= num_frames, (start, end, num_frames)
    assert pts_seconds is not None or not clip.uses_times, f"sampling {clip.sampling} needs pts_seconds"
    return start, Timeline(end - start, None if pts_seconds is None else pts_seconds[start:end])


def frames_in_seconds(pts_seconds: NDArray[np.float64], *, start_seconds: float, end_seconds: float) -> tuple[int, int]:
    """The index window [start, end) of the frames that are presented in [start_seconds, end_seconds).

    Never empty: a window between two frames holds the frame that is on screen then, one outside the video
    its nearest frame.
    """
    start, end = np.searchsorted(pts_seconds, [start_seconds, end_seconds])
    if start == end:
        start = max(start - 1, 0)
    return int(start), int(max(end, start + 1))
