"""Something-Something-V2: the template without brackets is the class, whatever else the lists hold."""

import json
from pathlib import Path

import pytest

from vidtok.config import DataConfig
from vidtok.data.labels import packaged_names
from vidtok.data.manifest import load_manifest, load_split
from vidtok.errors import DataError

TRAIN = [
    {"id": "78687", "label": "holding potato next to box", "template": "Holding [something] next to [something]"},
    {"id": "42326", "label": "wiping it off", "template": "Wiping [something] off of [something]", "placeholders": []},
    {"id": 7, "label": "x", "template": "[Something] falling like a feather or paper"},
]


def write(folder: Path, content: object, name: str = "train.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder / name


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("place", ["labels/../20bn-something-something-v2", "labels", "videos", "."])
def test_videos_are_found_from_the_list_upwards(tmp_path: Path, place: str) -> None:
    source = write(tmp_path / "labels", TRAIN)
    touch(tmp_path / place, "78687.webm", "42326.mp4", "7.webm")
    manifest = load_manifest(source)
    assert [(Path(item.path).name, item.label) for item in manifest.items] == [
        ("78687.webm", 19), ("42326.mp4", 173), ("7.webm", 134)
    ]  # fmt: skip
    assert manifest.class_names == packaged_names("ssv2")


def test_the_original_file_wins_and_frame_folders_serve(tmp_path: Path) -> None:
    source, root = write(tmp_path, TRAIN), touch(tmp_path / "data", "78687.webm", "78687.mp4", "42326.webm")
    (root / "7").mkdir()
    (root / "42326").mkdir()
    names = [Path(item.path).name for item in load_manifest(source, root=root).items]
    assert names == ["78687.webm", "42326.webm", "7"]


def test_labels_json_beside_the_list_decides_and_its_indices_are_strings(tmp_path: Path) -> None:
    names = [entry["template"].replace("[", "").replace("]", "") for entry in TRAIN]
    write(tmp_path, {name: str(2 - index) for index, name in enumerate(names)}, "labels.json")
    touch(tmp_path, "78687.webm", "42326.webm", "7.webm")
    manifest = load_manifest(write(tmp_path, TRAIN))
    assert manifest.class_names == tuple(reversed(names))
    assert [item.label for item in manifest.items] == [2, 1, 0]


def test_test_entries_have_no_label_and_the_answers_give_it(tmp_path: Path) -> None:
    touch(tmp_path, "1420.webm", "50058.webm")
    test = write(tmp_path, [{"id": "1420"}, {"id": "50058"}], "test.json")
    assert [item.label for item in load_split(DataConfig(test=str(test)), "test").items] == [None, None]
    with pytest.raises(DataError, match=r"data\.train: .* gives no label for .*1420\.webm"):
        load_split(DataConfig(train=str(test)), "train")
    (tmp_path / "test-answers.csv").write_text("1420;Throwing something\n50058;Stacking number of something\n")
    assert [item.label for item in load_manifest(tmp_path / "test-answers.csv").items] == [151, 144]


def test_missing_videos_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "78687.webm", "7.webm")
    manifest = load_manifest(write(tmp_path, TRAIN), max_missing=0.4)
    assert manifest.missing == (str(tmp_path / "42326.webm"),)
    assert (len(manifest.items), manifest.num_listed) == (2, 3)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([*TRAIN, {"name": "x"}], r"train\.json entry 4 has no id"),
        ([{"id": "1", "template": 3}], r"train\.json entry 1: template 3 is no text"),
        ([{"id": "7", "template": "Holding [nothing]"}], r"entry 1: label 'Holding nothing' is not one of the 174"),
    ],
)
def test_an_entry_that_cannot_be_read_is_named(tmp_path: Path, entries: list[object], message: str) -> None:
    touch(tmp_path, "7.webm")
    with pytest.raises(DataError, match=message):
        load_manifest(write(tmp_path, entries))


@pytest.mark.parametrize(("name", "first"), [("train", 19), ("validation", 140)])  # as in UniFormer's lists
def test_the_real_sample_entries_are_read(shared_data: Path, tmp_path: Path, name: str, first: int) -> None:
    source = shared_data / f"labels/samples/ssv2_{name}.json"
    ids = [entry["id"] for entry in json.loads(source.read_text())]
    manifest = load_manifest(source, root=touch(tmp_path, *(f"{video}.webm" for video in ids)))
    official = json.loads((shared_data / "labels/ssv2_labels.json").read_text())
    expected = [entry["template"].translate(str.maketrans("", "", "[]")) for entry in json.loads(source.read_text())]
    assert [item.label for item in manifest.items] == [int(official[template]) for template in expected]
    assert manifest.items[0].label == first
