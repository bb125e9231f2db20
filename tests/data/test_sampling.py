"""Frame indices: golden vectors of published protocols, and laws for every length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidtok.config import ClipConfig
from vidtok.data import sampling

LENGTHS = st.integers(1, 400)
CLIPS = st.builds(
    ClipConfig,
    frames=st.integers(1, 40),
    stride=st.integers(1, 8),
    sampling=st.sampled_from(["dense", "uniform"]),
)


def dense(frames: int, stride: int) -> ClipConfig:
    return ClipConfig(frames=frames, stride=stride, sampling="dense")


def uniform(frames: int) -> ClipConfig:
    return ClipConfig(frames=frames, sampling="uniform")


@pytest.mark.parametrize(
    ("num_frames", "starts"), [(250, [0, 62, 124, 186]), (300, [0, 78, 157, 236])], ids=["L250", "L300"]
)
def test_dense_views_start_where_scenic_starts_them(num_frames: int, starts: list[int]) -> None:
    views = sampling.view_indices(num_frames, dense(32, 2), 4)
    assert views[:, 0].tolist() == starts
    assert np.all(np.diff(views, axis=1) == 2)


@pytest.mark.parametrize(("num_frames", "start"), [(250, 93), (300, 118), (64, 0), (65, 0), (66, 1)])
def test_a_single_dense_view_is_centred(num_frames: int, start: int) -> None:
    assert sampling.view_indices(num_frames, dense(32, 2), 1)[0, 0] == start


def test_one_uniform_clip_takes_segment_midpoints_as_timesformer() -> None:
    assert sampling.view_indices(29, uniform(8), 1).tolist() == [[2, 5, 8, 12, 16, 19, 22, 26]]


def test_several_uniform_clips_are_those_of_unmasked_teacher() -> None:
    assert sampling.view_indices(300, uniform(8), 4)[0].tolist() == [7, 44, 82, 119, 157, 194, 231, 269]
    assert sampling.view_indices(48, uniform(8), 2).tolist() == [
        [1, 7, 13, 19, 25, 30, 36, 42],
        [3, 9, 15, 21, 27, 32, 38, 44],
    ]


def test_a_video_shorter_than_a_dense_clip_repeats_its_last_frame() -> None:
    views = sampling.view_indices(5, dense(8, 2), 2)
    assert views.tolist() == [[0, 2, 4, 4, 4, 4, 4, 4]] * 2
    assert sampling.train_indices(5, dense(8, 2), np.random.default_rng(0)).tolist() == views[0].tolist()


@given(LENGTHS, CLIPS, st.integers(1, 12), st.integers(0, 99))
def test_all_indices_exist_and_rise(num_frames: int, clip: ClipConfig, num_clips: int, seed: int) -> None:
    views = sampling.view_indices(num_frames, clip, num_clips)
    train = sampling.train_indices(num_frames, clip, np.random.default_rng(seed))
    assert views.shape == (num_clips, clip.frames) and train.shape == (clip.frames,)
    for rows in (views, train[None]):
        assert rows.dtype == np.int64
        assert rows.min() >= 0 and rows.max() < num_frames
        assert np.all(np.diff(rows, axis=1) >= 0)


@given(LENGTHS, CLIPS, st.integers(2, 12))
def test_views_are_ordered_in_time(num_frames: int, clip: ClipConfig, num_clips: int) -> None:
    assert np.all(np.diff(sampling.view_indices(num_frames, clip, num_clips), axis=0) >= 0)


@given(LENGTHS, CLIPS, st.integers(0, 99))
def test_the_same_seed_draws_the_same_clip(num_frames: int, clip: ClipConfig, seed: int) -> None:
    first, second = (sampling.train_indices(num_frames, clip, np.random.default_rng(seed)) for _ in range(2))
    assert first.tolist() == second.tolist()


def test_dense_training_reaches_every_start_that_fits_and_no_other() -> None:
    rng = np.random.default_rng(0)
    clips = np.stack([sampling.train_indices(20, dense(4, 3), rng) for _ in range(400)])
    assert set(clips[:, 0].tolist()) == set(range(11))  # 10 + 3 * 3 = 19 is the last frame
    assert np.all(np.diff(clips, axis=1) == 3)


def test_uniform_training_reaches_every_place_of_every_segment() -> None:
    rng = np.random.default_rng(0)
    clips = np.stack([sampling.train_indices(29, uniform(8), rng) for _ in range(400)])
    assert [sorted(set(column)) for column in clips.T.tolist()][:2] == [[0, 1, 2, 3, 4], [4, 5, 6, 7]]
    assert clips.max() == 28


@given(LENGTHS, CLIPS, st.integers(1, 6), st.data())
def test_a_window_is_a_shifted_video(num_frames: int, clip: ClipConfig, num_clips: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, num_frames - 1))
    end = data.draw(st.integers(start + 1, num_frames))
    inside = sampling.view_indices(num_frames, clip, num_clips, window=(start, end))
    assert np.array_equal(inside - start, sampling.view_indices(end - start, clip, num_clips))
    assert inside.max() < end


def test_seconds_select_the_frames_presented_in_them() -> None:
    pts = np.array([0.0, 0.5, 1.0, 1.5, 4.0])  # variable rate: the last but one frame stays for 2.5 s
    window = sampling.frames_in_seconds
    assert window(pts, start_seconds=0.5, end_seconds=1.5) == (1, 3)
    assert window(pts, start_seconds=0.0, end_seconds=9.0) == (0, 5)
    assert window(pts, start_seconds=2.0, end_seconds=3.0) == (3, 4)
    assert window(pts, start_seconds=7.0, end_seconds=8.0) == (4, 5)
    assert window(pts, start_seconds=0.0, end_seconds=0.1) == (0, 1)
