"""Which frames a clip looks at: pure functions of the frame count, no decoding here.

Dense clips are ``frames`` pictures ``stride`` apart. Uniform clips take one picture from each of ``frames``
equal segments of the video. A video with fewer frames than a dense clip needs repeats its last frame; a
uniform clip of a short video repeats frames where segments are shorter than one.

Rules, and where they come from (golden vectors are in the tests):
    dense, test: scenic's ViViT. View k of n starts at trunc(linspace(0, max(0, L - frames * stride), n))[k],
        a single view in the middle. Differs from scenic: it wraps past the end to the start, we repeat the
        last frame.
    dense, train: a uniformly drawn start among those that keep the clip inside the video.
    uniform, one clip: midpoints of the segments, as TimeSformer tests Something-Something-V2.
    uniform, n clips: equally spaced places inside every segment, as Unmasked Teacher.
    uniform, train: a uniformly drawn place inside every segment, ends included, as both of them.
"""

import numpy as np
from numpy.typing import NDArray

from vidtok.config import ClipConfig

Indices = NDArray[np.int64]


def train_indices(num_frames: int, clip: ClipConfig, rng: np.random.Generator) -> Indices:
    """Draw the frames of one training clip.

    Args:
        num_frames: frames in the video, at least 1.
        clip: frames, stride and sampling are used.
        rng: the only source of randomness.

    Returns:
        int64 [T], 0-based and rising (repeats where the video is short).
    """
    if clip.sampling == "uniform":
        return uniform_train(num_frames, frames=clip.frames, rng=rng)
    return dense_train(num_frames, frames=clip.frames, stride=clip.stride, rng=rng)


def view_indices(
    num_frames: int, clip: ClipConfig, num_clips: int, *, window: tuple[int, int] | None = None
) -> Indices:
    """The frames of every temporal view of a video.

    Args:
        num_frames: frames in the video, at least 1.
        clip: frames, stride and sampling are used.
        num_clips: temporal views V.
        window: look only at frames [start, end) of the video, as if the rest were not there.

    Returns:
        int64 [V, T], 0-based and rising along T.
    """
    start, end = window or (0, num_frames)
    assert 0 <= start < end <= num_frames, (start, end, num_frames)
    if clip.sampling == "uniform":
        return start + uniform_test(end - start, frames=clip.frames, num_clips=num_clips)
    return start + dense_test(end - start, frames=clip.frames, stride=clip.stride, num_clips=num_clips)


def dense_train(num_frames: int, *, frames: int, stride: int, rng: np.random.Generator) -> Indices:
    """Frames ``stride`` apart from a random start that keeps all of them in the video when it is long enough."""
    span = (frames - 1) * stride + 1
    start = rng.integers(0, max(num_frames - span, 0), endpoint=True)
    return repeat_last(start + stride * np.arange(frames), num_frames=num_frames)


def dense_test(num_frames: int, *, frames: int, stride: int, num_clips: int) -> Indices:
    """[V, T] frames ``stride`` apart from equally spaced starts; a single view stands in the middle."""
    room = max(num_frames - frames * stride, 0)
    starts = np.array([room // 2]) if num_clips == 1 else np.linspace(0, room, num_clips).astype(np.int64)
    return repeat_last(starts[:, None] + stride * np.arange(frames), num_frames=num_frames)


def uniform_train(num_frames: int, *, frames: int, rng: np.random.Generator) -> Indices:
    """One random frame from every segment, both ends included."""
    edges = segment_edges(num_frames, frames=frames)
    return rng.integers(edges[:-1], edges[1:], endpoint=True)


def uniform_test(num_frames: int, *, frames: int, num_clips: int) -> Indices:
    """[V, T] frames: segment midpoints for one clip, else shifts of 1/(V+1), 2/(V+1), ... of a segment."""
    edges = segment_edges(num_frames, frames=frames)
    if num_clips == 1:
        return ((edges[:-1] + edges[1:]) // 2)[None]
    part = (num_frames - 1) / frames / (num_clips + 1)
    shifts = (part * np.arange(1, num_clips + 1)).astype(np.int64)
    return repeat_last(edges[:-1] + shifts[:, None], num_frames=num_frames)


def segment_edges(num_frames: int, *, frames: int) -> Indices:
    """[T + 1] rounded borders (half to even) of T equal segments of the frames 0 ... L - 1."""
    return np.round((num_frames - 1) / frames * np.arange(frames + 1)).astype(np.int64)


def repeat_last(indices: NDArray[np.integer], *, num_frames: int) -> Indices:
    """The policy for short videos: what lies past the end becomes the last frame."""
    return np.minimum(indices, num_frames - 1).astype(np.int64)


def frames_in_seconds(pts_seconds: NDArray[np.float64], *, start_seconds: float, end_seconds: float) -> tuple[int, int]:
    """The index window [start, end) of the frames that are presented in [start_seconds, end_seconds).

    Never empty: a window between two frames holds the frame that is on screen then, one outside the video
    its nearest frame.
    """
    start, end = np.searchsorted(pts_seconds, [start_seconds, end_seconds])
    if start == end:
        start = max(start - 1, 0)
    return int(start), int(max(end, start + 1))
