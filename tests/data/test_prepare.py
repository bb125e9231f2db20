"""A prepared copy: the same frames at the same times, smaller, with key frames where they are wanted."""

import csv
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from tests.data.difficult_files import DAMAGED, DIFFICULT, UNREADABLE
from tests.data.video_files import RATE, VFR_TIMES, frame_numbers
from tests.data.videos import write_counter
from vidtok.data.decode import decode_frames, open_video, probe
from vidtok.data.manifest import load_manifest
from vidtok.data.prepare import STATE_FILE, plan_prepare, prepare_videos, summarise
from vidtok.data.sweep import Limits, Outcome
from vidtok.data.transcode import Encoding, part_of, transcode
from vidtok.data.verify import check_video
from vidtok.errors import ConfigError, DataError, DecodeError

LIMITS = Limits(seconds=60)


def prepare(source: Path, out: Path, encoding: Encoding | None = None, **options: object) -> list[Outcome]:
    return prepare_videos(plan_prepare(str(source), out, **options), encoding or Encoding(short_side=32), limits=LIMITS)


def everything(path: Path) -> np.ndarray:
    return decode_frames(path, lambda info: np.arange(info.num_frames), verify=True).frames


# -------------------------------------------------------------------------------------- one video


@pytest.mark.parametrize("name", sorted(set(DIFFICULT) - set(UNREADABLE) - {"long.mp4"}))
def test_the_copy_has_the_frames_and_times_of_the_original_as_displayed(
    difficult: Path, tmp_path: Path, name: str
) -> None:
    before = (difficult / name).read_bytes()
    record = transcode(str(difficult / name), tmp_path / "new.mp4", encoding=Encoding(gop=6), deadline_seconds=60)
    ours, theirs = probe(tmp_path / "new.mp4"), decode_frames(difficult / name, lambda info: [0], verify=True).info
    assert ours.num_frames == theirs.num_frames == record["frames"]
    np.testing.assert_allclose(ours.pts_seconds, theirs.pts_seconds, atol=1e-3)
    assert (ours.rotation, ours.codec) == (0, "h264")
    assert [ours.width, ours.height] == [max(2, side // 2 * 2) for side in (theirs.width, theirs.height)]
    assert record["damaged"] == (name in DAMAGED)
    assert (difficult / name).read_bytes() == before
    assert not part_of(tmp_path / "new.mp4").exists()
    if (ours.width, ours.height) == (theirs.width, theirs.height):
        rows = [everything(path).astype(int).mean((2, 3)) for path in (tmp_path / "new.mp4", difficult / name)]
        assert np.abs(rows[0] - rows[1]).max() < 12  # nothing is mirrored or turned


def test_variable_times_stay(difficult: Path, tmp_path: Path) -> None:
    transcode(str(difficult / "vfr.mp4"), tmp_path / "new.mp4", encoding=Encoding(), deadline_seconds=60)
    np.testing.assert_allclose(probe(tmp_path / "new.mp4").pts_seconds, np.array(VFR_TIMES) / RATE, atol=1e-6)
    assert frame_numbers(everything(tmp_path / "new.mp4")) == list(range(len(VFR_TIMES)))


@pytest.mark.parametrize("gop", [1, 5, 12])
def test_key_frames_come_as_often_as_asked_and_the_copy_is_read_by_index(tmp_path: Path, gop: int) -> None:
    video = write_counter(tmp_path / "a.mp4", frames=24)
    transcode(str(video), tmp_path / "new.mp4", encoding=Encoding(gop=gop), deadline_seconds=60)
    with av.open(tmp_path / "new.mp4") as container:
        keys = [place for place, packet in enumerate(container.demux(video=0)) if packet.size and packet.is_keyframe]
        assert not container.streams.audio
    assert keys == list(range(0, 24, gop))
    assert check_video(str(tmp_path / "new.mp4"), deadline_seconds=60)["fallback"] is None


@pytest.mark.parametrize(("short_side", "size"), [(24, (32, 24)), (48, (64, 48)), (256, (64, 48)), (25, (32, 24))])
def test_the_short_side_is_brought_down_and_never_up(tmp_path: Path, short_side: int, size: tuple[int, int]) -> None:
    video = write_counter(tmp_path / "a.mp4", frames=8, height=48, width=64)
    transcode(str(video), tmp_path / "new.mp4", encoding=Encoding(short_side=short_side), deadline_seconds=60)
    info = probe(tmp_path / "new.mp4")
    assert (info.width, info.height) == size


def test_better_quality_is_more_like_the_original(tmp_path: Path) -> None:
    video = write_counter(tmp_path / "a.mp4", frames=12, height=96, width=128)
    likeness = [
        transcode(str(video), tmp_path / f"{crf}.mp4", encoding=Encoding(crf=crf), deadline_seconds=60)["psnr_db"]
        for crf in (5, 45)
    ]
    assert likeness[0] > max(likeness[1], 45)


def test_full_range_colours_stay(difficult: Path, tmp_path: Path) -> None:
    transcode(str(difficult / "full_range.mp4"), tmp_path / "new.mp4", encoding=Encoding(crf=5), deadline_seconds=60)
    ours, theirs = everything(tmp_path / "new.mp4"), everything(difficult / "full_range.mp4")
    assert np.abs(ours[:, 20:60].mean((1, 2)) - theirs[:, 20:60].mean((1, 2))).max() < 2


def test_a_video_that_cannot_be_read_leaves_nothing(difficult: Path, tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="0 bytes"):
        transcode(str(difficult / "empty.webm"), tmp_path / "new.mp4", encoding=Encoding(), deadline_seconds=60)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        transcode(str(difficult / "vp9.webm"), tmp_path / "file" / "new.mp4", encoding=Encoding(), deadline_seconds=60)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# ------------------------------------------------------------------------------------------- sets


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """``set/list.csv`` with videos in folders: two readable, one unreadable, one absent; labels are names."""
    folder = tmp_path / "set"
    write_counter(folder / "videos/-x/a b.mp4", frames=8)
    write_counter(folder / "videos/y/c.mp4", frames=9)
    (folder / "videos/y/bad.avi").write_text("no video")
    (folder / "list.csv").write_text(
        'path,label,group\n"videos/-x/a b.mp4",run,g1\nvideos/y/c.mp4,"sit, down",g2\n'
        "videos/y/bad.avi,run,g2\nvideos/gone.mp4,run,g1\n"
    )
    return folder / "list.csv"


def test_the_new_list_gives_the_same_labels_for_the_videos_that_were_prepared(labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "new"
    plan = plan_prepare(str(labelled), out)
    found = summarise(plan, prepare_videos(plan, Encoding(short_side=32), limits=LIMITS))
    assert found["videos"] == {
        "listed": 4, "prepared": 2, "damaged": 0, "failed": 1, "missing": 1, "resumed": 0,
    }  # fmt: skip
    assert "bad.avi: is not a video" in found["failed"][0]["cause"]
    assert found["bytes"]["after"] > 0 and found["bytes"]["before"] > 0
    ours, theirs = load_manifest(out / "list.csv"), load_manifest(labelled, max_missing=0.5)
    assert ours.class_names == theirs.class_names == ("run", "sit, down")
    assert [(os.path.relpath(item.path, out), item.label) for item in ours.items] == [
        (os.path.relpath(item.path, labelled.parent), item.label) for item in theirs.items[:2]
    ]
    with (out / "list.csv").open(newline="") as stream:
        assert [row["group"] for row in csv.DictReader(stream)] == ["g1", "g2"]


def test_a_second_call_writes_only_what_is_not_there(labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "new"

    def new_ones(encoding: Encoding | None = None) -> list[str]:
        return [os.path.basename(outcome.path) for outcome in prepare(labelled, out, encoding) if outcome.is_new]

    assert new_ones() == ["a b.mp4", "c.mp4", "bad.avi"]
    assert new_ones() == ["bad.avi"]
    (out / "videos/y/c.mp4").write_bytes(b"cut off")
    assert new_ones() == ["c.mp4", "bad.avi"]
    shutil.copy(labelled.parent / "videos/-x/a b.mp4", labelled.parent / "videos/y/c.mp4")
    assert new_ones() == ["c.mp4", "bad.avi"]
    assert probe(out / "videos/y/c.mp4").num_frames == 8
    assert new_ones(Encoding(short_side=32, gop=3)) == ["a b.mp4", "c.mp4", "bad.avi"]
    assert (out / STATE_FILE).is_file() and (out / "list.csv").is_file()


def test_class_folders_keep_their_layout_and_their_numbers(tmp_path: Path) -> None:
    for name in ("a/1.mp4", "c/2.mp4", "c/deep/3.mp4"):
        write_counter(tmp_path / "set" / name, frames=8)
    (tmp_path / "set/b").mkdir()
    (tmp_path / "set/b/bad.mp4").write_text("no video")
    out = tmp_path / "set" / "small"  # inside the source, and not taken for a class when it is done again
    for _ in range(2):
        outcomes = prepare(tmp_path / "set", out)
        assert len(outcomes) == 4
    ours = load_manifest(out)
    assert ours.class_names == ("a", "b", "c")  # as before, though b has no video any more
    assert {(os.path.relpath(item.path, out), item.label) for item in ours.items} == {
        ("a/1.mp4", 0), ("c/2.mp4", 2), ("c/deep/3.mp4", 2),
    }  # fmt: skip


def test_folders_of_splits_are_not_taken_for_classes(tmp_path: Path) -> None:
    for name in ("train/run/1.mp4", "train/sit/2.mp4", "val/sit/3.mp4"):
        write_counter(tmp_path / "set" / name, frames=8)
    prepare(tmp_path / "set", tmp_path / "out")
    assert load_manifest(tmp_path / "out" / "train").class_names == ("run", "sit")


def test_videos_whose_names_differ_in_the_suffix_only_stay_apart(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "b.mkv"):
        write_counter(tmp_path / "set" / name, frames=8)
    plan = plan_prepare(str(tmp_path / "set"), tmp_path / "out")
    assert sorted(os.path.basename(path) for path in plan.targets.values()) == ["a.mkv.mp4", "a.mp4.mp4", "b.mp4"]


def test_videos_outside_of_the_lists_folder_are_laid_out_from_their_common_folder(tmp_path: Path) -> None:
    for name in ("x/a.mp4", "y/b.mp4"):
        write_counter(tmp_path / "videos" / name, frames=8)
    (tmp_path / "lists").mkdir()
    rows = (f"{tmp_path / 'videos' / name} {label}\n" for label, name in enumerate(("x/a.mp4", "y/b.mp4")))
    (tmp_path / "lists/train.txt").write_text("".join(rows))
    prepare(tmp_path / "lists/train.txt", tmp_path / "out")
    manifest = load_manifest(tmp_path / "out/train.csv")
    assert [item.label for item in manifest.items] == [0, 1]
    assert all(Path(item.path).is_relative_to(tmp_path / "out") for item in manifest.items)


def test_originals_are_never_overwritten(tmp_path: Path) -> None:
    video = write_counter(tmp_path / "set/a.mp4", frames=8)
    (tmp_path / "link").symlink_to(tmp_path / "set")
    before = video.read_bytes()
    for out in (tmp_path / "set", tmp_path / "link"):
        with pytest.raises(ConfigError, match="would overwrite"):
            plan_prepare(str(tmp_path / "set"), out)
    assert video.read_bytes() == before


def test_lists_of_other_classes_do_not_share_a_folder(tmp_path: Path) -> None:
    for split, names in (("one", "run\nsit\n"), ("two", "run\nstand\n")):
        write_counter(tmp_path / split / "a.mp4", frames=8)
        (tmp_path / split / "list.csv").write_text("a.mp4 0\n")
        (tmp_path / split / "classes.txt").write_text(names)
    prepare(tmp_path / "one/list.csv", tmp_path / "out")
    prepare(tmp_path / "one/list.csv", tmp_path / "out")
    with pytest.raises(ConfigError, match="other class names"):
        plan_prepare(str(tmp_path / "two/list.csv"), tmp_path / "out")


def test_the_prepared_copy_decodes_in_fewer_packets(tmp_path: Path, difficult: Path) -> None:
    transcode(str(difficult / "long.mp4"), tmp_path / "new.mp4", encoding=Encoding(gop=12), deadline_seconds=60)
    with open_video(tmp_path / "new.mp4") as reader:
        assert np.diff(reader.index.keys).max() == 12
