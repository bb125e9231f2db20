"""Conventions that take one frame from each of T equal segments of a video; rules in the package's docstring."""

import numpy as np

from vidtok.config import ClipConfig
from vidtok.data.sampling.timeline import Indices, Timeline, fill


def uniform_train(video: Timeline, clip: ClipConfig, rng: np.random.Generator) -> Indices:
    """[T]: a random frame from every segment, both ends included."""
    edges = _edges(video.num_frames, frames=clip.frames)
    return rng.integers(edges[:-1], edges[1:], endpoint=True)


def uniform_test(video: Timeline, clip: ClipConfig, num_clips: int) -> Indices:
    """[V, T]: segment midpoints for one view, else those of Unmasked Teacher."""
    if num_clips > 1:
        return umt_test(video, clip, num_clips)
    edges = _edges(video.num_frames, frames=clip.frames)
    return ((edges[:-1] + edges[1:]) // 2)[None]


def umt_test(video: Timeline, clip: ClipConfig, num_clips: int) -> Indices:
    """[V, T]: shifts of 1/(V+1), 2/(V+1), ... of a segment from its border."""
    edges = _edges(video.num_frames, frames=clip.frames)
    part = (video.num_frames - 1) / clip.frames / (num_clips + 1)
    shifts = (part * np.arange(1, num_clips + 1)).astype(np.int64)
    return fill(edges[:-1] + shifts[:, None], num_frames=video.num_frames, short="hold")


def _edges(num_frames: int, *, frames: int) -> Indices:
    """[T + 1] rounded borders (half to even) of T equal segments of the frames 0 ... L - 1."""
    return np.round((num_frames - 1) / frames * np.arange(frames + 1)).astype(np.int64)


def tsn_train(video: Timeline, clip: ClipConfig, rng: np.random.Generator) -> Indices:
    """[T]: a random frame from every segment of floor(L / T) frames; spread over a video that has fewer than T."""
    length = video.num_frames // clip.frames
    if length == 0:
        return np.arange(clip.frames) * video.num_frames // clip.frames
    return length * np.arange(clip.frames) + rng.integers(length, size=clip.frames)


def tsn_test(video: Timeline, clip: ClipConfig, num_clips: int) -> Indices:
    """[V, T]: truncated segment midpoints for one view, else places 0, 1/V, 2/V, ... of every segment."""
    length = video.num_frames / clip.frames
    places = np.arange(num_clips) / num_clips if num_clips > 1 else np.array([0.5])
    return (length * np.arange(clip.frames) + length * places[:, None]).astype(np.int64)
