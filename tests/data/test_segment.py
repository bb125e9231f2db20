"""Parts of videos: which frames they mean, and that every user of a list takes these and no others."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.videos import frame_numbers, write_counter
from vidtok.config import AugmentConfig, ClipConfig
from vidtok.data.cache import decode_all
from vidtok.data.dataset import TrainDataset, ViewDataset
from vidtok.data.decode import VideoInfo, decode_frames, probe
from vidtok.data.fileindex import index_videos
from vidtok.data.listdiff import compare_lists
from vidtok.data.manifest import Item, load_manifest, read_listing
from vidtok.data.manifest.repeats import same_content, segments_outside, warn_of_repeats, warn_of_shared
from vidtok.data.prepare import plan_prepare, prepare_videos
from vidtok.data.segment import Segment, segment_frames, segment_seconds
from vidtok.data.split import write_split
from vidtok.data.swaps import resolve_swaps
from vidtok.data.sweep import Limits
from vidtok.data.transcode import Encoding
from vidtok.errors import DataError, DecodeError

FPS = 8
LIST = "path,start,end,label\nlong.mp4,0,1,dark\nlong.mp4,1,3,light\n"
CLIP = ClipConfig(frames=4, stride=2, size=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 24 frames at 8 frames per second, 3 s, and a list of two parts of it."""
    folder = tmp_path_factory.mktemp("segments")
    write_counter(folder / "long.mp4", frames=24, fps=FPS)
    (folder / "train.csv").write_text(LIST)
    return folder


def info(num_frames: int = 24, fps: float = FPS) -> VideoInfo:
    return VideoInfo("x.mp4", num_frames, np.arange(num_frames) / fps, fps, 64, 48, 0, "h264")


@pytest.mark.parametrize(
    ("segment", "frames", "seconds"),
    [
        (None, (0, 24), (0, 3)),
        (Segment(0, 1), (0, 8), (0, 1)),
        (Segment(1, 3), (8, 24), (1, 3)),
        (Segment(1, None), (8, 24), (1, 3)),
        (Segment(1, 3.9), (8, 24), (1, 3)),
        (Segment(0.9999, 2), (8, 16), (0.9999, 2)),  # containers round times
        (Segment(0.26, 0.27), (2, 3), (0.26, 0.27)),  # the picture on screen
        (Segment(2.99, 3), (23, 24), (2.99, 3)),
        (Segment(4, 10, "frames"), (4, 10), (0.5, 1.25)),
        (Segment(4, None, "frames"), (4, 24), (0.5, 3)),
        (Segment(20, 26, "frames"), (20, 24), (2.5, 3)),
    ],
)
def test_a_segment_means_the_frames_that_appear_in_it(
    segment: Segment | None, frames: tuple[int, int], seconds: tuple[float, float]
) -> None:
    assert segment_frames(segment, info()) == frames
    assert segment_seconds(segment, info()) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "segment", [Segment(3, 4), Segment(1, 4.1), Segment(24, 30, "frames"), Segment(2, 40, "frames")]
)
def test_a_segment_that_the_video_does_not_hold_is_an_error_of_that_item(segment: Segment) -> None:
    with pytest.raises(DecodeError, match=r"x\.mp4: the list means .* of it, but the video has (3 s|24 frames)"):
        segment_frames(segment, info())


@pytest.mark.parametrize(
    ("seconds", "frames"),
    [
        (10, (0, 80)),  # the clip
        (11.5, (0, 92)),  # the clip, cut at key frames
        (15, (0, 120)),  # ends before the segment starts: it can only be a clip
        (40, (160, 240)),  # the video that it was cut out of
        (30, (160, 240)),
    ],
)
def test_a_file_that_may_be_cut_tells_by_its_length(seconds: float, frames: tuple[int, int]) -> None:
    assert segment_frames(Segment(20, 30, may_be_cut=True), info(round(seconds * FPS))) == frames


