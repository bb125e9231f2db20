"""Checking a set of videos before training."""

import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data import fake_engines as fakes
from tests.data.difficult_files import DAMAGED, DIFFICULT, UNREADABLE
from tests.data.video_files import (
    Encoding,
    break_packets,
    need_engine,
    reference_frames,
    truncate,
    write,
    x264,
)
from vidtok.data.decode import ENGINES
from vidtok.data.decode.isolated import IsolatedReader
from vidtok.data.inputs import find_videos
from vidtok.data.sweep import Limits, Outcome
from vidtok.data.verify import check_video, group_causes, is_cut_off, summarise, verify_videos
from vidtok.errors import DataError, DecodeError, EnvironmentFault

FALLBACK = {"mpeg4_b_frames.avi", "middle_of_stream.ts"}


@pytest.fixture(scope="module")
def paths(difficult: Path) -> list[str]:
    return [str(difficult / name) for name in DIFFICULT]


def by_name(rows: list[dict]) -> set[str]:
    return {os.path.basename(row["path"]) for row in rows}


@pytest.fixture(scope="module")
def full(paths: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Outcome], Path]:
    """A full check of all difficult files, and its state."""
    state = tmp_path_factory.mktemp("state") / "state.jsonl"
    return verify_videos(paths, workers=2, limits=Limits(seconds=60), state=state), state


def test_every_file_is_readable_damaged_or_refused_with_its_cause(
    full: tuple[list[Outcome], Path], paths: list[str]
) -> None:
    found = summarise(full[0], missing=["gone.mp4"])
    assert [outcome.path for outcome in full[0]] == paths
    assert {os.path.basename(row["path"]): UNREADABLE[os.path.basename(row["path"])] in row["cause"]
            for row in found["unreadable"]} == dict.fromkeys(UNREADABLE, True)  # fmt: skip
    assert by_name(found["damaged"]) == DAMAGED
    assert by_name(found["fallback"]) == FALLBACK
    counts = found["videos"]
    assert counts["listed"] == counts["readable"] + counts["unreadable"] + counts["missing"] == len(DIFFICULT) + 1
    assert counts["resumed"] == 0


def test_a_second_check_decodes_only_what_was_not_readable(full: tuple[list[Outcome], Path], paths: list[str]) -> None:
    again = verify_videos(paths, limits=Limits(seconds=60), state=full[1])
    assert {os.path.basename(outcome.path) for outcome in again if outcome.is_new} == set(UNREADABLE)
    assert [outcome.record for outcome in again] == [outcome.record for outcome in full[0]]


def test_a_quick_check_refuses_the_same_files_and_finds_no_damage_that_is_not_there(
    full: tuple[list[Outcome], Path], paths: list[str]
) -> None:
    quick = verify_videos(paths, quick=True, limits=Limits(seconds=60), state=full[1])
    assert by_name(summarise(quick)["unreadable"]) == set(UNREADABLE)
    assert by_name(summarise(quick)["damaged"]) <= DAMAGED
    assert all(outcome.is_new for outcome in quick)  # what a full check found is another matter


@pytest.mark.parametrize("packet", [700, 1190])
def test_damage_late_in_a_long_file_is_found(difficult: Path, tmp_path: Path, packet: int) -> None:
    path = Path(shutil.copy(difficult / "long.mp4", tmp_path))
    break_packets(path, [packet])
    record = check_video(str(path), deadline_seconds=60)
    assert record["damaged"]
    assert record["frames"] == reference_frames(path, wanted=())[0]
    assert record["promised"] == 1200


@pytest.mark.parametrize("decoder", ["decord", "torchcodec"])
def test_what_another_engine_hands_over_is_a_fallback(difficult: Path, decoder: str) -> None:
    need_engine(decoder)
    fallbacks = {
        name: check_video(str(difficult / name), decoder=decoder, deadline_seconds=60)["fallback"]
        for name in ("b_frames.mov", "transport.ts")
    }
    assert fallbacks["b_frames.mov"] is None
    assert "mpegts" in fallbacks["transport.ts"]


def test_another_engine_is_tried_with_few_frames_however_far_apart_key_frames_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class Counting(fakes.FakeReader):
        def read(self, indices: np.ndarray, **options: object) -> np.ndarray:
            asked.extend(indices.tolist())
            return super().read(indices)

        def __exit__(self, *_: object) -> None:
            self.close()

    monkeypatch.setitem(ENGINES, "decord", Counting)
    path = write(tmp_path / "one_key.mp4", Encoding(options=x264("keyint=250"), numbers=[0] * 120))
    assert check_video(str(path), decoder="decord", deadline_seconds=60)["frames"] == 120
    assert len(asked) == 16 and (asked[0], asked[-1]) == (0, 119)


def test_an_engine_that_is_not_installed_is_no_fault_of_the_videos(
    difficult: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, "decord", partial(IsolatedReader, fakes.AbsentReader))
    with pytest.raises(EnvironmentFault, match="not installed"):
        verify_videos([str(difficult / "b_frames.mov")], decoder="decord")


def test_a_folder_of_frames_is_checked_image_by_image(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 6):
        Image.fromarray(np.full((20, 24, 3), 40 * number, dtype=np.uint8)).save(folder / f"img_{number:05}.png")
    assert check_video(str(folder), deadline_seconds=60)["frames"] == 5
    (folder / "img_00003.png").write_bytes(b"no image")
    assert check_video(str(folder), quick=True, deadline_seconds=60)["frames"] == 5
    with pytest.raises(DecodeError, match=r"img_00003\.png cannot be read"):
        check_video(str(folder), deadline_seconds=60)


def test_causes_that_differ_in_numbers_only_are_one_kind() -> None:
    failures = [{"path": f"{n}.mp4", "cause": f"{n}.mp4: none of its {n} packets can be decoded; copy"} for n in "123"]
    failures.append({"path": "a", "cause": "a: is empty (0 bytes); copy"})
    assert group_causes(failures) == [
        ("none of its 1 packets can be decoded", 3, "1.mp4"),
        ("is empty (0 bytes)", 1, "a"),
    ]


def test_lists_folders_and_files_name_videos_once_and_in_order(tmp_path: Path) -> None:
    for name in ("a/1.mp4", "a/2.webm", "b/3.mkv", "b/.hidden.mp4", "b/notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "list.csv").write_text("b/3.mkv 0\na/1.mp4 1\ngone.mp4 0\n")
    paths, missing = find_videos([str(tmp_path / "list.csv"), str(tmp_path / "a"), "odd.name"])
    inside = [os.path.relpath(path, tmp_path) for path in paths[:-1]]
    assert inside == ["b/3.mkv", "a/1.mp4", "a/2.webm"] and paths[-1] == "odd.name"
    assert missing == [str(tmp_path / "gone.mp4")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no video files"):
        find_videos([str(tmp_path / "empty")])


@pytest.mark.parametrize("options", [{}, {"live": "1"}], ids=["size stated", "size unknown"])
def test_a_whole_matroska_file_is_not_cut_off_and_a_shorter_one_is_if_it_states_its_size(
    tmp_path: Path, options: dict[str, str]
) -> None:
    path = write(tmp_path / "a.mkv", Encoding(options=x264(), container_options=options))
    assert not is_cut_off(str(path))
    truncate(path, 0.7)
    assert is_cut_off(str(path)) == (not options)
