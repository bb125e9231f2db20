"""Lists and class folders: every spelling gives the same items; every mistake gives one line with its row."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from vidtok.config import DataConfig
from vidtok.data.manifest import Manifest, load_manifest, load_split
from vidtok.errors import DataError

NAMES = ("abseiling", "air drumming", "zumba")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of empty files with easy and hard names."""
    for name in ("a.mp4", "b.mp4", "my clip.mp4", "one, two.mp4", "air drumming/-x_1.mp4", "\u00dcbung 3.webm"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    return tmp_path


def write(folder: Path, text: str, name: str = "train.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def items(manifest: Manifest, folder: Path) -> list[tuple[str, int | tuple[int, ...] | None]]:
    return [(str(Path(item.path).relative_to(folder)), item.label) for item in manifest.items]


def make_class_folders(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "1.mp4").touch()
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "a.mp4 0\nmy clip.mp4 2\n",
        "a.mp4,0\nmy clip.mp4,2\n",
        "a.mp4, 0\nmy clip.mp4, 2\n",
        "a.mp4\t0\nmy clip.mp4\t2",
        "a.mp4  0  \n\n# a remark\nmy clip.mp4  2\n",
        '"a.mp4" 0\n"my clip.mp4" 2\n',
        '"a.mp4","0"\n"my clip.mp4","2"\n',
        "path,label\na.mp4,0\nmy clip.mp4,2\n",
        "path label\na.mp4 0\n" + '"my clip.mp4" 2\n',
        "Label,fps,File\n0,25,a.mp4\n2,12,my clip.mp4\n",
        "\ufeffa.mp4 0\r\nmy clip.mp4 2\r\n",
        "\ufeffpath,label\r\na.mp4,0\r\nmy clip.mp4,2\r\n",
    ],
    ids=repr,
)
def test_all_spellings_of_a_list_say_the_same(folder: Path, text: str) -> None:
    manifest = load_manifest(write(folder, text))
    assert items(manifest, folder) == [("a.mp4", 0), ("my clip.mp4", 2)]
    assert (manifest.num_listed, manifest.num_classes, manifest.class_names) == (2, 3, None)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("one, two.mp4 1", ("one, two.mp4", 1)),
        ('"one, two.mp4",1', ("one, two.mp4", 1)),
        ("one, two.mp4,1", ("one, two.mp4", 1)),
        ("air drumming/-x_1.mp4 1", ("air drumming/-x_1.mp4", 1)),
        ("\u00dcbung 3.webm\t1", ("\u00dcbung 3.webm", 1)),
    ],
)
def test_the_right_most_field_is_the_label_whatever_the_path_holds(
    folder: Path, row: str, expected: tuple[str, int]
) -> None:
    assert items(load_manifest(write(folder, f"a.mp4{row[-2]}0\n{row}\n")), folder)[1] == expected


