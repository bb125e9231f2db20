"""Dividing a list: groups stay whole, classes get their share, and nothing else decides."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidtok.data.manifest import load_manifest, read_listing
from vidtok.data.manifest.entries import Entry
from vidtok.data.split import divide, group_of, write_split
from vidtok.errors import ConfigError, DataError

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def entry(path: str, *labels: str, group: str | None = None) -> Entry:
    return Entry(path, f"/data/{path}", labels, group)


def ucf(classes: int = 5, groups: int = 25, clips: int = 4) -> list[Entry]:
    return [
        entry(f"c{c}/v_c{c}_g{g:02}_c{k:02}.avi", f"c{c}")
        for c in range(classes)
        for g in range(1, groups + 1)
        for k in range(clips)
    ]


@given(
    sizes=st.lists(st.integers(1, 9), min_size=3, max_size=40),
    labels=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_no_group_is_in_two_splits_and_no_split_is_empty(sizes: list[int], labels: int, seed: int) -> None:
    entries = [entry(f"{g}/{k}", str((g + k) % labels)) for g, size in enumerate(sizes) for k in range(size)]
    groups = [one.path.partition("/")[0] for one in entries]
    splits = divide(entries, groups, SHARES, seed=seed)
    assert len(set(zip(groups, splits))) == len(sizes)
    assert set(splits) == set(SHARES)


def test_without_groups_every_class_has_its_share_to_the_clip() -> None:
    entries = [entry(f"{number}", str(number % 7)) for number in range(700)]
    splits = divide(entries, [one.path for one in entries], SHARES, seed=3)
    counts = Counter((one.labels, split) for one, split in zip(entries, splits))
    assert {counts[(str(c),), "train"] for c in range(7)} == {80}
    assert {counts[(str(c),), name] for c in range(7) for name in ("val", "test")} == {10}


def test_classes_too_small_for_a_share_still_fill_the_splits() -> None:
    entries = [entry(f"{number}", str(number // 3)) for number in range(300)]
    counts = Counter(divide(entries, [one.path for one in entries], SHARES, seed=0))
    assert all(25 <= counts[name] <= 30 for name in ("val", "test"))


def test_groups_of_equal_size_keep_every_class_near_its_share() -> None:
    entries = ucf()
    groups = [group_of(one, r"v_(.+_g\d+)_") for one in entries]
    splits = divide(entries, groups, SHARES, seed=1)
    counts = Counter((one.labels[0], split) for one, split in zip(entries, splits) if one.labels)
    assert all(80 - 4 <= counts[f"c{c}", "train"] <= 80 + 4 for c in range(5))
    assert all(counts[f"c{c}", name] in (8, 12) for c in range(5) for name in ("val", "test"))


def test_the_seed_decides_and_the_order_of_the_list_does_not() -> None:
    entries = ucf(classes=2)
    groups = [group_of(one, r"g\d+") for one in entries]
    first, again, other = (divide(entries, groups, SHARES, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert divide(entries[::-1], groups[::-1], SHARES, seed=0)[::-1] == first


def test_what_names_a_group() -> None:
    one = entry("swim/day 2/v_swim_g08_c01.avi", "swim", group="pool")
    assert group_of(one, None) == one.path
    assert group_of(one, "folder") == "swim/day 2"
    assert group_of(one, "column") == "pool"
    assert group_of(one, r"g\d+") == "g08"
    assert group_of(one, r"v_(\w+)_g(\d+)_") == "swim/08"
    with pytest.raises(DataError, match=r"swim/day 2/.*: the expression 'h\[0-9\]' gives it no group"):
        group_of(one, "h[0-9]")
    with pytest.raises(DataError, match="column 'group' of the list gives it no group"):
        group_of(entry("a"), "column")
    with pytest.raises(ConfigError, match=r"--group '\(' is not a regular expression"):
        group_of(one, "(")


def test_fewer_groups_than_splits_are_refused() -> None:
    with pytest.raises(DataError, match="2 groups cannot fill 3 splits"):
        divide(ucf(classes=1, groups=2), ["a", "b"] * 4, SHARES, seed=0)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Class folders of 20 videos each, two per scene, names with commas."""
    for name in ("left, slowly", "right"):
        for number in range(20):
            file = tmp_path / "clips" / name / f"s{number // 2:02}_{number}.mp4"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return tmp_path / "clips"


