"""``vidtok data index | diff | split``: results on stdout, notes on stderr, files that the next command reads."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.run import exit_code, vidtok


@pytest.fixture
def clips(motion_set: Path, tmp_path: Path) -> Path:
    """A copy of the motion set."""
    return shutil.copytree(motion_set, tmp_path / "clips")


def test_index_diff_and_split_work_hand_in_hand(clips: Path) -> None:
    first = vidtok(clips, "data", "index", "train.csv", "--workers", "1", "--json")
    assert (first.returncode, first.stderr) == (0, "")
    found = json.loads(first.stdout)
    assert found["schema"] == "vidtok.index/1"
    assert found["videos"] == {"listed": 48, "indexed": 48, "reused": 0, "unreadable": 0}
    assert (found["codecs"], found["fps"]) == ({"h264": 48}, {"12": 48})

    again = vidtok(clips, "data", "index", "train.csv")
    assert "48 videos (48 known from an earlier run)" in again.stdout
    assert "index: train.index.csv" in again.stdout

    same = vidtok(clips, "data", "diff", "train.csv", "train.index.csv", "--json")
    document = json.loads(same.stdout)
    assert (same.returncode, same.stderr, document["schema"]) == (0, "", "vidtok.diff/1")
    assert (document["common"], document["compared"], document["changed"]) == (48, 48, [])

    split = vidtok(clips, "data", "split", "train.index.csv", "lists", "--val", "0.25", "--test", "0")
    assert split.returncode == 0 and "--group" in split.stderr
    assert split.stdout.splitlines() == [
        " train       36 videos       36 groups  12 classes",
        "   val       12 videos       12 groups  12 classes",
        "lists: lists",
    ]
    assert (clips / "lists/classes.txt").read_text() == (clips / "classes.txt").read_text()


def test_a_difference_is_no_failure_and_a_list_without_index_is_told(clips: Path) -> None:
    done = vidtok(clips, "data", "diff", "train.csv", "val.csv")
    assert done.returncode == 0
    assert done.stderr.count("has no index, so contents are not compared") == 2
    assert "    48  removed" in done.stdout and "     6  added" in done.stdout


def test_unreadable_files_are_in_the_index_with_their_cause(clips: Path) -> None:
    (clips / "a.mp4").write_bytes(b"no video" * 100)
    (clips / "bad.csv").write_text("a.mp4 0\n")
    done = vidtok(clips, "data", "index", "bad.csv", "--workers", "1")
    assert done.returncode == 3 and "none of the 1 video of 'bad.csv' can be read" in done.stderr.splitlines()[-1]
    assert "1  unreadable or missing" in done.stdout and "is not a video" in done.stdout
    assert "is not a video" in (clips / "bad.index.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("index", "absent.csv"), 3, "LIST: 'absent.csv' not found"),
        (("index", "train.csv", "out.txt"), 2, "'out.txt' is no index"),
        (("diff", "train.csv", "absent.csv"), 3, "'absent.csv' not found"),
        (("split", "train.csv", "."), 2, "'train.csv' exists already"),
        (("split", "train.csv", "lists", "--group", "nothing"), 3, "gives it no group"),
        (("split", "train.csv", "lists", "--val", "0.9", "--test", "0.9"), 2, "must be at least 0"),
        (("index", "train.csv", "--classes", "kinetics"), 3, "'kinetics' not found (did you mean 'kinetics400'?)"),
    ],
)
def test_mistakes_get_one_line_and_their_exit_code(
    clips: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    assert exit_code(clips, monkeypatch, "data", *arguments) == code
    assert message in capsys.readouterr().err.splitlines()[-1]
