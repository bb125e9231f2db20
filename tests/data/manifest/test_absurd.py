"""Lists that are no lists: one clear line for each, and large ones in seconds."""

import json
import time
from pathlib import Path

import pytest

from vidtok.data.manifest import load_manifest, read_listing
from vidtok.errors import DataError

DEEP = "[" * 100_000 + "]" * 100_000

ABSURD = {
    "deep.json": (DEEP, "is not a list: its JSON is nested too deeply"),
    "deep.jsonl": ('{"path": "a.mp4", "label": ' + DEEP + "}", r"row 1 is not a list: its JSON is nested too deeply"),
    "digits.csv": (f"a.mp4,{'9' * 5000}\n", r"row 1: label '9{200}\.\.\. \(5000 characters\)' is no class index"),
    "digits.jsonl": (
        '{"path": "a.mp4", "label": ' + "9" * 5000 + "}",
        "row 1 is not a list: it holds a number of thous",
    ),
    "other.csv": ("a.mp4,\u0663\n", "row 1: label '\u0663' is no class index; write a whole number from 0"),
    "pandas.csv": ("a.mp4,1.0\nb.mp4,0.0\n", r"row 1: label '1\.0' is no class index"),
    "field.csv": ("path,label\n" + "a" * 200_000 + ",0\n", r"row 2 has 200002 characters; write one 'path label' line"),
    "quotes.csv": ('path,label\n"a.mp4,0\n', r"row 2: '\"a\.mp4,0' has quotes that do not match"),
    "nul.csv": ("a.mp4,0\nb\0.mp4,1\n", "holds NUL bytes"),
    "nul.jsonl": ('{"path": "a\\u0000.mp4", "label": 0}', r"row 1: 'a\\x00\.mp4': a list cannot hold this name"),
    "half.jsonl": ('{"path": "a\\ud800.mp4", "label": 0}', r"row 1: 'a\\ud800\.mp4': a list cannot hold this name"),
    "long.jsonl": (json.dumps({"path": "a" * 9000, "label": 0}), r"row 1: 'a{60}\.\.\.': a list cannot hold this name"),
    "kinetics.csv": (
        "label,youtube_id,time_start,time_end\n" + '"' + "x" * 200_000 + '",-3B32lodo2M,0,10\n',
        r"row \d cannot be read \(field larger than field limit",
    ),
}


@pytest.mark.parametrize("name", ABSURD)
def test_an_absurd_list_is_refused_in_one_short_line(tmp_path: Path, name: str) -> None:
    text, message = ABSURD[name]
    for video in ("a.mp4", "b.mp4"):
        (tmp_path / video).touch()
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as error:
        load_manifest(tmp_path / name)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_utf_16_is_said(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_text("a.mp4,0\n", encoding=encoding)
    with pytest.raises(DataError, match="UTF-16.*save it as UTF-8"):
        load_manifest(tmp_path / "a.csv")


def test_a_class_name_that_ends_in_a_number_does_not_hide_the_comma(tmp_path: Path) -> None:
    for video in ("a.mp4", "b.mp4"):
        (tmp_path / video).touch()
    (tmp_path / "a.csv").write_text("a.mp4,level 1\nb.mp4,level 2\n")
    assert load_manifest(tmp_path / "a.csv").class_names == ("level 1", "level 2")


def test_a_json_list_of_videos_with_ids_is_no_official_one(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "a.json").write_text('[{"id": 7, "path": "a.mp4", "label": "run"}]')
    assert load_manifest(tmp_path / "a.json").class_names == ("run",)


@pytest.mark.slow
def test_a_list_of_a_million_lines_is_read_in_seconds(tmp_path: Path) -> None:
    rows = (f"videos/{number % 100:02}/{number:07}.mp4 {number % 400}\n" for number in range(1_000_000))
    (tmp_path / "a.csv").write_text("".join(rows))
    start = time.process_time()
    assert len(read_listing(tmp_path / "a.csv").rows) == 1_000_000
    assert time.process_time() - start < 20