@pytest.mark.parametrize("out", ["clips/lists", "elsewhere/lists"])
def test_written_lists_are_read_back_from_any_folder(clips: Path, out: str) -> None:
    folder = clips.parent / out
    parts = write_split(read_listing(clips), folder, val=0.2, test=0.1, group=r"s\d+", seed=5)
    whole = {item.path: item.label for item in load_manifest(clips).items}
    read = {name: load_manifest(folder / f"{name}.csv") for name in ("train", "val", "test")}
    assert {item.path: item.label for one in read.values() for item in one.items} == whole
    assert [len(one.items) for one in read.values()] == [len(part) for part in parts.values()] == [28, 8, 4]
    assert {one.class_names for one in read.values()} == {("left, slowly", "right")}
    assert ("/" in (folder / "train.csv").read_text().splitlines()[1].strip('"')[:1]) == out.startswith("elsewhere")


def test_a_list_of_numbers_stays_one_and_two_splits_suffice(clips: Path) -> None:
    rows = "".join(f"right/s{number // 2:02}_{number}.mp4 {number % 4}\n" for number in range(20))
    (clips / "all.csv").write_text(rows)
    write_split(read_listing(clips / "all.csv"), clips / "lists", val=0.2, test=0)
    assert sorted(path.name for path in (clips / "lists").iterdir()) == ["train.csv", "val.csv"]
    assert load_manifest(clips / "lists/val.csv").class_names is None


def test_several_labels_survive_a_split(clips: Path) -> None:
    (clips / "all.csv").write_text("".join(f"right/s{n // 2:02}_{n}.mp4 {n % 3} {3 + n % 2}\n" for n in range(20)))
    write_split(read_listing(clips / "all.csv", multi_label=True), clips / "lists", val=0.3, test=0)
    labels = {item.path: item.label for item in load_manifest(clips / "all.csv", multi_label=True).items}
    for name in ("train", "val"):
        items = load_manifest(clips / f"lists/{name}.csv", multi_label=True).items
        assert items and all(item.label == labels[item.path] for item in items)


@pytest.mark.parametrize(("val", "test"), [(0, 0), (0.5, 0.5), (-0.1, 0.2), (0.9, 0.2)])
def test_shares_that_leave_nothing_are_refused(clips: Path, val: float, test: float) -> None:
    with pytest.raises(ConfigError, match="must be at least 0, not both 0, and below 1 together"):
        write_split(read_listing(clips), clips / "lists", val=val, test=test)


def test_lists_are_never_overwritten(clips: Path) -> None:
    (clips / "val.csv").write_text("mine")
    with pytest.raises(ConfigError, match=r"val\.csv' exists already"):
        write_split(read_listing(clips), clips, val=0.1, test=0.1)
    assert (clips / "val.csv").read_text() == "mine"


def test_real_clips_of_one_scene_stay_together(shared_data: Path, tmp_path: Path) -> None:
    text = (shared_data / "clips/fight2/train_manifest.csv").read_text().replace("scene_group", "group")
    (tmp_path / "all.csv").write_text(text)
    listing = read_listing(tmp_path / "all.csv", root=shared_data / "clips")
    parts = write_split(listing, tmp_path / "lists", val=0.2, test=0.2, group="column", seed=0)
    scenes = [{one.group for one in part} for part in parts.values()]
    assert all(scenes) and not scenes[0] & scenes[1] and not scenes[0] & scenes[2] and not scenes[1] & scenes[2]
    assert all(len(part) > 0.1 * 164 for part in parts.values())
