"""Windows of long videos."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

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
    while (span := window.span(len(found), info)) is not None:
        found.append(span)
    return found


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


def test_a_window_of_no_length_is_refused() -> None:
    with pytest.raises(ConfigError, match="above 0"):
        Window(seconds=1, stride_seconds=0)


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
