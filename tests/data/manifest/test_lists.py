"""Lists beyond ``path label``: raw frames, several labels, JSON; and what is refused in them."""

import json
from pathlib import Path

import pytest

from vidtok.data.manifest import load_manifest
from vidtok.errors import DataError

Labels = int | tuple[int, ...] | None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Videos and folders of frames with easy and hard names."""
    for name in ("a.mp4", "b.mp4", "my clip 2.mp4"):
        (tmp_path / name).touch()
    for name in ("v_1", "air drumming/v 2"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def load(folder: Path, text: str, name: str = "train.csv", **options: object) -> list[tuple[str, Labels]]:
    (folder / name).write_text(text)
    manifest = load_manifest(folder / name, **options)
    return [(Path(item.path).relative_to(folder).as_posix(), item.label) for item in manifest.items]


@pytest.mark.parametrize("text", ["v_1 120 0\nair drumming/v 2 7 3\n", "v_1,120,0\nair drumming/v 2,7,3\n"])
def test_raw_frames_are_named_by_their_folder(folder: Path, text: str) -> None:
    assert load(folder, text) == [("v_1", 0), ("air drumming/v 2", 3)]


def test_a_list_that_names_a_video_file_is_no_list_of_raw_frames(folder: Path) -> None:
    (folder / "clip 3").mkdir()
    assert load(folder, "clip 3 0\na.mp4 1\n") == [("clip 3", 0), ("a.mp4", 1)]


def test_a_number_between_a_video_and_its_label_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"row 1: 'a\.mp4 0' is a video and a number; .*data\.multi_label=true"):
        load(folder, "a.mp4 0 3\nb.mp4 1 2\n")


def test_a_list_of_single_images_is_refused_with_the_form_to_write(folder: Path) -> None:
    with pytest.raises(DataError, match=r"row 1: a list of single images; write one line 'folder num_frames label'"):
        load(folder, 'original_vido_id video_id frame_id path labels\nv_1 0 0 v_1/1.jpg ""\n')


@pytest.mark.parametrize(
    "text",
    [
        "a.mp4 3 17 40\nb.mp4 0\nmy clip 2.mp4 5 1\n",
        "a.mp4 3,17,40\nb.mp4 0\nmy clip 2.mp4 5,1\n",
        "a.mp4,3,17,40\nb.mp4,0\nmy clip 2.mp4,5,1\n",
        "a.mp4\t3;17;40\nb.mp4\t0\nmy clip 2.mp4\t5;1\n",
        'a.mp4 "3,17,40"\nb.mp4 "0"\n"my clip 2.mp4" "5,1"\n',
        'path,labels\na.mp4,"3,17,40"\nb.mp4,0\nmy clip 2.mp4,5 1\n',
    ],
    ids=repr,
)
def test_all_spellings_of_several_labels_say_the_same(folder: Path, text: str) -> None:
    expected = [("a.mp4", (3, 17, 40)), ("b.mp4", (0,)), ("my clip 2.mp4", (5, 1))]
    assert load(folder, text, multi_label=True) == expected
    (folder / "train.csv").write_text(text)
    assert load_manifest(folder / "train.csv", multi_label=True).num_classes == 41


def test_several_names_are_separated_by_semicolons(folder: Path) -> None:
    rows = load(folder, "a.mp4\tslides, then stops;spins\nb.mp4\tspins\n", multi_label=True)
    assert rows == [("a.mp4", (0, 1)), ("b.mp4", (1,))]


def test_raw_frames_with_several_labels_drop_their_count(folder: Path) -> None:
    assert load(folder, 'v_1 120 0 4\n"air drumming/v 2" 7 3\n', multi_label=True) == [
        ("v_1", (0, 4)),
        ("air drumming/v 2", (3,)),
    ]


@pytest.mark.parametrize("text", ['path,label\na.mp4,"3,17"\nb.mp4,0\n', '{"path": "a.mp4", "label": [3, 17]}'])
def test_several_labels_need_the_setting(folder: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"set data\.multi_label=true"):
        load(folder, text, "train.jsonl" if text.startswith("{") else "train.csv")


def test_rows_of_json_say_the_same_in_both_files(folder: Path) -> None:
    rows = [
        {"path": "a.mp4", "label": 1, "fps": 25},
        {"video": "b.mp4", "label": "2"},
        {"file": "my clip 2.mp4", "labels": [0]},
    ]
    expected = [("a.mp4", 1), ("b.mp4", 2), ("my clip 2.mp4", 0)]
    assert load(folder, "\n\n".join(map(json.dumps, rows)), "train.jsonl") == expected
    assert load(folder, json.dumps(rows), "train.json") == expected


def test_json_tells_no_label_from_an_unknown_one(folder: Path) -> None:
    rows = '{"path": "a.mp4", "labels": []}\n{"path": "b.mp4"}\n{"path": "my clip 2.mp4", "label": null}\n'
    labels = [label for _, label in load(folder, rows, "train.jsonl", multi_label=True)]
    assert labels == [(), None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"path": "a.mp4", "label": 0}\n{"label": 0}', r"train\.jsonl row 2 has no path"),
        ('{"path": "a.mp4", "label": 0}\n\n{oops}', r"train\.jsonl row 3 is not JSON"),
        ('{"path": "a.mp4", "label": true}', r"row 1: label True is neither a class index nor a name"),
        ('{"path": "a.mp4", "label": 1.5}', r"row 1: label 1\.5 is neither"),
        ('{"path": "a.mp4", "label": -1}', r"row 1: label -1"),
        ('["a.mp4", 0]', r"row 1 has no path"),
    ],
)
def test_a_wrong_json_row_is_named(folder: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(folder, text, "train.jsonl")


def test_a_json_file_that_is_no_list_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="train.json holds no array"):
        load(folder, '{"path": "a.mp4"}', "train.json")
