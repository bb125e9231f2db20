"""Charades: ``Charades_v1_train.csv`` and ``Charades_v1_test.csv``, actions as ``c092 11.90 21.20;c147 0.00 9.50``.

With ``data.multi_label`` a video has the classes of all its actions, as the benchmark is scored. Without, every action
is a clip of its own: the part of the video from its first to its last second.
"""

import csv
import re

from vidtok.data.labels import Row, read_text, shown
from vidtok.data.manifest.files import place_videos
from vidtok.data.manifest.items import ListFile, Listing
from vidtok.data.segment import Segment
from vidtok.errors import DataError

_COLUMNS = {"id", "subject", "script", "actions", "length"}
_ACTION = re.compile(r"(c\d{3})\s+(\d+(?:\.\d*)?)\s+(\d+(?:\.\d*)?)", re.ASCII)
_CLASS = re.compile(r"(c\d{3})\s+(\S.*)", re.ASCII)
_CLASS_FILE = "Charades_v1_classes.txt"
_NUM_CLASSES = 157
_FOLDERS = ("", "Charades_v1_480", "Charades_v1", "Charades_v1_rgb", "videos")
_SUFFIXES = (".mp4", "")


def is_charades(file: ListFile) -> bool:
    """True for the header of an official csv."""
    return _COLUMNS.issubset(column.strip(' "') for column in file.first_line.split(","))


def read_charades(file: ListFile) -> Listing:
    """Rows of an official csv; see the module. Raises DataError for an action of another form.

    Classes are called as in ``Charades_v1_classes.txt`` beside it; without that file by their numbers, c000 to c156.
    """
    names_by_id = _names(file)
    rows = [row for where, entry in _entries(file) for row in _rows(where, entry, names_by_id, file.multi_label)]
    spellings = [[f"{row.path}{suffix}" for suffix in _SUFFIXES] for row in rows]
    base, paths = place_videos(file.path, spellings, file.root, inside=_FOLDERS)
    rows = [Row(row.where, path, row.labels, row.path, row.segment) for row, path in zip(rows, paths, strict=True)]
    return Listing(rows, file.names or tuple(names_by_id.values()), base)


def _entries(file: ListFile) -> list[tuple[str, dict[str, str | None]]]:
    reader = csv.DictReader(file.text.split("\n"))
    return [(f"{file.path.name} row {reader.line_num}", entry) for entry in reader]


def _rows(where: str, entry: dict[str, str | None], names: dict[str, str], multi_label: bool) -> list[Row]:
    """The clips of a video: itself with all its classes, or one for each action. Their path is the video's id."""
    actions = []
    for text in filter(None, (entry["actions"] or "").strip().split(";")):
        match = _ACTION.fullmatch(text.strip())
        if match is None or match[1] not in names:
            raise DataError(f"{where}: action '{shown(text.strip())}' is not of the form 'c092 11.90 21.20'")
        actions.append((names[match[1]], float(match[2]), float(match[3])))
    video = entry["id"] or ""
    if multi_label:
        return [Row(where, video, tuple(dict.fromkeys(label for label, _, _ in actions)))]
    # a few actions of the official lists end where they start, or before: they show nothing
    return [Row(where, video, (label,), segment=Segment(start, end)) for label, start, end in actions if end > start]


def _names(file: ListFile) -> dict[str, str]:
    """Names of the classes by id, in their order. Raises DataError."""
    beside = file.path.absolute().parent / _CLASS_FILE
    if not beside.is_file():
        ids = [f"c{number:03d}" for number in range(_NUM_CLASSES)]
        return dict(zip(ids, file.names or ids))
    matches = [_CLASS.fullmatch(line.strip()) for line in read_text(beside).split("\n") if line.strip()]
    if not all(matches):
        raise DataError(f"{beside}: a line is not of the form 'c000 Holding some clothes'")
    return {match[1]: match[2] for match in matches if match}
