"""EPIC-KITCHENS-100: ``EPIC_100_train.csv`` and ``EPIC_100_validation.csv``, parts of long videos with verb and noun.

``data.label`` says which of the two is the class, verb or noun. Segments are taken by their time stamps; in folders of
frames by their frame numbers, which count from 1 and include the last.
"""

import csv
import re
from pathlib import Path

from vidtok.data.labels import Row, read_text, shown
from vidtok.data.manifest.files import place_videos
from vidtok.data.manifest.items import ListFile, Listing
from vidtok.data.segment import Segment
from vidtok.errors import DataError

_COLUMNS = {
    "narration_id",
    "participant_id",
    "video_id",
    "start_timestamp",
    "stop_timestamp",
    "start_frame",
    "stop_frame",
}
_TIME = re.compile(r"(\d+):(\d{2}):(\d{2}(?:\.\d+)?)", re.ASCII)
_LABELS = ("verb", "noun")
_FOLDERS = ("", "EPIC-KITCHENS", "epic-kitchens-100", "videos", "rgb_frames")


def is_epic(file: ListFile) -> bool:
    """True for the header of an official csv."""
    return _COLUMNS.issubset(column.strip(' "') for column in file.first_line.split(","))


def read_epic(file: ListFile) -> Listing:
    """Rows of an official csv; see the module. The list of test segments has no labels.

    Class names are the keys in ``EPIC_100_verb_classes.csv`` or ``EPIC_100_noun_classes.csv`` beside it, if there.

    Raises:
        DataError: a row of another form, or ``data.label`` says neither verb nor noun.
    """
    reader = csv.DictReader(file.text.split("\n"))
    has_labels = "verb_class" in (reader.fieldnames or ())
    if has_labels and file.label not in _LABELS:
        raise DataError(
            f"{file.path.name} is a list of EPIC-KITCHENS-100, with two labels: set data.label to verb or noun"
        )
    entries = [(f"{file.path.name} row {reader.line_num}", entry) for entry in reader]
    spellings = [_spellings(where, entry) for where, entry in entries]
    base, paths = place_videos(file.path, spellings, file.root, inside=_FOLDERS)
    rows = [
        Row(
            where,
            path,
            (str(entry[f"{file.label}_class"]),) if has_labels else None,
            entry["video_id"],
            _frames(where, entry) if (base / path).is_dir() else _seconds(where, entry),
        )
        for (where, entry), path in zip(entries, paths, strict=True)
    ]
    return Listing(rows, file.names or (_names(file) if has_labels else None), base)


def _spellings(where: str, entry: dict[str, str]) -> list[str]:
    """Where the files of a video lie in the official download and in flat copies."""
    person, video = entry["participant_id"], entry["video_id"]
    if not person or not video:
        raise DataError(f"{where} lacks participant_id or video_id; correct the row")
    files = [f"{video}.MP4", f"{video}.mp4", video]
    return [
        f"{folder}{name}"
        for folder in (f"{person}/videos/", f"{person}/", "", f"{person}/rgb_frames/")
        for name in files
    ]


def _seconds(where: str, entry: dict[str, str]) -> Segment:
    start, stop = (_parse_time(where, entry[f"{end}_timestamp"]) for end in ("start", "stop"))
    return Segment(start, stop)


def _parse_time(where: str, text: str) -> float:
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise DataError(f"{where}: time '{shown(text)}' is not of the form 00:01:02.345; correct the row")
    return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3])


def _frames(where: str, entry: dict[str, str]) -> Segment:
    try:
        start, stop = int(entry["start_frame"]), int(entry["stop_frame"])
    except ValueError:
        raise DataError(f"{where}: start_frame or stop_frame is not a number; correct the row") from None
    return Segment(start - 1, stop, "frames")


def _names(file: ListFile) -> tuple[str, ...] | None:
    """Names in the order of their numbers; None where the file is not there. Raises DataError."""
    beside = file.path.absolute().parent / f"EPIC_100_{file.label}_classes.csv"
    return _read_names(beside) if beside.is_file() else None


def _read_names(path: Path) -> tuple[str, ...]:
    entries = list(csv.DictReader(read_text(path).split("\n")))
    if [entry.get("id") for entry in entries] != [str(number) for number in range(len(entries))]:
        raise DataError(f"{path}: column id does not count the rows from 0; take the official file")
    return tuple(entry["key"] for entry in entries)