def test_a_file_between_clip_and_video_is_an_error() -> None:
    with pytest.raises(DecodeError, match="the list means 20-30 s of it, but the video has 25 s"):
        segment_frames(Segment(20, 30, may_be_cut=True), info(25 * FPS))


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize("sampling", ["dense", "uniform", "tsn", "slowfast", "videomae"])
def test_training_and_test_views_stay_inside_the_part(folder: Path, sampling: str, is_cached: bool) -> None:
    items = load_manifest(folder / "train.csv").items
    clip = ClipConfig(frames=4, stride=2, size=32, sampling=sampling)
    augment = AugmentConfig(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0))
    cache = None
    if is_cached:
        cache = decode_all([item.path for item in items], segments=[item.segment for item in items])
        assert [len(cache[index]) for index in (0, 1)] == [8, 16]
    train = TrainDataset(items, clip=clip, augment=augment, swaps=resolve_swaps(augment, None, 2), seed=0, cache=cache)
    for epoch in range(4):
        for index, allowed in ((0, range(8)), (1, range(8, 24))):
            shown = frame_numbers(train[epoch, index]["clip"][:, :, :, 16].float().mean((0, 2)).tolist())
            assert set(shown) <= set(allowed)
    views = ViewDataset(items, clip=clip, num_clips=2, num_crops=1)
    for index, allowed in ((0, range(8)), (1, range(8, 24))):
        sample = views[index]
        assert set(sample["frames"].flatten().tolist()) <= set(allowed)
        assert sample["span"].tolist() == [[0, 1], [1, 3]][index]


def test_parts_of_one_video_have_names_of_their_own_and_fail_alone(folder: Path) -> None:
    path = str(folder / "long.mp4")
    views = ViewDataset(
        [Item(path, 0, Segment(1, 2)), Item(path, 1, Segment(9, 12))], clip=CLIP, num_clips=1, num_crops=1
    )
    good, bad = views[0], views[1]
    assert good["path"] == f"{path} [1-2 s]" and good["valid"]
    assert bad["path"] == f"{path} [9-12 s]" and not bad["valid"] and "the list means 9-12 s" in bad["error"]
    assert bad["span"].isnan().all()


def test_a_copy_holds_the_parts_and_its_list_has_no_times(folder: Path, tmp_path: Path) -> None:
    plan = plan_prepare(str(folder / "train.csv"), tmp_path)
    outcomes = prepare_videos(plan, Encoding(short_side=32), limits=Limits(seconds=60))
    assert [outcome.cause for outcome in outcomes] == [None, None]
    made = load_manifest(tmp_path / "train.csv")
    assert [(Path(item.path).name, item.label, item.segment) for item in made.items] == [
        ("long_0-1s.mp4", 0, None),
        ("long_1-3s.mp4", 1, None),
    ]
    for item, numbers in zip(made.items, (range(8), range(8, 24)), strict=True):
        frames = decode_frames(item.path, lambda info: np.arange(info.num_frames)).frames
        assert frame_numbers(frames[:, :, 16:].mean((1, 2, 3)).tolist()) == list(numbers)
        np.testing.assert_allclose(probe(item.path).pts_seconds, np.arange(len(numbers)) / FPS, atol=1e-3)
    again = prepare_videos(plan_prepare(str(folder / "train.csv"), tmp_path), Encoding(short_side=32))
    assert not any(outcome.is_new for outcome in again)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize(
    "columns",
    [
        "start,end,label\nlong.mp4,0,1,x\nlong.mp4,1.5,3",
        "start_frame,end_frame,label\nlong.mp4,0,8,x\nlong.mp4,8,24",
        "source_start,source_end,label\nlong.mp4,0,1,x\nlong.mp4,1.5,3",
    ],
)
def test_an_index_means_the_parts_that_its_list_means(folder: Path, tmp_path: Path, columns: str, suffix: str) -> None:
    (folder / "part.csv").write_text(f"path,{columns},y\n")
    listing = read_listing(folder / "part.csv")
    index_videos(listing, tmp_path / f"a{suffix}")
    index = read_listing(tmp_path / f"a{suffix}")
    assert [row.segment for row in index.rows] == [row.segment for row in listing.rows]
    assert None not in [row.segment for row in index.rows]


