"""The official Kinetics csv over every layout of its files: the csv says the class, the name says the video."""

from pathlib import Path

import pytest

from vidtok.config import DataConfig
from vidtok.data.labels import packaged_names
from vidtok.data.manifest import Manifest, load_manifest, load_split
from vidtok.data.segment import Segment
from vidtok.errors import DataError

HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"
ROWS = (
    "abseiling,-3B32lodo2M,59,69,val,0\n"
    '"air drumming",_dbcJuKJQNs,40,50,val,0\n'
    '"massaging person\'s head",a_b-c_d-e_f,0,10,val,0\n'
    "zumba,__________1,100000,100010,val,0\n"
)
STEMS = ("-3B32lodo2M_000059_000069", "_dbcJuKJQNs_000040_000050", "a_b-c_d-e_f_000000_000010",
         "__________1_100000_100010")  # fmt: skip
LABELS = [0, 1, 196, 399]

FLAT = [f"val/{stem}.mp4" for stem in STEMS]
BY_CLASS = [f"val/{folder}/{stem}.mp4" for folder, stem in zip(("abseiling", "air_drumming", "massaging", "x"), STEMS)]
IDS_ONLY = [f"{stem[:11]}.webm" for stem in STEMS]


def make(folder: Path, files: list[str], csv: str = HEADER + ROWS, name: str = "annotations/val.csv") -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(csv)
    return folder / name


def files(manifest: Manifest, folder: Path) -> list[str]:
    return [Path(item.path).relative_to(folder).as_posix() for item in manifest.items]


@pytest.mark.parametrize("layout", [FLAT, BY_CLASS, IDS_ONLY], ids=["flat", "by class", "ids only"])
def test_every_layout_gives_the_same_labels_of_the_standard_list(tmp_path: Path, layout: list[str]) -> None:
    manifest = load_manifest(make(tmp_path, layout))
    assert files(manifest, tmp_path) == layout
    assert [item.label for item in manifest.items] == LABELS
    assert manifest.class_names == packaged_names("kinetics400")


def test_a_root_may_be_anywhere_and_a_csv_outside_of_annotations_looks_beside_itself(tmp_path: Path) -> None:
    there = load_manifest(
        make(tmp_path / "lists", [], name="val.csv"), root=make(tmp_path / "videos", FLAT).parent / ".."
    )
    beside = load_manifest(make(tmp_path / "videos", FLAT, name="val.csv"))
    assert [item.label for item in there.items] == [item.label for item in beside.items] == LABELS


def test_a_replacement_is_read_instead_of_the_corrupted_file(tmp_path: Path) -> None:
    replacement = f"replacement/replacement_for_corrupted_k400/{STEMS[1]}.mp4"
    manifest = load_manifest(make(tmp_path, [*FLAT, replacement]))
    assert files(manifest, tmp_path) == [FLAT[0], replacement, *FLAT[2:]]


def test_a_file_cut_at_other_times_serves_unless_the_csv_lists_its_video_twice(tmp_path: Path) -> None:
    other = "val/-3B32lodo2M_000060_000070.mp4"
    assert files(load_manifest(make(tmp_path, [other, *FLAT[1:]])), tmp_path)[0] == other
    twice = HEADER + "zumba,-3B32lodo2M,60,70,val,0\n" + ROWS
    manifest = load_manifest(make(tmp_path, [], twice), max_missing=0.3)
    assert manifest.missing == (str(tmp_path / f"{STEMS[0]}.mp4"),)
    assert [item.label for item in manifest.items] == [399, *LABELS[1:]]


def test_ids_with_a_common_beginning_are_not_mixed_up(tmp_path: Path) -> None:
    csv = HEADER + "zumba,aaaaaaaaaa-,0,10,val,0\nabseiling,aaaaaaaaaa_,0,10,val,0\n"
    manifest = load_manifest(make(tmp_path, ["aaaaaaaaaa__000000_000010.mp4", "aaaaaaaaaa-_000000_000010.mp4"], csv))
    assert [(Path(item.path).name[10], item.label) for item in manifest.items] == [("-", 399), ("_", 0)]


def test_missing_files_are_counted_against_the_budget(tmp_path: Path) -> None:
    source = make(tmp_path, FLAT[:3])
    assert load_manifest(source, max_missing=0.25).missing == (str(tmp_path / f"{STEMS[3]}.mp4"),)
    with pytest.raises(DataError, match=r"1 of 4 listed videos are missing, for example .*__________1_100000_100010"):
        load_manifest(source)


def test_the_test_list_has_no_labels_and_is_only_good_for_test(tmp_path: Path) -> None:
    source = make(tmp_path, [f"test/{STEMS[0]}.mp4"], "youtube_id,time_start,time_end,split\n-3B32lodo2M,59,69,test\n")
    assert [item.label for item in load_split(DataConfig(test=str(source)), "test").items] == [None]
    with pytest.raises(DataError, match=r"data\.val: .* gives no label for .*-3B32lodo2M.*only data.test"):
        load_split(DataConfig(val=str(source)), "val")


