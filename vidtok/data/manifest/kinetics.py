"""Kinetics: the official csv, with files where CVDF or ``arrange_by_classes.py`` put them, or anywhere below a root.

A file is known by the video id, the first 11 characters of its name, which may be - or _ as any other; and by the
times in ``ID_000010_000020.mp4``. Folders say nothing about the class: the csv does.
"""

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidtok.data.labels import Row, names_in, packaged_names
from vidtok.data.manifest.files import check_root, videos_below
from vidtok.data.manifest.items import ListFile, Listing
from vidtok.errors import DataError

_COLUMNS = ("youtube_id", "time_start", "time_end")
_ID_LENGTH = 11
_ANNOTATIONS = "annotations"
_REPLACEMENTS = "replacement"


@dataclass(frozen=True, slots=True)
class _Segment:
    """One row of the csv."""

    where: str
    video_id: str
    stem: str
    """Official file name without suffix."""
    label: str | None


def is_kinetics(file: ListFile) -> bool:
    """True for an official csv, which its header tells."""
    return {column.strip(' "') for column in file.first_line.split(",")}.issuperset(_COLUMNS)


def read_kinetics(file: ListFile) -> Listing:
    """Rows of an official csv: ``label,youtube_id,time_start,time_end,split[,is_cc]``, in the test list no label.

    Class names that are not given are those of Kinetics-400, or the csv's own when it has more than 400. Videos lie at
    any depth below the root; where that is not set, below the csv's folder or the one above ``annotations``.

    Raises:
        DataError: a row that cannot be read, or the root is not there.
    """
    segments = _segments(file.path.name, file.text)
    folder = file.path.absolute().parent
    base = check_root(file.root) if file.root is not None else folder.parent if folder.name == _ANNOTATIONS else folder
    files = _files_of_segments(segments, base)
    rows = [
        Row(segment.where, path, None if segment.label is None else (segment.label,))
        for segment, path in zip(segments, files, strict=True)
    ]
    own = names_in(rows) or ()
    return Listing(rows, file.names or (own if len(own) > 400 else packaged_names("kinetics400")), base)


def _segments(name: str, text: str) -> list[_Segment]:
    reader = csv.DictReader(text.split("\n"), skipinitialspace=True)
    segments = []
    for row in reader:
        where = f"{name} row {reader.line_num}"
        video_id, start, end = (row[column] or "" for column in _COLUMNS)
        try:
            stem = f"{video_id}_{int(float(start)):06d}_{int(float(end)):06d}"
        except ValueError:
            raise DataError(f"{where}: times '{start}' and '{end}' are not seconds; correct the row") from None
        if len(video_id) != _ID_LENGTH:
            raise DataError(f"{where}: youtube_id '{video_id}' has not {_ID_LENGTH} characters; correct the row")
        label = row.get("label")
        if label == "":
            raise DataError(f"{where}: the label is empty; correct the row")
        segments.append(_Segment(where, video_id, stem, label))
    return segments


def _files_of_segments(segments: Sequence[_Segment], base: Path) -> list[str]:
    """A path below ``base`` for each segment; the official name where there is no file."""
    files = defaultdict(list)
    for file in videos_below(base):
        files[os.path.basename(file)[:_ID_LENGTH]].append(file)
    listed = Counter(segment.video_id for segment in segments)
    paths = []
    for segment in segments:
        candidates = files.get(segment.video_id, [])
        exact = [file for file in candidates if os.path.splitext(os.path.basename(file))[0] == segment.stem]
        usable = exact or (candidates if listed[segment.video_id] == 1 else [])
        paths.append(min(usable, key=_preference, default=f"{segment.stem}.mp4"))
    return paths


def _preference(file: str) -> tuple[bool, int, str]:
    """Smallest for the file to use: a replacement of a corrupted one, else the one with the shortest path."""
    folders = os.path.dirname(file).split(os.sep)
    return not any(folder.startswith(_REPLACEMENTS) for folder in folders), len(file), file
