"""The index of a list: true facts of each file, found once, and what changed between two lists."""

import csv
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.videos import write_counter
from vidtok.data.fileindex import default_index, describe_file, fingerprint, index_videos
from vidtok.data.listdiff import ListDiff, compare_lists, find_fingerprints
from vidtok.data.manifest import load_manifest, read_listing
from vidtok.data.sweep import Outcome
from vidtok.errors import ConfigError


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of different lengths, a folder of frames and a broken file."""
    folder = tmp_path_factory.mktemp("originals")
    for number in (1, 2, 3):
        write_counter(folder / f"{number}.mp4", frames=4 + number)
    (folder / "frames").mkdir()
    for number in range(5):
        Image.new("RGB", (64, 48)).save(folder / "frames" / f"{number:05d}.png")
    (folder / "broken.mp4").write_bytes(b"no video" * 100)
    return folder


@pytest.fixture
def clips(originals: Path, tmp_path: Path) -> Path:
    """A copy of the videos with a list and class names."""
    folder = shutil.copytree(originals, tmp_path / "clips")
    (folder / "all.csv").write_text("1.mp4 0\n2.mp4 1\n3.mp4 1\nframes 0\nbroken.mp4 1\ngone.mp4 0\n")
    (folder / "classes.txt").write_text("wave\nclap, twice\n")
    return folder


def index(source: Path, out: Path | None = None) -> tuple[list[dict[str, Any]], list[Outcome]]:
    out = out or default_index(source)
    outcomes = index_videos(read_listing(source), out)
    with out.open(newline="", encoding="utf-8") as stream:
        rows = list(map(json.loads, stream)) if out.suffix == ".jsonl" else list(csv.DictReader(stream))
    return rows, outcomes


def compare(a: Path, b: Path) -> ListDiff:
    known = {"known_a": find_fingerprints(a), "known_b": find_fingerprints(b)}
    return compare_lists(read_listing(a), read_listing(b), **known)


def test_facts_of_a_file_are_those_of_its_frames(originals: Path) -> None:
    path = originals / "2.mp4"
    assert describe_file(str(path)) == {
        "bytes": path.stat().st_size, "duration_s": 0.75, "fps": 8.0, "frames": 6, "width": 64, "height": 48,
        "codec": "h264", "key_frames": 1, "fingerprint": hashlib.sha256(path.read_bytes()).hexdigest(),
    }  # fmt: skip


def test_a_folder_of_frames_has_facts_too(originals: Path) -> None:
    facts = describe_file(str(originals / "frames"))
    assert (facts["frames"], facts["key_frames"], facts["codec"], facts["width"]) == (5, 5, "png", 64)
    assert facts["bytes"] == sum(path.stat().st_size for path in (originals / "frames").iterdir())


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_names_that_look_like_remarks_or_hold_line_separators_survive(
    suffix: str, originals: Path, tmp_path: Path
) -> None:
    names = ["#1 dance.mp4", "a \u2028 b.mp4", "c \x85, d.mp4"]
    for name in names:
        shutil.copy(originals / "1.mp4", tmp_path / name)
    (tmp_path / "all.jsonl").write_text(
        "".join(json.dumps({"path": name, "label": 0}, ensure_ascii=False) + "\n" for name in names), encoding="utf-8"
    )
    rows, _ = index(tmp_path / "all.jsonl", tmp_path / f"new.{suffix}")
    assert [row["error"] or None for row in rows] == [None] * 3
    read = load_manifest(tmp_path / f"new.{suffix}")
    assert [Path(item.path).name for item in read.items] == names
    assert len(find_fingerprints(tmp_path / f"new.{suffix}")) == 3


def test_fingerprints_tell_contents_and_their_order_apart(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("1")
    b.write_text("2")
    names = [[str(a)], [str(b)], [str(a), str(b)], [str(b), str(a)]]
    assert len({fingerprint(files) for files in names}) == 4


def test_an_index_is_a_list_that_says_the_same(clips: Path) -> None:
    rows, outcomes = index(clips / "all.csv")
    assert [row["path"] for row in rows] == ["1.mp4", "2.mp4", "3.mp4", "frames", "broken.mp4", "gone.mp4"]
    assert [row["label"] for row in rows] == ["wave", *["clap, twice"] * 2, "wave", "clap, twice", "wave"]
    assert [row["frames"] for row in rows] == ["5", "6", "7", "5", "", ""]
    assert "broken.mp4: is not a video" in rows[4]["error"] and "gone.mp4: no such file" in rows[5]["error"]
    assert [outcome.record is None for outcome in outcomes] == [False] * 4 + [True] * 2
    lists = [load_manifest(clips / name, max_missing=0.2) for name in ("all.csv", "all.index.csv")]
    assert lists[0].items == lists[1].items
    assert lists[0].class_names == lists[1].class_names == ("wave", "clap, twice")


def test_a_second_run_reads_only_what_changed(clips: Path) -> None:
    index(clips / "all.csv")
    write_counter(clips / "2.mp4", frames=12)
    os.utime(clips / "3.mp4", ns=(0, 0))
    rows, outcomes = index(clips / "all.csv")
    assert [outcome.is_new for outcome in outcomes[:4]] == [False, True, True, False]
    assert rows[1]["frames"] == "12"


def test_an_index_elsewhere_names_files_in_full_and_reads_back(clips: Path, tmp_path: Path) -> None:
    rows, _ = index(clips / "all.csv", tmp_path / "out" / "index.jsonl")
    assert rows[0]["path"] == str(clips / "1.mp4") and rows[0]["label"] == "wave"
    labels = [item.label for item in load_manifest(tmp_path / "out" / "index.jsonl", max_missing=0.2).items]
    assert labels == [1, 0, 0, 1, 0]
    with pytest.raises(ConfigError, match=r"index\.txt' is no index; name a file that ends with \.csv or \.jsonl"):
        index(clips / "all.csv", tmp_path / "index.txt")


def test_equal_lists_have_no_differences(clips: Path) -> None:
    index(clips / "all.csv")
    found = compare(clips / "all.csv", clips / "all.index.csv")
    assert (found.common, found.compared) == (6, 4)
    assert not any((found.added, found.removed, found.renamed, found.relabelled, found.changed))


def test_every_kind_of_difference_is_told(clips: Path, originals: Path) -> None:
    index(clips / "all.csv")
    new = shutil.copytree(clips, clips.parent / "new")
    (new / "all.index.csv").unlink()
    (new / "1.mp4").rename(new / "renamed.mp4")
    write_counter(new / "3.mp4", frames=9)
    (new / "all.csv").write_text("renamed.mp4 1\n2.mp4 0\n3.mp4 1\nframes 0\nbroken.mp4 1\nextra.mp4 0\n")
    index(new / "all.csv")
    assert compare(clips / "all.csv", new / "all.csv") == ListDiff(
        added=("extra.mp4",),
        removed=("gone.mp4",),
        renamed=(("1.mp4", "renamed.mp4"),),
        relabelled=(("2.mp4", "clap, twice", "wave"), ("renamed.mp4", "wave", "clap, twice")),
        changed=("3.mp4",),
        common=4,
        compared=3,
    )


def test_without_an_index_paths_and_labels_are_compared(clips: Path) -> None:
    (clips / "b.csv").write_text("1.mp4 1\n2.mp4 1\n")
    found = compare(clips / "all.csv", clips / "b.csv")
    assert (found.common, found.compared, found.changed, found.renamed) == (2, 0, (), ())
    assert found.relabelled == (("1.mp4", "wave", "clap, twice"),)


def test_labels_are_compared_by_number_where_one_list_has_no_names(clips: Path) -> None:
    (clips / "lists").mkdir()
    (clips / "lists" / "b.csv").write_text("1.mp4 0\n2.mp4 0\n")
    found = compare(clips / "all.csv", clips / "lists/b.csv")
    assert found.relabelled == (("2.mp4", "1", "0"),)


def test_real_files_have_the_facts_that_their_list_states(shared_data: Path, tmp_path: Path) -> None:
    with (shared_data / "clips/fight2/val_manifest.csv").open(newline="") as stream:
        stated = list(csv.DictReader(stream))[:6]
    for row in stated:
        facts = describe_file(str(shared_data / "clips" / row["path"]))
        assert facts["fingerprint"] == row["sha256"]
        assert [facts[name] for name in ("frames", "width", "height", "bytes")] == [
            int(row[name]) for name in ("frames", "width", "height", "bytes")
        ]
        numerator, _, denominator = row["fps"].partition("/")
        assert np.isclose(facts["fps"], int(numerator) / int(denominator or 1), atol=0.02)