def test_later_spellings_of_a_class_keep_its_index_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    csv = HEADER + '"inflating balloons",-3B32lodo2M,59,69,val,0\nair_drumming,_dbcJuKJQNs,40,50,val,0\n'
    assert [item.label for item in load_manifest(make(tmp_path, FLAT[:2], csv)).items] == [12, 1]
    wrong = make(tmp_path, [], csv + "abselling,a_b-c_d-e_f,0,10,val,0\n")
    with pytest.raises(DataError, match=r"val\.csv row 4: label 'abselling' .*400 class names \(did you mean 'abseil"):
        load_manifest(wrong)


def test_more_than_400_classes_are_another_kinetics_with_its_own_names(tmp_path: Path) -> None:
    names = [f"class {number:03}" for number in range(600)]
    ids = [f"{number:011}" for number in range(600)]
    rows = "".join(f"{name},{video},0,10,val\n" for name, video in zip(names, ids))
    source = make(tmp_path, [f"{video}.mp4" for video in ids], "label,youtube_id,time_start,time_end,split\n" + rows)
    assert load_manifest(source).class_names == tuple(names)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("zumba,short,0,10,val,0\n", r"row 2: youtube_id 'short' has not 11 characters"),
        ("zumba,-3B32lodo2M,x,10,val,0\n", r"row 2: times 'x' and '10' are not seconds"),
        (",-3B32lodo2M,0,10,val,0\n", r"row 2: the label is empty"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_manifest(make(tmp_path, FLAT, HEADER + row))


def test_class_folders_find_the_standard_index_though_their_order_is_another(tmp_path: Path) -> None:
    folders = ("tying_knot_(not_on_a_tie)", "Zumba", "massaging_persons_head", "drinking", "hurling (sport)")
    make(tmp_path, [f"val/{folder}/a.mp4" for folder in folders])
    manifest = load_manifest(tmp_path / "val", classes="kinetics400")
    found = {Path(item.path).parent.name: item.label for item in manifest.items}
    assert found == dict(zip(folders, (369, 399, 196, 100, 161)))


def test_the_real_sample_rows_are_read(shared_data: Path, tmp_path: Path) -> None:
    make(tmp_path, FLAT[:2])
    manifest = load_manifest(shared_data / "labels/samples/kinetics400_val.csv", root=tmp_path)
    assert [(Path(item.path).stem, item.label) for item in manifest.items] == [(STEMS[0], 0), (STEMS[1], 1)]


def test_a_clip_is_not_looked_for_in_the_folder_of_another_split(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    csv = (
        "label,youtube_id,time_start,time_end,split\nabseiling,-3B32lodo2M,59,69,train\nzumba,_dbcJuKJQNs,40,50,train\n"
    )
    source = make(tmp_path, [FLAT[0], f"training_256/zumba/{STEMS[0]}.mp4", FLAT[1]], csv, "k400_train.csv")
    manifest = load_manifest(source, max_missing=0.5)
    assert files(manifest, tmp_path) == [f"training_256/zumba/{STEMS[0]}.mp4"]
    assert manifest.missing == (str(tmp_path / f"{STEMS[1]}.mp4"),)
    assert "1 listed clips are only in the folder of another split, such as 'val/_dbcJuKJQNs" in caplog.text


def test_the_name_of_the_list_says_the_split_where_no_column_does(tmp_path: Path) -> None:
    rows = "label,youtube_id,time_start,time_end\nabseiling,-3B32lodo2M,59,69\n"
    layout = [FLAT[0], f"train/training dog/{STEMS[0]}.mp4"]
    assert files(load_manifest(make(tmp_path, layout, rows, "train_link_list.csv")), tmp_path) == layout[1:]
    assert files(load_manifest(make(tmp_path, layout, rows, "kinetics_val.csv")), tmp_path) == layout[:1]


def test_rows_carry_their_times_for_files_that_may_be_cut_already(tmp_path: Path) -> None:
    items = load_manifest(make(tmp_path, [*FLAT[:3], IDS_ONLY[3]])).items
    assert [item.segment for item in items[:2]] == [Segment(59, 69, may_be_cut=True), Segment(40, 50, may_be_cut=True)]
    twice = HEADER + "zumba,-3B32lodo2M,0,10,val,0\nabseiling,-3B32lodo2M,59,69,val,0\n"
    (tmp_path / "b").mkdir()
    both = load_manifest(make(tmp_path / "b", ["val/-3B32lodo2M.mp4"], twice)).items
    assert [item.segment for item in both] == [Segment(0, 10), Segment(59, 69)]
