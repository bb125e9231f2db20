"""Names of columns: known ones are read, those that may mean a part of a video are refused, others left out."""

import json
import logging
from pathlib import Path

import pytest

from vidtok.data.manifest import Item, load_manifest, read_listing
from vidtok.data.manifest.columns import find_columns
from vidtok.data.segment import Segment
from vidtok.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4", "c d.mp4"):
        (tmp_path / name).touch()
    return tmp_path


def load(folder: Path, text: str, name: str = "train.csv") -> list[Item]:
    (folder / name).write_text(text)
    return list(load_manifest(folder / name).items)


@pytest.mark.parametrize(
    "header",
    [
        "file_name,label", "video_name,tag", "filename,class", "video,target", "Video Path,Class Name", "id,category",
        "clip,action", "name,label_name", "videoPath,className", "clip_path,class_id", "file path,ground_truth",
    ],
)  # fmt: skip
@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_a_known_header_is_no_row(folder: Path, header: str, separator: str) -> None:
    text = "\n".join([header, "a.mp4,run", "b.mp4,walk"]).replace(",", separator)
    items = load(folder, text)
    assert [(Path(item.path).name, item.label) for item in items] == [("a.mp4", 0), ("b.mp4", 1)]


def test_of_several_columns_that_may_be_the_path_the_surest_one_is(folder: Path) -> None:
    items = load(folder, "clip_name,clip_path,label\nx,a.mp4,run\nx,b.mp4,walk\n")
    assert [Path(item.path).name for item in items] == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("separator", [",", "\t", " "])
@pytest.mark.parametrize("labels", [("run", "walk"), ("0", "1")])
def test_a_first_row_that_seems_to_name_unknown_columns_is_refused(
    folder: Path, separator: str, labels: tuple[str, str]
) -> None:
    text = "\n".join(["movie,feeling", *(f"{name},{label}" for name, label in zip(("a.mp4", "b.mp4"), labels))])
    with pytest.raises(DataError, match=r"train\.csv row 1: 'movie.feeling' seems to name columns.*call the columns"):
        load(folder, text.replace(",", separator))


def test_a_first_row_is_no_header_where_its_file_or_its_label_is_known(folder: Path) -> None:
    (folder / "frames").mkdir()
    assert len(load(folder, "frames jump\na.mp4 run\n")) == 2
    (folder / "train.csv").write_text("gone jump\na.mp4 jump\nb.mp4 run\n")
    assert len(load_manifest(folder / "train.csv", max_missing=0.5).items) == 2
    (folder / "train.csv").write_text("gone.mp4 jump\na.mp4 run\n")
    assert len(load_manifest(folder / "train.csv", max_missing=0.5).items) == 1


SEGMENTS = {
    "start,end": ("1.5,4", Segment(1.5, 4.0)),
    "start_time,end_time": ("1.5,4", Segment(1.5, 4.0)),
    "time_start,time_end": ("0:01.5,00:00:04", Segment(1.5, 4.0)),
    "t_start,t_end": ("1.5,4", Segment(1.5, 4.0)),
    "start_sec,end_sec": ("1.5,4", Segment(1.5, 4.0)),
    "begin,stop": ("1.5,4", Segment(1.5, 4.0)),
    "startTime,endTime": ("1.5,4", Segment(1.5, 4.0)),
    "start_timestamp,stop_timestamp": ("1.5,4", Segment(1.5, 4.0)),
    "start_ms,end_ms": ("1500,4000", Segment(1.5, 4.0)),
    "start_frame,end_frame": ("3,9", Segment(3, 9, "frames")),
    "frame_start,frame_end": ("3.0,9", Segment(3, 9, "frames")),
    "source_start,source_end": ("1.5,4", Segment(1.5, 4.0, may_be_cut=True)),
    "start": ("1.5", Segment(1.5, None)),
}


