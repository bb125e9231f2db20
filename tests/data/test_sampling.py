"""Frame indices: golden vectors of published protocols, and laws for every length and convention."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vidtok.config import ClipConfig
from vidtok.data import sampling

LENGTHS = st.integers(1, 400)
LOOPING = ("scenic", "mmaction")


def clips(names: list[str]) -> st.SearchStrategy[ClipConfig]:
    return st.builds(ClipConfig, frames=st.integers(1, 40), stride=st.integers(1, 8), sampling=st.sampled_from(names))


CLIPS = clips(list(sampling.CONVENTIONS))
RISING = clips([name for name in sampling.CONVENTIONS if name not in LOOPING])


def times(num_frames: int, rate: float = 30.0) -> np.ndarray:
    return np.arange(num_frames) / rate


def views(num_frames: int, num_clips: int, *, rate: float = 30.0, **clip: Any) -> np.ndarray:
    """[V, T] of a video of constant rate."""
    return sampling.view_indices(num_frames, ClipConfig(**clip), num_clips, pts_seconds=times(num_frames, rate))


def train(num_frames: int, *, seeds: int = 400, **clip: Any) -> np.ndarray:
    """[seeds, T] drawn clips of a video of constant rate."""
    config, rng = ClipConfig(**clip), np.random.default_rng(0)
    pts = times(num_frames)
    return np.stack([sampling.train_indices(num_frames, config, rng, pts_seconds=pts) for _ in range(seeds)])


SPARSE = "0 1 3 5 7 9 10 12 14 16 18 19 21 23 25 27", "0 2 4 6 8 9 11 13 15 17 19 20 22 24 26 28"
GOLDEN = [
    # sampling, frames, stride, L, fps, views, view, its frames
    ("slowfast", 16, 4, 300, 30, 10, 0, "0 4 8 12 16 21 25 29 33 37 42 46 50 54 58 63"),
    ("timesformer", 8, 32, 300, 30, 1, 0, "0 36 72 109 145 182 218 255"),
    ("timesformer", 8, 32, 250, 25, 1, 0, "0 30 60 91 121 151 182 212"),
    ("uniform", 8, 1, 29, 12, 1, 0, "2 5 8 12 16 19 22 26"),
    ("uniform", 8, 1, 120, 30, 1, 0, "7 22 37 52 67 81 96 111"),
    ("umt", 8, 1, 300, 30, 4, 0, "7 44 82 119 157 194 231 269"),
    ("umt", 8, 1, 48, 12, 2, 0, "1 7 13 19 25 30 36 42"),
    ("umt", 8, 1, 48, 12, 2, 1, "3 9 15 21 27 32 38 44"),
    ("uniform", 8, 1, 48, 12, 2, 1, "3 9 15 21 27 32 38 44"),
    ("videomae_ssv2", 16, 1, 29, 12, 2, 0, SPARSE[0]),
    ("videomae_ssv2", 16, 1, 29, 12, 2, 1, SPARSE[1]),
    ("tsn", 16, 1, 48, 12, 1, 0, " ".join(str(3 * i + 1) for i in range(16))),
    ("videomae_ssv2", 16, 1, 48, 12, 2, 0, " ".join(str(3 * i) for i in range(16))),
    ("videomae_ssv2", 16, 1, 48, 12, 2, 1, " ".join(str(3 * i + 1) for i in range(16))),
]
GOLDEN_STARTS = [
    # sampling, frames, stride, L, views, first frame of every view, frames from first to last
    ("mmaction", 16, 4, 300, 10, [0, 27, 53, 80, 106, 133, 159, 186, 212, 239], 60),
    ("mmaction", 8, 32, 300, 1, [37], 224),
    ("mmaction", 8, 32, 250, 1, [12], 224),
    ("scenic", 32, 2, 250, 4, [0, 62, 124, 186], 62),
    ("scenic", 32, 2, 300, 4, [0, 78, 157, 236], 62),
    ("dense", 32, 2, 250, 4, [0, 62, 124, 186], 62),
    ("dense", 32, 2, 300, 4, [0, 78, 157, 236], 62),
    ("videomae", 16, 4, 300, 5, [0, 56, 116, 176, 236], 60),
    ("videomae", 16, 4, 250, 5, [0, 44, 92, 140, 188], 60),
]


@pytest.mark.parametrize(("name", "frames", "stride", "num_frames", "fps", "num_clips", "view", "expected"), GOLDEN)
def test_golden_frames(
    name: str, frames: int, stride: int, num_frames: int, fps: int, num_clips: int, view: int, expected: str
) -> None:
    out = views(num_frames, num_clips, rate=fps, sampling=name, frames=frames, stride=stride)
    assert " ".join(map(str, out[view])) == expected


@pytest.mark.parametrize(("name", "frames", "stride", "num_frames", "num_clips", "starts", "span"), GOLDEN_STARTS)
def test_golden_starts_and_exact_strides(
    name: str, frames: int, stride: int, num_frames: int, num_clips: int, starts: list[int], span: int
) -> None:
    out = views(num_frames, num_clips, sampling=name, frames=frames, stride=stride)
    assert out[:, 0].tolist() == starts
    assert np.all(np.diff(out, axis=1) == stride) and np.all(out[:, -1] - out[:, 0] == span)


def test_golden_last_views_of_slowfast() -> None:
    clip = {"frames": 16, "stride": 4}
    assert views(300, 10, sampling="slowfast", **clip)[9, [0, -1]].tolist() == [212, 275]
    assert views(300, 10, sampling="slowfast_offset", **clip)[9, [0, -1]].tolist() == [234, 297]


def test_timesformer_96x4_repeats_the_last_of_300_frames_21_times() -> None:
    out = views(300, 1, sampling="timesformer", frames=96, stride=4)[0]
    assert (out == 299).sum() == 21


@pytest.mark.parametrize(("num_frames", "start"), [(250, 93), (300, 118), (64, 0), (65, 0), (66, 1)])
def test_a_single_dense_view_is_centred(num_frames: int, start: int) -> None:
    assert views(num_frames, 1, frames=32, stride=2)[0, 0] == start


@pytest.mark.parametrize(
    ("short", "expected"),
    [
        ("auto", [0, 2, 4, 4, 4, 4, 4, 4]),
        ("hold", [0, 2, 4, 4, 4, 4, 4, 4]),
        ("loop", [0, 2, 4, 1, 3, 0, 2, 4]),
        ("stretch", [0, 1, 1, 2, 2, 3, 3, 4]),
    ],
)
def test_short_videos_are_filled_as_named_in_training_and_test(short: str, expected: list[int]) -> None:
    clip = {"frames": 8, "stride": 2, "short": short}
    assert views(5, 2, **clip).tolist() == [expected] * 2
    assert np.all(train(5, seeds=3, **clip) == expected)
    in_time = {"fps": 15, "frames": 8, "stride": 1, "short": short}  # the same places, measured in seconds
    assert views(5, 2, **in_time).tolist() == [expected] * 2
    assert np.all(train(5, seeds=3, **in_time) == expected)


@given(st.integers(40, 400), st.sampled_from(["dense", "slowfast", "slowfast_offset", "mmaction"]), st.integers(1, 5))
def test_a_video_that_is_long_enough_is_no_short_video(num_frames: int, name: str, num_clips: int) -> None:
    hold, loop, stretch = (
        views(num_frames, num_clips, sampling=name, frames=8, stride=5, short=short)
        for short in ("hold", "loop", "stretch")
    )
    assert np.array_equal(hold, loop) and np.array_equal(hold, stretch)


def test_conventions_fill_short_videos_as_their_code_does() -> None:
    clip = {"frames": 8, "stride": 2}
    assert views(5, 1, sampling="scenic", **clip).tolist() == [[0, 2, 4, 1, 3, 0, 2, 4]]
    assert views(5, 1, sampling="mmaction", **clip).tolist() == [[0, 2, 4, 1, 3, 0, 2, 4]]
    assert views(5, 1, sampling="videomae", **clip).tolist() == [[0, 2, 4, 4, 4, 4, 4, 4]]
    assert train(9, seeds=1, sampling="videomae", **clip).tolist() == [[0, 3, 6, 8, 8, 8, 8, 8]]  # linspace(0, 9, 4)
    assert train(3, seeds=1, sampling="tsn", **clip).tolist() == [[0, 0, 0, 1, 1, 1, 2, 2]]
    assert {tuple(row) for row in train(3, sampling="scenic", frames=3, stride=2).tolist()} == {
        (0, 2, 1), (1, 0, 2), (2, 1, 0)
    }  # fmt: skip


@settings(deadline=None)  # the first call of torch loads it
@given(LENGTHS, CLIPS, st.integers(1, 12), st.integers(0, 99), st.sampled_from([12.0, 29.97, 60.0]))
def test_all_indices_exist(num_frames: int, clip: ClipConfig, num_clips: int, seed: int, fps: float) -> None:
    pts = times(num_frames, fps)
    test = sampling.view_indices(num_frames, clip, num_clips, pts_seconds=pts)
    drawn = sampling.train_indices(num_frames, clip, np.random.default_rng(seed), pts_seconds=pts)
    assert test.shape == (num_clips, clip.frames) and drawn.shape == (clip.frames,)
    for rows in (test, drawn):
        assert rows.dtype == np.int64
        assert rows.min() >= 0 and rows.max() < num_frames


@given(LENGTHS, RISING, st.integers(1, 12), st.integers(0, 99))
def test_frames_rise_unless_short_videos_start_over(
    num_frames: int, clip: ClipConfig, num_clips: int, seed: int
) -> None:
    pts = times(num_frames)
    test = sampling.view_indices(num_frames, clip, num_clips, pts_seconds=pts)
    drawn = sampling.train_indices(num_frames, clip, np.random.default_rng(seed), pts_seconds=pts)
    for rows in (test, drawn[None]):
        assert np.all(np.diff(rows, axis=1) >= 0)


@given(LENGTHS, RISING, st.integers(2, 12))
def test_views_are_ordered_in_time(num_frames: int, clip: ClipConfig, num_clips: int) -> None:
    rows = sampling.view_indices(num_frames, clip, num_clips, pts_seconds=times(num_frames))
    assert np.all(np.diff(rows, axis=0) >= 0)


@given(LENGTHS, CLIPS, st.integers(0, 99))
def test_the_same_seed_draws_the_same_clip(num_frames: int, clip: ClipConfig, seed: int) -> None:
    first, second = (
        sampling.train_indices(num_frames, clip, np.random.default_rng(seed), pts_seconds=times(num_frames))
        for _ in range(2)
    )
    assert first.tolist() == second.tolist()


# ------------------------------------------------------------------------------------------ training


@pytest.mark.parametrize(("name", "starts"), [("dense", 11), ("scenic", 11), ("mmaction", 9)])
def test_dense_training_reaches_every_start_that_fits_and_no_other(name: str, starts: int) -> None:
    drawn = train(20, sampling=name, frames=4, stride=3)
    assert set(drawn[:, 0].tolist()) == set(range(starts))  # 10 + 3 * 3 = 19 is the last frame; mmaction2 keeps 12
    assert np.all(np.diff(drawn, axis=1) == 3)


def test_videomae_trains_on_windows_of_64_frames_with_a_stride_of_64_by_15() -> None:
    drawn = train(70, sampling="videomae", frames=16, stride=4)
    assert set(drawn[:, 0].tolist()) == set(range(6))  # the window ends before the last frame
    assert np.all(drawn[:, -1] - drawn[:, 0] == 63)
    assert (drawn[0] - drawn[0, 0]).tolist() == [0, 4, 8, 12, 17, 21, 25, 29, 34, 38, 42, 46, 51, 55, 59, 63]


def test_slowfast_trains_from_starts_between_frames() -> None:
    drawn = train(100, sampling="slowfast", frames=16, stride=4)
    assert drawn[:, 0].min() == 0 and drawn[:, 0].max() == 35 and drawn.max() <= 99
    assert len({tuple(row - row[0]) for row in drawn}) > 1


def test_tsn_training_never_sees_the_tail_beyond_whole_segments() -> None:
    drawn = train(29, sampling="videomae_ssv2", frames=8)
    assert [sorted(set(column)) for column in drawn.T.tolist()] == [list(range(3 * i, 3 * i + 3)) for i in range(8)]


def test_uniform_training_reaches_every_place_of_every_segment() -> None:
    drawn = train(29, sampling="uniform", frames=8)
    assert [sorted(set(column)) for column in drawn.T.tolist()][:2] == [[0, 1, 2, 3, 4], [4, 5, 6, 7]]
    assert drawn.max() == 28


# --------------------------------------------------------------------------------- rates and seconds


@given(LENGTHS, st.integers(1, 40), st.integers(1, 8), st.integers(1, 6), st.sampled_from([12.0, 25.0, 29.97, 60.0]))
def test_at_its_own_rate_a_video_is_sampled_as_without_one(
    num_frames: int, frames: int, stride: int, num_clips: int, fps: float
) -> None:
    clip = {"frames": frames, "stride": stride}
    in_time = views(num_frames, num_clips, rate=fps, fps=fps, **clip)
    assert np.array_equal(in_time, views(num_frames, num_clips, **clip))


def test_a_target_rate_takes_the_frame_on_screen() -> None:
    assert views(60, 1, rate=60.0, fps=30, frames=4, stride=1).tolist() == [[26, 28, 30, 32]]
    assert views(10, 1, rate=10.0, fps=25, frames=6, stride=1).tolist() == [[3, 3, 3, 4, 4, 5]]
    assert views(300, 4, rate=30.0, fps=12.5, frames=8, stride=1)[0].tolist() == [0, 2, 4, 7, 9, 12, 14, 16]


def test_times_count_where_the_rate_varies() -> None:
    pts = np.array([0.0, 0.1, 0.2, 0.3, 1.0, 1.1, 1.2, 1.3])  # 0.7 s without a new frame
    clip = ClipConfig(frames=6, stride=1, fps=4)
    assert sampling.view_indices(8, clip, 1, pts_seconds=pts).tolist() == [[0, 2, 3, 3, 4, 6]]
    assert sampling.view_indices(8, clip, 1, pts_seconds=pts + 7.5).tolist() == [[0, 2, 3, 3, 4, 6]]


@pytest.mark.parametrize("scale", [1000, 600, 90000])
def test_rounded_times_choose_the_same_frames(scale: int) -> None:
    exact = np.arange(300) / 30
    rounded = np.round(exact * scale) / scale
    clip = ClipConfig(frames=16, stride=4, fps=30)
    expected = sampling.view_indices(300, ClipConfig(frames=16, stride=4), 7)
    assert np.array_equal(sampling.view_indices(300, clip, 7, pts_seconds=rounded), expected)


def test_a_video_without_times_counts_its_frames() -> None:
    clip = ClipConfig(frames=4, stride=2, fps=10)
    for pts in (np.zeros(20), np.zeros(1)):
        plain = sampling.view_indices(len(pts), ClipConfig(frames=4, stride=2), 2)
        assert np.array_equal(sampling.view_indices(len(pts), clip, 2, pts_seconds=pts), plain)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampling": "videomae", "fps": 30}, "fps 30 has no effect with sampling videomae"),
        ({"sampling": "uniform", "short": "loop"}, "short loop has no effect with sampling uniform"),
        ({"fps": 0}, "greater than 0"),
    ],
)
def test_settings_without_effect_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ClipConfig(**settings)


def test_a_clip_stored_before_conventions_had_names_means_the_same() -> None:
    old = {"frames": 32, "stride": 2, "sampling": "dense", "size": 224, "short_side": 256}
    clip = ClipConfig.model_validate(old)
    assert (clip.fps, clip.short, clip.uses_times) == (None, "auto", False)
    assert sampling.view_indices(5, clip, 1)[0].tolist() == [0, 2, 4] + [4] * 29


@given(LENGTHS, CLIPS, st.integers(1, 6), st.data())
def test_a_window_is_a_shifted_video(num_frames: int, clip: ClipConfig, num_clips: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, num_frames - 1))
    end = data.draw(st.integers(start + 1, num_frames))
    pts = times(num_frames, 25.0)
    inside = sampling.view_indices(num_frames, clip, num_clips, window=(start, end), pts_seconds=pts)
    shifted = sampling.view_indices(end - start, clip, num_clips, pts_seconds=pts[start:end])
    assert np.array_equal(inside - start, shifted)
    assert inside.max() < end


def test_seconds_select_the_frames_presented_in_them() -> None:
    pts = np.array([0.0, 0.5, 1.0, 1.5, 4.0])  # variable rate: the last but one frame stays for 2.5 s
    window = sampling.frames_in_seconds
    assert window(pts, start_seconds=0.5, end_seconds=1.5) == (1, 3)
    assert window(pts, start_seconds=0.0, end_seconds=9.0) == (0, 5)
    assert window(pts, start_seconds=2.0, end_seconds=3.0) == (3, 4)
    assert window(pts, start_seconds=7.0, end_seconds=8.0) == (4, 5)
    assert window(pts, start_seconds=0.0, end_seconds=0.1) == (0, 1)
