"""Kinetics: the official csv, with files where CVDF or ``arrange_by_classes.py`` put them, or anywhere below a root.

A file is known by the video id, the first 11 characters of its name, which may be - or _ as any other; and by the
times in ``ID_000010_000020.mp4``. Folders say nothing about the class: the csv does. They may say the split: a clip of
one split is not looked for in the folder of another. A file may be the clip or the video that it was cut out of, which
its length tells when it is read; see :func:`vidtok.data.segment.segment_frames`.
"""

import csv
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidtok.data.labels import Row, names_in, packaged_names, shown
from vidtok.data.manifest.files import check_root, checked_name, videos_below
from vidtok.data.manifest.items import ListFile, Listing
from vidtok.data.manifest.splits import split_named, split_of_file, split_of_folders
from vidtok.data.segment import Segment
from vidtok.errors import DataError

logger = logging.getLogger(__name__)

_COLUMNS = ("youtube_id", "time_start", "time_end")
_ID_LENGTH = 11
_ANNOTATIONS = "annotations"
_REPLACEMENTS = "replacement"
_LONGEST_SECONDS = 1e6


@dataclass(frozen=True, slots=True)
class _Clip:
    """One row of the csv."""

    where: str
    video_id: str
    start: float
    end: float
    label: str | None
    split: str | None
    """As it is written."""

    @property
    def stem(self) -> str:
        """Official file name without suffix."""
        return f"{self.video_id}_{int(self.start):06d}_{int(self.end):06d}"


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
    clips = _clips(file)
    folder = file.path.absolute().parent
    base = check_root(file.root) if file.root is not None else folder.parent if folder.name == _ANNOTATIONS else folder
    rows = _rows(clips, base, split_of_file(file.path.stem), file.path.name)
    own = names_in(rows) or ()
    return Listing(rows, file.names or (own if len(own) > 400 else packaged_names("kinetics400")), base)


def _clips(file: ListFile) -> list[_Clip]:
    reader = csv.DictReader(file.text.split("\n"), skipinitialspace=True)
    try:
        return [_clip(row, f"{file.path.name} row {reader.line_num}") for row in reader]
    except csv.Error as error:
        raise DataError(f"{file.path.name} row {reader.line_num} cannot be read ({error}); correct the row") from None


def _clip(row: dict[str, str | None], where: str) -> _Clip:
    video_id, start, end = (row[column] or "" for column in _COLUMNS)
    try:
        times = float(start), float(end)
    except ValueError:
        raise DataError(
            f"{where}: times '{shown(start)}' and '{shown(end)}' are not seconds; correct the row"
        ) from None
    if not 0 <= times[0] < times[1] < _LONGEST_SECONDS:
        raise DataError(f"{where}: times {start} to {end}; they start at 0 or later and end behind the start")
    if len(video_id) != _ID_LENGTH:
        raise DataError(f"{where}: youtube_id '{shown(video_id)}' has not {_ID_LENGTH} characters; correct the row")
    label = row.get("label")
    if label == "":
        raise DataError(f"{where}: the label is empty; correct the row")
    return _Clip(where, video_id, *times, label, row.get("split") or None)


def _rows(clips: Sequence[_Clip], base: Path, list_split: str | None, name: str) -> list[Row]:
    """Rows with a path below ``base``, the official name where there is no file.

    A file whose name holds the id alone serves several rows as the whole video.
    """
    files = defaultdict(list)
    for file in videos_below(base):
        files[os.path.basename(file)[:_ID_LENGTH]].append(file)
    listed = Counter(clip.video_id for clip in clips)
    rows, elsewhere = [], []
    for clip in clips:
        candidates = files.get(clip.video_id, [])
        split = split_named(clip.split) or list_split
        usable = [file for file in candidates if _split_of(file) in (None, split) or split is None]
        elsewhere += candidates[:1] if candidates and not usable else []
        exact = [file for file in usable if _stem(file) == clip.stem]
        is_alone = listed[clip.video_id] == 1
        usable = exact or [file for file in usable if is_alone or _stem(file) == clip.video_id]
        path = checked_name(min(usable, key=_preference, default=f"{clip.stem}.mp4"), clip.where)
        segment = Segment(clip.start, clip.end, may_be_cut=bool(exact) or is_alone)
        labels = None if clip.label is None else (clip.label,)
        rows.append(Row(clip.where, path, labels, segment=segment, split=clip.split))
    if elsewhere:
        logger.warning(
            "%s: %d listed clips are only in the folder of another split, such as '%s'; they count as missing",
            name, len(elsewhere), elsewhere[0],
        )  # fmt: skip
    return rows


def _stem(file: str) -> str:
    return os.path.splitext(os.path.basename(file))[0]


def _split_of(file: str) -> str | None:
    return split_of_folders(os.path.dirname(file).split(os.sep))


def _preference(file: str) -> tuple[bool, int, str]:
    """Smallest for the file to use: a replacement of a corrupted one, else the one with the shortest path."""
    folders = os.path.dirname(file).split(os.sep)
    return not any(folder.startswith(_REPLACEMENTS) for folder in folders), len(file), file
