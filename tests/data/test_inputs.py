"""What users name becomes videos, by the same rules everywhere."""

import io
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.data.videos import write_counter
from vidtok.data.addresses import check_file_name
from vidtok.data.inputs import expand_inputs, find_items, find_videos, is_list
from vidtok.data.segment import Segment
from vidtok.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("in/b.mp4", "in/a/1.webm", "in/.hidden.mp4", "in/.cache/2.mp4", "in/notes.txt", "far/3.mkv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "in/link").symlink_to(tmp_path / "far")
    (tmp_path / "in/again").symlink_to(tmp_path / "far")
    (tmp_path / "in/a/loop").symlink_to(tmp_path / "in")
    return tmp_path


def names(folder: Path, *sources: str) -> list[str]:
    return [os.path.relpath(item.path, folder) for item in expand_inputs([str(folder / name) for name in sources])]


def test_folders_leave_out_hidden_files_and_follow_links_once(folder: Path) -> None:
    assert names(folder, "in") == ["in/a/1.webm", "in/again/3.mkv", "in/b.mp4"]
    assert find_videos([str(folder / "in")]) == ([item.path for item in expand_inputs([str(folder / "in")])], [])
    assert names(folder, "in/.hidden.mp4") == ["in/.hidden.mp4"]


def test_a_pattern_means_what_it_matches(folder: Path) -> None:
    (folder / "far/list.csv").write_text("3.mkv,0\n")
    assert names(folder, "*ar") == ["far/3.mkv"]
    assert names(folder, "far/*") == ["far/3.mkv", "far/3.mkv"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.csv", "path,start,end,label\nb.mp4,1,2,x\na/1.webm,0,5,y\n"),
        ("l.tsv", "path\tstart\tend\nb.mp4\t1\t2\na/1.webm\t0\t5\n"),
        ("l.JSONL", '{"video": "b.mp4", "start": 1, "end": 2}\n{"video": "a/1.webm", "start": "0", "end": 5}\n'),
    ],
)
def test_a_list_means_the_parts_of_its_rows(folder: Path, name: str, text: str) -> None:
    (folder / "in" / name).write_text(text)
    found = [(os.path.relpath(item.path, folder), item.segment) for item in expand_inputs([str(folder / "in" / name)])]
    assert found == [("in/b.mp4", Segment(1, 2)), ("in/a/1.webm", Segment(0, 5))]


@pytest.mark.parametrize("text", ["b.mp4\na/1.webm\n", "b.mp4 0\na/1.webm 1\n", "\ufeffb.mp4\r\na/1.webm\r\n"])
def test_a_list_needs_no_labels(folder: Path, text: str) -> None:
    (folder / "in/l.txt").write_text(text)
    assert names(folder, "in/l.txt") == ["in/b.mp4", "in/a/1.webm"]


def test_listed_files_that_are_not_there_are_told_from_named_ones(folder: Path) -> None:
    (folder / "in/l.txt").write_text("b.mp4\ngone.mp4\n")
    items, missing = find_items([str(folder / "in/l.txt"), "typed.mp4"])
    assert [os.path.basename(item.path) for item in items] == ["b.mp4", "typed.mp4"]
    assert [os.path.basename(path) for path in missing] == ["gone.mp4"]


def test_a_video_is_no_list_whatever_it_is_called(tmp_path: Path) -> None:
    shutil.copy(write_counter(tmp_path / "a.mp4", frames=4), tmp_path / "x.json")
    (tmp_path / "l.csv").write_text("a.mp4,0\n", encoding="utf-16")
    assert not is_list(str(tmp_path / "x.json")) and is_list(str(tmp_path / "l.csv")) and is_list("absent.txt")
    assert names(tmp_path, "x.json") == ["x.json"]


def test_standard_input_may_hold_names_of_any_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"\xef\xbb\xbfa b.mp4\r\n\n\xff.mp4\nlast.mp4"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    assert [item.path for item in expand_inputs(["-"])] == ["a b.mp4", os.fsdecode(b"\xff.mp4"), "last.mp4"]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DataError, match="standard input is closed"):
        list(expand_inputs(["-"]))


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("rtsp://me:secret@10.0.0.1:554/cam", "ffmpeg -i rtsp://10.0.0.1:554/cam -f segment"),
        ("camera:1", "ffmpeg -i /dev/video1 -f segment"),
        ("0", "ffmpeg -i /dev/video0 -f segment"),
        ("https://example.org/a.mp4", "ffmpeg -i https://example.org/a.mp4 -f segment"),
    ],
)
def test_an_address_is_refused_with_the_command_that_records_it_and_without_its_password(text, command):
    with pytest.raises(DataError) as caught:
        check_file_name(text)
    assert command in str(caught.value) and "secret" not in str(caught.value)
