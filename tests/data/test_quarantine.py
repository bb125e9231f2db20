"""Unreadable videos are written down once, and too many stop the run."""

import csv
from pathlib import Path

import pytest

from vidtok.data.quarantine import Quarantine
from vidtok.errors import DataError


@pytest.mark.parametrize(
    ("num_videos", "max_failures", "allowed"),
    [(1000, 0.005, 5), (999, 0.005, 4), (10, 0.005, 1), (2, 0.005, 1), (1, 0.005, 0), (10, 0.0, 0)],
)
def test_the_budget_is_a_share_and_at_least_one_of_several_files_unless_zero(
    num_videos: int, max_failures: float, allowed: int
) -> None:
    quarantine = Quarantine(None, num_videos=num_videos, max_failures=max_failures)
    assert quarantine.allowed == allowed
    for number in range(allowed):
        quarantine.add(f"{number}.mp4", f"{number}.mp4: no", "train")
    with pytest.raises(
        DataError, match=rf"{allowed + 1} of {num_videos} .* allows {allowed}; the last: one\.mp4: more"
    ):
        quarantine.add("one.mp4", "one.mp4: more", "train")


def test_every_file_is_written_and_counted_once(tmp_path: Path) -> None:
    file = tmp_path / "run" / "quarantine.csv"
    quarantine = Quarantine(file, num_videos=10, max_failures=0.2)
    for _ in range(5):
        quarantine.add("a.mp4", 'a.mp4: bad, "very"', "train")
    quarantine.add_batch({"path": ["b.mp4", "c.mp4"], "error": ["", "c.mp4: cut off"]}, "val")
    with file.open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [
        ["path", "cause", "stage"],
        ["a.mp4", 'a.mp4: bad, "very"', "train"],
        ["c.mp4", "c.mp4: cut off", "val"],
    ]
    assert quarantine.causes == {"a.mp4": 'a.mp4: bad, "very"', "c.mp4": "c.mp4: cut off"}


def test_a_resumed_run_appends_under_one_header(tmp_path: Path) -> None:
    file = tmp_path / "quarantine.csv"
    for name in ("a.mp4", "b.mp4"):
        Quarantine(file, num_videos=10, max_failures=0.2).add(name, f"{name}: bad", "train")
    assert file.read_text().splitlines() == ["path,cause,stage", "a.mp4,a.mp4: bad,train", "b.mp4,b.mp4: bad,train"]


def test_the_file_that_breaks_the_budget_is_written_before_the_run_stops(tmp_path: Path) -> None:
    file = tmp_path / "quarantine.csv"
    with pytest.raises(DataError, match=r"all are in .*quarantine\.csv; repair or delist"):
        Quarantine(file, num_videos=10, max_failures=0.0).add("a.mp4", "a.mp4: bad", "train")
    assert "a.mp4" in file.read_text()


def test_a_resumed_run_meets_a_file_again_and_does_not_write_it_again(tmp_path: Path) -> None:
    file = tmp_path / "quarantine.csv"
    for _ in range(2):
        quarantine = Quarantine(file, num_videos=10, max_failures=0.2)
        quarantine.add("a.mp4", "a.mp4: bad", "train")
        assert quarantine.causes == {"a.mp4": "a.mp4: bad"}
    assert file.read_text().splitlines() == ["path,cause,stage", "a.mp4,a.mp4: bad,train"]