def test_a_first_row_with_the_words_of_a_header_is_a_row(tmp_path: Path) -> None:
    for name in ("class 0/path 1.mp4", "my video label"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        assert items(load_manifest(write(tmp_path, f"{name} 0\n{name} 1\n")), tmp_path) == [(name, 0), (name, 1)]


@pytest.mark.parametrize(
    "text",
    ["a.mp4,zumba\nb.mp4,air drumming\n", 'a.mp4 "zumba"\nb.mp4 "air drumming"\n', "a.mp4\tzumba\nb.mp4\tair drumming"],
)
def test_labels_may_be_names_and_sort_by_code_point(folder: Path, text: str) -> None:
    implied = load_manifest(write(folder, text))
    assert implied.class_names == ("air drumming", "zumba")
    assert [item.label for item in implied.items] == [1, 0]
    (folder / "names.txt").write_text("\n".join(NAMES))
    told = load_manifest(write(folder, text), classes=folder / "names.txt")
    assert told.class_names == NAMES
    assert [item.label for item in told.items] == [2, 1]


def test_class_names_beside_the_list_are_found_and_those_given_win(folder: Path) -> None:
    path = write(folder, "a.mp4 0\n")
    write(folder, "x\ny\n", "classes.txt")
    write(folder, "p\nq\n", "other.txt")
    assert load_manifest(path).class_names == ("x", "y")
    assert load_manifest(path, classes=folder / "other.txt").class_names == ("p", "q")


def test_class_folders_are_numbered_by_code_point_and_hold_videos_at_any_depth(tmp_path: Path) -> None:
    folder = make_class_folders(tmp_path / "train", ["b", "a", "B", "10", "9"])
    (folder / "b" / "g01").mkdir()
    (folder / "b" / "g01" / "2.AVI").touch()
    for ignored in ("b/notes.txt", "b/._1.mp4", "stray.mp4"):
        (folder / ignored).touch()
    (folder / "empty").mkdir()
    (folder / ".hidden").mkdir()
    manifest = load_manifest(folder)
    assert manifest.class_names == ("10", "9", "B", "a", "b")
    assert [label for _, label in items(manifest, folder)] == [0, 1, 2, 3, 4, 4]
    assert items(manifest, folder)[-2:] == [("b/1.mp4", 4), ("b/g01/2.AVI", 4)]


def test_names_beside_a_folder_decide_its_numbers(tmp_path: Path) -> None:
    folder = make_class_folders(tmp_path / "train", ["fight", "noFight"])
    write(tmp_path, "noFight\nfight\n", "classes.txt")
    manifest = load_manifest(folder)
    assert manifest.class_names == ("noFight", "fight")
    assert items(manifest, folder) == [("fight/1.mp4", 1), ("noFight/1.mp4", 0)]
    write(tmp_path, "noFight\nfights\n", "classes.txt")
    with pytest.raises(DataError, match=r"folder '.*fight' is not one of the 2 class names \(did you mean 'fights'"):
        load_manifest(folder)


def test_paths_start_at_root_else_at_the_nearest_folder_above_where_files_are(folder: Path) -> None:
    (folder / "lists" / "official").mkdir(parents=True)
    path = write(folder / "lists" / "official", "a.mp4 0\nb.mp4 1\n")
    assert items(load_manifest(path), folder) == [("a.mp4", 0), ("b.mp4", 1)]
    for name in ("a.mp4", "b.mp4"):
        (folder / "lists" / name).touch()
    assert items(load_manifest(path), folder)[0][0] == "lists/a.mp4"
    assert items(load_manifest(path, root=folder), folder)[0][0] == "a.mp4"
    absolute = write(folder / "lists", f"{folder}/a.mp4 0\n")
    assert items(load_manifest(absolute, root=folder / "lists"), folder) == [("a.mp4", 0)]


def test_missing_files_are_counted_and_left_out_within_the_budget(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(folder, "a.mp4 0\ngone/x.mp4 0\nb.mp4 1\nmy clip.mp4 1\n")
    manifest = load_manifest(path, max_missing=0.25)
    assert (len(manifest.items), manifest.num_listed) == (3, 4)
    assert manifest.missing == (str(folder / "gone/x.mp4"),)
    assert "1 of 4 listed videos are missing" in caplog.text
    with pytest.raises(DataError, match=r"1 of 4 listed videos are missing.*gone/x\.mp4.*max_missing"):
        load_manifest(path, max_missing=0.24)


def test_names_of_another_list_decide_the_numbers_by_name(tmp_path: Path) -> None:
    val = make_class_folders(tmp_path / "val", ["zumba", "abseiling"])
    manifest = load_manifest(val, class_names=NAMES)
    assert manifest.class_names == NAMES
    assert items(manifest, val) == [("abseiling/1.mp4", 0), ("zumba/1.mp4", 2)]
    with pytest.raises(DataError, match=r"class names disagree: 'zumba' is not one of the 2 .*did you mean 'zumbra'"):
        load_manifest(val, class_names=("abseiling", "zumbra"))


def test_numbers_are_indices_into_the_names_of_another_list(folder: Path) -> None:
    path = write(folder, "a.mp4 2\nb.mp4 1\n")
    manifest = load_manifest(path, class_names=NAMES)
    assert (manifest.class_names, manifest.num_classes) == (NAMES, 3)
    with pytest.raises(DataError, match="row 1: label 2, but there are 2 classes"):
        load_manifest(path, num_classes=2)


ROW_ERRORS = {
    "a.mp4 1\nb.mp4 2\nmy clip.mp4 3\n": r"train\.csv row 3: label 3, but there are 3 classes \(0-2\); .* 1-based",
    "# first\n\na.mp4 0\nb.mp4 7\n": r"train\.csv row 4: label 7, but there are 3 classes \(0-2\); correct",
    "a.mp4 0\nb.mp4 -1\n": r"train\.csv row 2: label -1",
    "a.mp4 0\nb.mp4\n": r"train\.csv row 2: 'b\.mp4' is not of the form 'path label'",
    "a.mp4,zumba\nb.mp4,abselling\n": r"row 2: label 'abselling' is not one of the 3 .*did you mean 'abseiling'",
    "path,label\na.mp4,0\nb.mp4\n": r"train\.csv row 3: 'b\.mp4' lacks the columns",
    "label,youtube_id,time_start\nzumba,abc,3\n": r"row 1: columns label, youtube_id, time_start; .*path and label",
}


@pytest.mark.parametrize("text", ROW_ERRORS)
def test_a_wrong_row_is_named(folder: Path, text: str) -> None:
    write(folder, "\n".join(NAMES), "classes.txt")
    with pytest.raises(DataError, match=ROW_ERRORS[text]) as error:
        load_manifest(write(folder, text))
    assert error.value.exit_code == 3
    assert "\n" not in str(error.value)


def test_labels_without_names_must_all_be_numbers_or_all_be_names(folder: Path) -> None:
    with pytest.raises(DataError, match="row 2: label 'zumba' is not a number, and there are no class names"):
        load_manifest(write(folder, "a.mp4 0\nb.mp4 zumba\n"))


def test_labels_without_names_that_never_are_zero_get_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_manifest(write(folder, "a.mp4 1\nb.mp4 2\n"))
    assert "are these 1-based" in caplog.text


def test_an_absent_list_says_in_one_line_what_to_put_where() -> None:
    with pytest.raises(DataError) as error:
        load_split(DataConfig(train="data/k400/train.csv"), "train")
    message = str(error.value)
    assert message.startswith("data.train: 'data/k400/train.csv' not found; write a list of 'path label' lines there")
    assert "set data.train=PATH" in message and "\n" not in message
    with pytest.raises(DataError, match=r"data\.train is not set; give a list"):
        load_split(DataConfig(), "train")


def test_a_list_whose_files_all_are_absent_says_where_one_was_looked_for(folder: Path) -> None:
    with pytest.raises(
        DataError, match=r"data.val: .* none of the 2 listed videos exists, for example .*x\.mp4.*data.root"
    ):
        load_manifest(write(folder, "never_there_x.mp4 0\nnever_there_y.mp4 1\n"), max_missing=1.0, key="data.val")


def test_other_sources_that_cannot_be_used_say_why(folder: Path, tmp_path: Path) -> None:
    cases = {
        write(folder, "# nothing\n"): "lists no videos",
        write(folder, "", "zero.csv"): "lists no videos",
        make_class_folders(tmp_path / "top", ["train", "val"]): "holds splits, not classes; name one .*train",
        tmp_path / "none": "holds no class folders with videos",
    }
    (tmp_path / "none").mkdir()
    (folder / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    for source, message in (cases | {folder / "binary.csv": "is not UTF-8 text"}).items():
        with pytest.raises(DataError, match=message):
            load_manifest(source)
    with pytest.raises(DataError, match=r"data.root: folder .*nowhere' not found"):
        load_manifest(write(folder, "a.mp4 0\n"), root=folder / "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n\nb\n", "row 2 is empty, but line numbers are class indices"),
        ("a\nb\na\n", "row 3: class name 'a' is already in row 1"),
        ("\n", "is empty; write one class name a line"),
    ],
)
def test_class_files_that_would_shift_labels_are_refused(folder: Path, text: str, message: str) -> None:
    path = write(folder, "a.mp4 0\n")
    with pytest.raises(DataError, match=message):
        load_manifest(path, classes=write(folder, text, "names.txt"))
    with pytest.raises(DataError, match=r"data.classes: .*absent\.txt' not found"):
        load_manifest(path, classes=folder / "absent.txt")


def test_the_test_split_is_the_validation_one_unless_set(folder: Path) -> None:
    val, test = write(folder, "a.mp4 0\n", "val.csv"), write(folder, "b.mp4 0\n", "test.csv")
    assert load_split(DataConfig(val=str(val)), "test").source == str(val)
    assert load_split(DataConfig(val=str(val), test=str(test)), "test").source == str(test)


def test_a_number_of_classes_that_the_names_contradict_is_refused(folder: Path) -> None:
    write(folder, "x\ny\n", "classes.txt")
    with pytest.raises(DataError, match="2 class names, but 5 classes are expected"):
        load_manifest(write(folder, "a.mp4 0\n"), num_classes=5)


# ------------------------------------------------------------------------------------- real lists


def test_real_list_with_names_beside_it(shared_data: Path) -> None:
    train = load_manifest(shared_data / "clips/fight2/train.csv")
    val = load_manifest(shared_data / "clips/fight2/val.csv", class_names=train.class_names)
    assert (len(train.items), len(val.items)) == (164, 44)
    assert train.class_names == val.class_names == ("noFight", "fight")
    assert all(("noFight" in item.path) == (item.label == 0) for item in train.items + val.items)


def test_real_folder_and_list_of_many_columns_agree_with_the_short_list(shared_data: Path) -> None:
    short, folder, long = (
        load_manifest(shared_data / "clips/fight2" / name) for name in ("train.csv", "train", "train_manifest.csv")
    )
    labels = [{Path(item.path).name: item.label for item in manifest.items} for manifest in (short, folder, long)]
    assert labels[0] == labels[1] == labels[2]


@pytest.mark.parametrize(
    ("name", "multi_label", "first"),
    [
        ("k400_uniformer_val_rows.csv", False, ("0wR5jVB-WPk.mp4", 341)),
        ("mmaction2_video_test_list.txt", False, ("test.mp4", 0)),
        ("mmaction2_video_test_list_multi_label.txt", True, ("test.mp4", (0, 3))),
        ("sthv2_uniformer_val_rows.txt", False, ("74225", 140)),  # raw frames: folder, frames, label
    ],
)
def test_real_sample_lists_are_parsed(
    shared_data: Path, tmp_path: Path, name: str, multi_label: bool, first: tuple[str, int | tuple[int, ...]]
) -> None:
    source = shared_data / "labels/samples" / name
    rows = [row for row in source.read_text().splitlines() if row]
    for row in rows:
        (tmp_path / row.replace(",", " ").split()[0]).touch()
    manifest = load_manifest(source, root=tmp_path, multi_label=multi_label)
    assert items(manifest, tmp_path)[0] == first
    assert len(manifest.items) == len(rows)


def test_real_list_in_another_class_order_is_translated_by_name(shared_data: Path, tmp_path: Path) -> None:
    labels = shared_data / "labels"
    lines = (labels / "samples/k400_uniformer_categories.txt").read_text().splitlines()
    foreign = [line.rpartition("\t")[0] for line in lines]
    standard = (labels / "kinetics400.txt").read_text().splitlines()
    with (labels / "samples/k400_uniformer_val_rows_standard_index.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    write(tmp_path, "\n".join(foreign), "classes.txt")
    for row in rows:
        (tmp_path / row["file"]).touch()
    path = write(tmp_path, "".join(f"{row['file']},{row['uniformer_index']}\n" for row in rows))
    manifest = load_manifest(path, class_names=standard)
    assert [item.label for item in manifest.items] == [int(row["standard_index"]) for row in rows]


@pytest.mark.parametrize("name", [b"\xff.mp4", b"a\nb.mp4"])
def test_a_name_that_no_list_can_hold_is_refused(name: bytes, tmp_path: Path) -> None:
    (tmp_path / "swim").mkdir()
    try:
        (tmp_path / "swim" / os.fsdecode(name)).touch()
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(DataError, match="a list cannot hold this name"):
        load_manifest(tmp_path)
