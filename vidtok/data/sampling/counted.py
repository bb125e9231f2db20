"""Conventions that count frames, or seconds, from a start; rules in the package's docstring."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vidtok.config import ClipConfig
from vidtok.data.sampling.timeline import Indices, Short, Timeline, fill

_SLACK = 0.1
"""Part of a frame by which a frame may come after the time asked for: containers round times."""

_SLOWFAST_FPS = 30.0


def _short(clip: ClipConfig) -> Short:
    """The rule for short videos, once ``auto`` is looked up."""
    if clip.short != "auto":
        return clip.short
    return "loop" if clip.sampling in ("scenic", "mmaction") else "hold"


# --------------------------------------------------------------------------------- dense and scenic


@dataclass(frozen=True, slots=True)
class _Ruler:
    """A video along which clips are measured, in frames or in seconds."""

    ticks: NDArray
    """[L] where the frames lie, rising from 0."""
    step: float
    """Between neighbours of a clip."""
    end: float
    """Where the last frame ends."""
    slack: float

    @classmethod
    def of(cls, video: Timeline, clip: ClipConfig) -> "_Ruler":
        """Seconds when ``clip.fps`` asks for them and the video has times, else frames."""
        if clip.fps is None or video.rate is None:
            return cls(np.arange(video.num_frames), clip.stride, video.num_frames, _SLACK)
        seconds = video.pts_seconds - video.pts_seconds[0]
        return cls(seconds, clip.stride / clip.fps, float(seconds[-1]) + 1 / video.rate, _SLACK / video.rate)

    def last_start(self, length: float, *, end: float) -> int:
        """The last frame from which ``length`` fits before ``end``; 0 when there is none."""
        return max(int(np.searchsorted(self.ticks, end - length + self.slack, side="right")) - 1, 0)

    def clips(self, starts: Indices, *, frames: int, short: Short) -> Indices:
        """[V, T]: the clips that begin with the frames ``starts`` [V]; each frame is the one shown at its place."""
        places = self.ticks[starts][:, None] + self.step * np.arange(frames) + self.slack
        if short == "loop":
            places = places % self.end
        shown = np.searchsorted(self.ticks, places, side="right") - 1
        past = np.where(places < self.end, shown, len(self.ticks))
        return fill(past, num_frames=len(self.ticks), short=short)


def dense_train(video: Timeline, clip: ClipConfig, rng: np.random.Generator) -> Indices:
    """[T]: from a random start that keeps the clip in the video when it is long enough."""
    ruler = _Ruler.of(video, clip)
    last = ruler.last_start(ruler.step * (clip.frames - 1), end=ruler.ticks[-1])
    starts = rng.integers(0, last, size=1, endpoint=True)
    return ruler.clips(starts, frames=clip.frames, short=_short(clip))[0]


def dense_test(video: Timeline, clip: ClipConfig, num_clips: int) -> Indices:
    """[V, T]: from equally spaced starts; a single view stands in the middle."""
    ruler = _Ruler.of(video, clip)
    room = ruler.last_start(ruler.step * clip.frames, end=ruler.end)
    starts = np.array([room // 2]) if num_clips == 1 else np.linspace(0, room, num_clips).astype(np.int64)
    return ruler.clips(starts, frames=clip.frames, short=_short(clip))


def scenic_train(video: Timeline, clip: ClipConfig, rng: np.random.Generator) -> Indices:
    """[T]: as dense, but a video that is shorter than the clip may start at any frame."""
    starts = video.num_frames - (clip.frames - 1) * clip.stride
    start = rng.integers(starts if starts > 0 else video.num_frames)
    return _strided(np.array([start]), video, clip)[0]


def _strided(starts: NDArray, video: Timeline, clip: ClipConfig) -> Indices:
    """[V, T]: every s-th frame from ``starts`` [V]."""
    frames = starts[:, None] + clip.stride * np.arange(clip.frames)
    return fill(frames, num_frames=video.num_frames, short=_short(clip))


# ---------------------------------------------------------------------------------------- PySlowFast


def slowfast_train(video: Timeline, clip: ClipConfig, rng: np.random.Generator) -> Indices:
    """[T]: from a start that is a real number, not a frame."""
    span = _slowfast_span(video, clip)
    return _spread(rng.uniform(0, max(video.num_frames - span, 0), size=1), span, video, clip)[0]


def slowfast_test(video: Timeline, clip: ClipConfig, num_clips: int) -> Indices:
    """[V, T]: view k starts at k / V of the room."""
    span = _slowfast_span(video, clip)
    room = max(video.num_frames - span, 0)
    return _spread(room * np.arange(num_clips) / num_clips, span, video, clip)


def slowfast_offset_test(video: Timeline, clip: ClipConfig, num_clips: int) -> Indices:
    """[V, T]: starts are multiples of a whole number, the last one near the end; a single view in the middle."""
    span = _slowfast_span(video, clip)
    room = max(video.num_frames - span, 0)
    starts = np.array([room // 2]) if num_clips == 1 else room // (num_clips - 1) * np.arange(num_clips)
    return _spread(starts, span, video, clip)


def _slowfast_span(video: Timeline, clip: ClipConfig) -> float:
    """Frames that a clip of T s frames at the target rate covers; T s where the video has no rate."""
    rate_ratio = 1.0 if video.rate is None else video.rate / (clip.fps or _SLOWFAST_FPS)
    return clip.frames * clip.stride * rate_ratio


def _spread(starts: NDArray, span: float, video: Timeline, clip: ClipConfig) -> Indices:
    """[V, T]: T truncated places from each start to ``span - 1`` later."""
    # torch's float32 linspace, as the reference: a position that is a whole number may be rounded either way
    places = [torch.linspace(float(start), float(start) + span - 1, clip.frames) for start in starts]
    frames = torch.stack(places).clamp(min=0).long().numpy()
    return fill(frames, num_frames=video.num_frames, short=_short(clip))


# ------------------------------------------------------------------------------------------ mmaction2


def mmaction_train(video: Timeline, clip: ClipConfig, rng: np.random.Generator) -> Indices:
    """[T]: from a start that leaves T s frames."""
    room = max(video.num_frames - clip.frames * clip.stride, 0)
    return _strided(rng.integers(0, room, size=1, endpoint=True), video, clip)[0]


def mmaction_test(video: Timeline, clip: ClipConfig, num_clips: int) -> Indices:
    """[V, T]: from rounded starts up to the last one that fits; a single view in the middle."""
    room = max(video.num_frames - (clip.frames - 1) * clip.stride - 1, 0)
    starts = np.round(room / (num_clips - 1) * np.arange(num_clips)) if num_clips > 1 else np.array([room // 2])
    return _strided(starts.astype(np.int64), video, clip)


# ------------------------------------------------------------------------------------------- VideoMAE


def videomae_train(video: Timeline, clip: ClipConfig, rng: np.random.Generator) -> Indices:
    """[T]: spread over a random window of T s frames; a video that is not longer holds its last frame."""
    window, num_frames = clip.frames * clip.stride, video.num_frames
    if num_frames <= window:
        seen = np.linspace(0, num_frames, num_frames // clip.stride)
        places = np.concatenate((seen, np.full(clip.frames - len(seen), num_frames)))
        return np.minimum(places, num_frames - 1).astype(np.int64)
    end = int(rng.integers(window, num_frames))
    return np.minimum(np.linspace(end - window, end, clip.frames), end - 1).astype(np.int64)


def videomae_test(video: Timeline, clip: ClipConfig, num_clips: int) -> Indices:
    """[V, T]: windows of the list of every s-th frame."""
    every = np.arange(0, video.num_frames, clip.stride)
    room = max(len(every) - clip.frames, 0)
    starts = np.array([room // 2])
    if num_clips > 1:
        starts = (room / (num_clips - 1) * np.arange(num_clips)).astype(np.int64)
    return every[np.minimum(starts[:, None] + np.arange(clip.frames), len(every) - 1)]
