"""Class names: standard lists, every file format they come in, and finding them however they are spelt."""

import json
import re
from pathlib import Path

import pytest

from vidtok.data.labels import (
    NameIndex,
    Row,
    class_indices,
    find_class_names,
    map_by_name,
    packaged_lists,
    packaged_names,
    read_class_names,
    split_labels,
)
from vidtok.errors import DataError

COUNTS = {"jester": 27, "kinetics400": 400, "ssv2": 174, "ucf101": 101}


def folder_spelling(name: str) -> str:
    return re.sub(r"[^\w]+", "_", name.replace("'", "")).strip("_")


def test_the_standard_lists_have_their_classes_in_alphabetical_order_but_for_jester() -> None:
    assert {name: len(packaged_names(name)) for name in packaged_lists()} == COUNTS
    for name in set(packaged_lists()) - {"jester"}:
        assert list(packaged_names(name)) == sorted(set(packaged_names(name)), key=str.casefold)


@pytest.mark.parametrize(
    ("name", "index", "expected"),
    [
        ("kinetics400", 0, "abseiling"),
        ("kinetics400", 12, "balloon blowing"),
        ("kinetics400", 399, "zumba"),
        ("ssv2", 0, "Approaching something with your camera"),
        ("ssv2", 86, "Pulling something from left to right"),
        ("ssv2", 140, "Spinning something that quickly stops spinning"),
        ("ssv2", 173, "Wiping something off of something"),
    ],
)
def test_known_indices_of_the_standard_lists(name: str, index: int, expected: str) -> None:
    assert packaged_names(name)[index] == expected


@pytest.mark.parametrize("name", COUNTS)
def test_every_class_is_found_by_its_name_and_as_a_folder_may_spell_it(name: str) -> None:
    names = packaged_names(name)
    index = NameIndex(names)
    assert [index.find(one) for one in names] == list(range(len(names)))
    if name == "kinetics400":
        assert [index.find(folder_spelling(one)) for one in names] == list(range(len(names)))
    assert [index.find(f'"{one.replace(" ", "_").upper()}"') for one in names] == list(range(len(names)))


def test_aliases_are_known_of_the_whole_of_kinetics_400_only() -> None:
    names = list(packaged_names("kinetics400"))
    assert NameIndex(names).find("sipping cup") == 100
    assert NameIndex(names[:399]).find("sipping cup") is None
    renamed = ["sipping_cup" if name == "drinking" else name for name in names]
    assert NameIndex([name.replace("_", " ") for name in renamed]).find("drinking") == 100


def test_names_that_differ_only_in_spelling_are_found_exactly_or_not_at_all() -> None:
    index = NameIndex(["a b", "a_b", "C"])
    assert [index.find(name) for name in ("a b", "a_b", "A B", "c", "C++")] == [0, 1, None, 2, None]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("names.txt", "wave\nclap (loud)\nrun\n"),
        ("names.txt", "run\t2\nwave\t0\nclap (loud)\t1\n"),
        ("names.json", '{"run": 2, "\\"clap (loud)\\"": 1, "wave": 0}'),
        ("names.json", '{"run": "2", "clap (loud)": "1", "wave": "0"}'),
        ("names.json", '{"1": "clap (loud)", "0": "wave", "2": "run"}'),
        ("names.json", '["wave", "clap (loud)", "run"]'),
    ],
)
def test_every_format_of_class_names_says_the_same(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    assert read_class_names(tmp_path / file) == ("wave", "clap (loud)", "run")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 0, "b": 2}', "no name has index 1; indices are 0 to 1"),
        ('{"a": 0, "b": 0}', "no name has index 1"),
        ('{"a": "x"}', "holds no class names"),
        ("3", "holds no class names"),
        ("{", "is not JSON"),
        ('["a", "a"]', "row 2: class name 'a' is already in row 1"),
    ],
)
def test_a_json_that_would_shift_labels_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "names.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_class_names(tmp_path / "names.json")


def test_a_standard_list_is_named_and_a_file_of_that_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_class_names("ssv2") == packaged_names("ssv2")
    (tmp_path / "ssv2").write_text("a\nb\n")
    assert find_class_names("ssv2") == ("a", "b")
    with pytest.raises(DataError, match=r"'kinetics40' not found \(did you mean 'kinetics400'\?\).*or name a standard"):
        find_class_names("kinetics40")


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("3,17 40", ("3", "17", "40")),
        ("3;4", ("3", "4")),
        ("a, b", ("a, b",)),
        ("a, b; c", ("a, b", "c")),
        ("7", ("7",)),
    ],
)
def test_several_labels_in_one_field(text: str, labels: tuple[str, ...]) -> None:
    assert split_labels(text) == labels


def test_labels_are_mapped_by_name_through_spellings_and_unknown_ones_stay_unknown() -> None:
    rows = [Row("r1", "a", ("air_drumming", "0")), Row("r2", "b", None), Row("r3", "c", ())]
    names = ("abseiling", "air drumming")
    labels = class_indices(rows, names)
    assert labels == [(1, 0), None, ()]
    assert map_by_name(labels, names, ("Air_Drumming", "x", "abseiling"), source="s") == [(0, 2), None, ()]


# ------------------------------------------------------------------------------------- real lists


def test_the_standard_lists_agree_with_the_public_files(shared_data: Path) -> None:
    labels = shared_data / "labels"
    assert read_class_names(labels / "kinetics400_classnames.json") == packaged_names("kinetics400")
    assert read_class_names(labels / "ssv2_labels.json") == packaged_names("ssv2")
    official = json.loads((labels / "ssv2_labels.json").read_text())
    assert all(packaged_names("ssv2")[int(index)] == name for name, index in official.items())


def test_a_public_list_in_another_order_is_read_with_its_indices(shared_data: Path) -> None:
    names = read_class_names(shared_data / "labels/samples/k400_uniformer_categories.txt")
    assert (names[0], names[288], len(names)) == ("riding a bike", "using segway", 400)
    assert all(NameIndex(packaged_names("kinetics400")).find(name) is not None for name in names)
