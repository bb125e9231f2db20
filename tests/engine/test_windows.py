"""Windows of long videos."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.data.video_files import Encoding, write, x264
from tests.data.videos import write_counter
from vidtok.config import ClipConfig
from vidtok.data.dataset import load_views
from vidtok.data.decode import VideoInfo
from vidtok.engine.windows import Span, Window, window_views
from vidtok.errors import ConfigError


def info_of(num_frames: int, fps: float = 10.0) -> VideoInfo:
    return VideoInfo("v.mp4", num_frames, np.arange(num_frames) / fps, fps, 32, 32, 0, "h264")


def spans(window: Window, info: VideoInfo) -> list[Span]:
    found: list[Span] = []
    number = 0
    while (span := window.span(number, info)) is not None:
        found.append(span)
        number = window.after(number, info)
    return found


def shown_at(*seconds: float) -> VideoInfo:
    pts = np.array(seconds)
    return VideoInfo("v.mp4", len(pts), pts, (len(pts) - 1) / pts[-1], 32, 32, 0, "h264")


@pytest.mark.parametrize("num_frames", [1, 7, 20, 21, 99, 100, 101])
@pytest.mark.parametrize(("seconds", "stride"), [(2.0, 1.0), (2.0, 2.0), (0.3, 0.1), (1.0, 0.7)])
def test_windows_without_gaps_cover_the_whole_video_and_only_the_last_reaches_its_end(
    num_frames: int, seconds: float, stride: float
) -> None:
    info = info_of(num_frames)
    found = spans(Window(seconds=seconds, stride_seconds=stride), info)
    assert found[0][0] == 0
    assert found[-1][1] >= info.duration_seconds - 0.5 / info.fps
    assert all(end < info.duration_seconds - 0.5 / info.fps for _, end in found[:-1])
    assert all(later[0] <= earlier[1] + 1e-9 for earlier, later in pairwise(found))


def test_windows_start_a_stride_apart_and_a_gap_may_hold_the_end() -> None:
    assert spans(Window(seconds=1, stride_seconds=3), info_of(50)) == [(0, 1), (3, 4)]
    assert spans(Window(seconds=2, stride_seconds=1), info_of(35)) == [(0, 2), (1, 3), (2, 3.5)]


def test_one_time_that_lies_adds_one_window_and_not_a_day_of_them() -> None:
    lie = 86_400.0
    info = shown_at(*np.arange(30) / 10, lie)
    found = spans(Window(seconds=1, stride_seconds=1), info)
    assert found[:3] == [(0, 1), (1, 2), (2, 3)]
    assert found[3:] == [(lie, lie + 1)]


def test_gaps_are_passed_over_where_windows_overlap() -> None:
    info = shown_at(0.0, 0.5, 1.0, 100.25, 100.75)
    found = spans(Window(seconds=2, stride_seconds=1), info)
    assert [start for start, _ in found] == [0, 1, 99]


@given(
    st.lists(st.integers(0, 10**9), min_size=2, max_size=30, unique=True),
    st.floats(0.001, 1e4),
    st.floats(0.001, 1e4),
)
def test_there_are_at_most_two_windows_for_each_frame_and_none_is_empty(
    milliseconds: list[int], seconds: float, stride: float
) -> None:
    pts = (np.sort(milliseconds) - min(milliseconds)) / 1000
    window = Window(seconds=seconds, stride_seconds=stride)
    found = spans(window, shown_at(*pts))
    assert len(found) <= 2 * len(pts)
    for start, _ in found:
        assert np.any((pts >= start - 1e-5) & (pts < start + seconds + 1e-5))


def test_windows_that_are_left_out_are_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    video = write(tmp_path / "gap.mp4", Encoding(options=x264(), numbers=range(6), times=(0, 1, 2, 3, 4, 2500)))
    window = Window(seconds=1, stride_seconds=1)
    clip = ClipConfig(frames=2, stride=1, size=32)
    found = [span for span, _ in window_views(str(video), clip, window, num_clips=1, num_crops=1)]
    assert [start for start, _ in found] == [0, 100]
    assert "left out 99 windows" in caplog.text


@pytest.mark.parametrize(("seconds", "stride"), [(1, 0), (0, 1), (1, 1e-9), (1e12, 1), (float("nan"), 1)])
def test_a_window_of_no_length_is_refused(seconds: float, stride: float) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        Window(seconds=seconds, stride_seconds=stride)


def test_a_window_is_what_loading_it_alone_gives(tmp_path: Path) -> None:
    video = str(write_counter(tmp_path / "v.mp4", frames=28))
    clip = ClipConfig(frames=4, stride=2, size=32)
    window = Window(seconds=1.0, stride_seconds=0.75)
    count = 0
    for span, views in window_views(video, clip, window, num_clips=2, num_crops=3):
        alone = load_views(video, clip, num_clips=2, num_crops=3, window_seconds=span)
        assert torch.equal(views.views, alone.views)
        assert np.array_equal(views.indices, alone.indices)
        count += 1
    assert count == 5  # 3.5 s: starts at 0, 0.75, ... 3