@pytest.mark.parametrize("header", SEGMENTS)
def test_segments_are_read_from_tables_and_objects(folder: Path, header: str) -> None:
    fields, expected = SEGMENTS[header]
    table = f"path,{header},label\na.mp4,{fields},run\nb.mp4{',' * (header.count(',') + 1)},walk\n"
    items = load(folder, table)
    assert [item.segment for item in items] == [expected, None]
    assert load(folder, table.replace(",", "\t"), "train.tsv") == items
    entry = {"path": "a.mp4", "label": "run"} | dict(zip(header.split(","), fields.split(",")))
    rows = [json.dumps(entry), '{"path": "b.mp4", "label": "walk"}']
    assert load(folder, "\n".join(rows), "train.jsonl") == items
    assert load(folder, f"[{','.join(rows)}]", "train.json") == items


@pytest.mark.parametrize(
    "fields",
    ["4,4", "4,1", "-1,4", "nan,4", "1,inf", "x,4", "1,1e400", "\u0663,9", "1_0,20", ",4", "1,2 3", "true,4"],
)  # fmt: skip
def test_a_segment_that_cannot_be_is_named_with_its_row(folder: Path, fields: str) -> None:
    with pytest.raises(DataError, match=r"train\.csv row 2: (segment|start|end)") as error:
        load(folder, f"path,start,end,label\na.mp4,{fields},run\n")
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


def test_half_a_frame_and_a_boolean_are_no_places(folder: Path) -> None:
    with pytest.raises(DataError, match="start_frame '1.5' is not a frame number"):
        load(folder, "path,start_frame,end_frame,label\na.mp4,1.5,9,run\n")
    with pytest.raises(DataError, match=r"train\.jsonl row 1: start 'True' is not a time"):
        load(folder, '{"path": "a.mp4", "label": "run", "start": true, "end": 3}', "train.jsonl")


@pytest.mark.parametrize(
    "column", ["segment", "timestamps", "clip_onset", "from", "frame", "time", "t0", "startPosition", "end_of_action"]
)
def test_an_unknown_column_that_may_mean_a_part_is_refused_by_name(folder: Path, column: str) -> None:
    with pytest.raises(DataError, match=rf"row 1: column '{column}' looks like a part of the video"):
        load(folder, f"path,{column},label\na.mp4,3,run\n")
    with pytest.raises(DataError, match=rf"row 1: column '{column}' looks like a part of the video"):
        load(folder, json.dumps({"path": "a.mp4", column: [1, 2], "label": "run"}), "train.jsonl")


def test_a_start_with_a_duration_and_no_end_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="columns 'start' and 'duration' without an end"):
        load(folder, "path,start,duration,label\na.mp4,1,3,run\n")


def test_other_columns_are_left_out_with_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    names = ["path", "label", "fps", "num_frames", "frame_rate", "total_time_count", "duration", "upload_time"]
    assert find_columns(names, "x.csv row 1") is not None
    assert [record.message for record in caplog.records] == [
        f"x.csv row 1: columns that are not used: {', '.join(names[2:])}"
    ]


def test_a_field_more_than_columns_is_refused_and_quotes_protect_it(folder: Path) -> None:
    (folder / "c, d.mp4").touch()
    with pytest.raises(
        DataError, match=r"row 2: 'c, d\.mp4,run' lacks the columns .* it has 3, not 2; put double quotes"
    ):
        load(folder, "path,label\nc, d.mp4,run\n")
    assert len(load(folder, 'path,label\n"c, d.mp4",run\n')) == 1


def test_rows_of_other_splits_are_left_out_where_a_list_holds_several(folder: Path) -> None:
    text = "path,label,split\na.mp4,run,train\nb.mp4,walk,validation\nc d.mp4,walk,train\n"
    (folder / "all.csv").write_text(text)
    train, val = (load_manifest(folder / "all.csv", split=split) for split in ("train", "val"))
    assert [Path(item.path).name for item in train.items] == ["a.mp4", "c d.mp4"]
    assert [(Path(item.path).name, item.label) for item in val.items] == [("b.mp4", 1)]
    with pytest.raises(DataError, match=r"rows of the splits train, validation, but none of test"):
        load_manifest(folder / "all.csv", split="test")


def test_lines_that_are_videos_have_no_labels(folder: Path) -> None:
    (folder / "all.txt").write_text("a.mp4\nc d.mp4\n")
    assert [(row.path, row.labels) for row in read_listing(folder / "all.txt").rows] == [
        ("a.mp4", None),
        ("c d.mp4", None),
    ]
