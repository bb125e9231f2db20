"""The benchmark's arithmetic by hand, and one short run on small files."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from tests.data.video_files import psnr
from vidtok.data.bench import SCHEMA, BenchOptions, Report, bench_data, document, recommend
from vidtok.data.bench.clips import write_clip
from vidtok.data.bench.readers import AUTO, LIMIT, YUV, decode_only, sample_of
from vidtok.data.bench.report import Group, Row
from vidtok.data.bench.timing import Timing, spread, time_in_turn
from vidtok.data.decode import decode_frames
from vidtok.errors import DataError

STAGES = {"open": 2.0, "seek+decode": 6.0, "convert": 1.0, "resize": 0.0, "augment": 0.5, "collate": 0.5}


def report(*, cores: int = 8, **times_auto: float) -> Report:
    """One group in which auto takes 10 ms a clip and other readers a multiple of it."""
    rows = [
        Row(name, is_peer=False, ms_per_clip=10 * ratio, spread=0.0, times_auto=ratio)
        for name, ratio in ({LIMIT: 0.5, AUTO: 1.0} | times_auto).items()
    ]
    return Report({"cores": cores}, 1, (Group("files", 1, 0, tuple(rows), STAGES, {}),))


@pytest.mark.parametrize("name", ["closed_gop.mp4", "one_gop.mp4", "open_gop.mkv", "hevc.mp4", "vp9.webm"])
def test_the_limit_decodes_exactly_the_wanted_frames(videos: Path, name: str) -> None:
    wanted = np.array([5, 9, 13, 29])
    sample = sample_of(str(videos / name), lambda count: wanted, short_side=40)
    frames = decode_only(sample)
    theirs = decode_frames(videos / name, lambda info: wanted).frames
    np.testing.assert_array_equal([frame.to_ndarray(format="rgb24") for frame in frames], theirs)


def test_files_that_must_be_decoded_from_their_start_are_not_compared(videos: Path) -> None:
    assert sample_of(str(videos / "elementary.h264"), lambda count: np.arange(2), short_side=40) is None


def test_a_ratio_is_the_median_over_rounds_so_that_a_slow_round_does_not_count() -> None:
    assert Timing((1.0, 10.0, 3.0)).times_as_long_as(Timing((2.0, 20.0, 1.0))) == 0.5
    assert Timing((1.0, 3.0, 2.0)).median == 2.0


def test_spread_means_the_same_in_every_document() -> None:
    rounds = (1.0, 2.0, 3.0, 4.0, 100.0)  # quartiles 1.5 and 52; one slow round is not the spread
    assert Timing(rounds).spread == spread(rounds) == pytest.approx((52 - 1.5) / 2 / 3)
    assert spread((1.0,)) == 0


def test_a_clock_that_stands_still_gives_finite_rates() -> None:
    timing = time_in_turn({"nothing": lambda: None}, rounds=1)["nothing"]
    assert timing.median > 0 and np.isfinite(timing.times_as_long_as(timing))


def test_tasks_take_turns_after_a_warm_up() -> None:
    calls: list[str] = []
    timings = time_in_turn({name: (lambda name=name: calls.append(name)) for name in "ab"}, rounds=2)
    assert "".join(calls) == "ab" + "ab" * 2
    assert [len(timing.seconds) for timing in timings.values()] == [2, 2]


def test_shares_and_gpus_follow_from_the_times() -> None:
    figures = report(decord=2.0)
    [group] = figures.groups
    assert group.share_of_limit(AUTO) == 0.5
    assert group.share_of_limit("decord") == 0.25
    assert figures.samples_per_s == pytest.approx(100)
    assert figures.gpus_fed(400) == pytest.approx(2)


@pytest.mark.parametrize(
    ("times_auto", "start"),
    [
        ({}, "decoder: auto (PyAV); no other"),
        ({"decord": 1.8, "torchcodec": 1.4}, "decoder: auto (PyAV); decord takes 1.80"),
        ({"decord": 0.95}, "decoder: auto"),
        ({"decord": 0.5, "torchcodec": 0.8}, "decoder: decord; it is 2.00 times"),
    ],
)
def test_another_engine_is_recommended_only_when_it_is_clearly_faster(times_auto: dict[str, float], start: str) -> None:
    assert recommend(report(**times_auto)).startswith(start)


def test_generated_clips_have_b_frames_and_the_interval_asked_for(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", interval=8, seed=3, num_frames=24)
    with av.open(clip) as container:
        kinds = [PictureType(frame.pict_type) for frame in container.decode(video=0)]
        assert kinds.count(PictureType.B) > 4
    with av.open(clip) as container:
        keys = [place for place, packet in enumerate(container.demux(video=0)) if packet.is_keyframe]
        assert max(np.diff(keys)) <= 8


def test_the_same_seed_writes_the_same_pictures(tmp_path: Path) -> None:
    first, second, other = (
        decode_frames(
            write_clip(tmp_path / "clip.mp4", interval=8, seed=seed, num_frames=8), lambda info: np.arange(8)
        ).frames
        for seed in (3, 3, 4)
    )
    assert psnr(first, second) > 30 > psnr(first, other)


def test_a_run_measures_every_reader_and_stage_on_the_users_files(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    paths = [str(videos / "closed_gop.mp4"), str(videos / "vp9.webm"), str(tmp_path / "broken.mp4")]
    figures = document(bench_data(paths, BenchOptions(4, 2, 32, rounds=1)), gpu_clips_per_s=100)
    assert json.loads(json.dumps(figures))["schema"] == SCHEMA
    [group] = figures["groups"]
    assert (group["clips"], group["left_out"]) == (2, 1)
    rows = {row["reader"]: row for row in group["rows"]}
    assert {LIMIT, AUTO, YUV} <= set(rows)
    assert all(row["ms_per_clip"] > 0 for row in rows.values())
    assert rows[AUTO]["times_auto"] == rows[LIMIT]["share_of_limit"] == 1
    assert set(group["stages_ms"]) == set(STAGES)
    assert set(group["views_ms"]) == {"1x1", "4x1", "4x3", "decode of the frames of 4x3"}
    assert figures["gpus_fed"] > 0


def test_without_a_file_to_compare_there_is_no_report(videos: Path) -> None:
    with pytest.raises(DataError, match="none of 1 files"):
        bench_data([str(videos / "elementary.h264")], BenchOptions())
