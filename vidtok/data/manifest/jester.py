"""Jester: ``jester-v1-train.csv`` and its kin, lines of ``id;label``, over folders of frames named by the id.

The later release writes ``Train.csv`` and ``Validation.csv`` with columns ``video_id,label,frames``, read as any csv
with a header.
"""

import re

from vidtok.data.labels import NameIndex, Row, packaged_names, read_class_names, shown
from vidtok.data.manifest.files import place_videos
from vidtok.data.manifest.items import ListFile, Listing
from vidtok.errors import DataError

_LINE = re.compile(r"(\d+);(.+)", re.ASCII)
_LABEL_FILE = "jester-v1-labels.csv"
_FOLDERS = ("", "20bn-jester-v1", "20bn-jester", "rawframes", "videos")
_SUFFIXES = ("", ".mp4", ".webm")


def is_jester(file: ListFile) -> bool:
    """True for a first line with one of the gestures: Something-Something writes its answers in the same form."""
    match = _LINE.fullmatch(file.first_line.strip())
    return match is not None and NameIndex(packaged_names("jester")).find(match[2].strip()) is not None


def read_jester(file: ListFile) -> Listing:
    """Rows of an official list; see the module. Raises DataError for a line of another form.

    Classes are numbered as in ``jester-v1-labels.csv`` beside it, else as in the packaged list ``jester``.
    """
    rows = []
    for number, line in enumerate(file.text.split("\n"), 1):
        match = _LINE.fullmatch(line.strip())
        if match is None and line.strip():
            raise DataError(f"{file.path.name} row {number}: '{shown(line.strip())}' is not of the form 'id;label'")
        if match is not None:
            rows.append(Row(f"{file.path.name} row {number}", match[1], (match[2].strip(),)))
    spellings = [[f"{row.path}{suffix}" for suffix in _SUFFIXES] for row in rows]
    base, paths = place_videos(file.path, spellings, file.root, inside=_FOLDERS)
    beside = file.path.absolute().parent / _LABEL_FILE
    names = file.names or (read_class_names(beside) if beside.is_file() else packaged_names("jester"))
    return Listing([Row(row.where, path, row.labels) for row, path in zip(rows, paths, strict=True)], names, base)