def test_parts_of_one_video_stay_in_one_split_and_keep_their_times(folder: Path, tmp_path: Path) -> None:
    for name in "abcdefgh":
        (folder / f"{name}.mp4").touch()
    rows = [f"{name}.mp4,{start},{start + 1},x" for name in "abcdefgh" for start in (0, 2)]
    (folder / "many.csv").write_text("path,start,end,label\n" + "\n".join(rows))
    write_split(read_listing(folder / "many.csv"), tmp_path, val=0.25, test=0.25)
    parts = {name: load_manifest(tmp_path / f"{name}.csv").items for name in ("train", "val", "test")}
    assert sum(map(len, parts.values())) == 16
    assert all({item.segment for item in items} == {Segment(0, 1), Segment(2, 3)} for items in parts.values())
    files = [{item.path for item in items} for items in parts.values()]
    assert sum(map(len, files)) == len(set.union(*files)) == 8


def test_a_diff_tells_parts_of_one_video_apart(folder: Path) -> None:
    (folder / "new.csv").write_text("path,start,end,label\nlong.mp4,0,1,light\nlong.mp4,2,3,light\n")
    found = compare_lists(read_listing(folder / "train.csv"), read_listing(folder / "new.csv"), known_a={}, known_b={})
    assert (found.added, found.removed) == (("long.mp4 [2-3 s]",), ("long.mp4 [1-3 s]",))
    assert found.relabelled == (("long.mp4 [0-1 s]", "dark", "light"),)


# ------------------------------------------------------------------------------------------ repeats


def test_repeats_and_contradictions_are_counted_with_an_example(caplog: pytest.LogCaptureFixture) -> None:
    items = [Item("a", 0), Item("b", 1), Item("a", 0), Item("a", 1), Item("b", 1, Segment(0, 1))]
    warn_of_repeats(items, "list")
    assert "1 rows repeat an earlier one, such as 'a'" in caplog.text
    assert "1 rows give a video another label than an earlier row, such as 'a': 0, then 1" in caplog.text


def test_videos_that_are_trained_on_and_tested_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    train = [Item("a", 0), Item("b", 0, Segment(0, 4))]
    warn_of_shared(
        train, [Item("c", 0), Item("b", 0, Segment(4, 8)), Item("b", 0, Segment(0, 9, "frames"))], "data.val"
    )
    assert "data.val: 1 of 3 videos are trained on as well, such as 'b [frames 0-9]'" in caplog.text
    caplog.clear()
    warn_of_shared(train, [Item("b", 0, Segment(4, 8))], "data.val")
    assert not caplog.text


def test_files_of_one_content_are_found_whatever_they_are_called(tmp_path: Path) -> None:
    for name, content in {"a": b"x" * 300_000, "b": b"y" * 300_000, "c": b"x" * 300_000, "d": b"", "e": b""}.items():
        (tmp_path / name).write_bytes(content)
    found = same_content(str(tmp_path / name) for name in "abcdef")
    assert found == [[str(tmp_path / "a"), str(tmp_path / "c")]]


def test_parts_beyond_the_end_are_found_from_the_facts_of_the_file() -> None:
    items = [Item("a", 0, Segment(0, 3)), Item("a", 0, Segment(9, 12)), Item("a", 0), Item("gone", 0, Segment(0, 1))]
    found = segments_outside(items, {"a": {"frames": 24, "fps": 8.0}})
    assert [row["path"] for row in found] == ["a [9-12 s]"] and found[0]["cause"].startswith("a: the list means 9-12 s")


def test_a_list_of_two_kinds_of_parts_is_not_written(folder: Path, tmp_path: Path) -> None:
    rows = ['{"path": "long.mp4", "start": 0, "end": 1}', '{"path": "long.mp4", "start_frame": 0, "end_frame": 9}']
    (folder / "two.jsonl").write_text("\n".join(rows))
    with pytest.raises(DataError, match="in seconds and in frames"):
        index_videos(read_listing(folder / "two.jsonl"), tmp_path / "two.csv")


def test_a_segment_that_no_frame_is_asked_of_leaves_the_clip_blank(folder: Path) -> None:
    augment = AugmentConfig()
    items = [Item(str(folder / "long.mp4"), 0, Segment(50, 60))]
    sample = TrainDataset(items, clip=CLIP, augment=augment, swaps=resolve_swaps(augment, None, 2), seed=0)[0, 0]
    assert not sample["valid"] and not torch.any(sample["clip"])
