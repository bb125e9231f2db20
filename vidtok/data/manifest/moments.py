"""Moments in Time: ``trainingSet.csv`` and ``validationSet.csv``, lines ``class/video.mp4,class,votes for,against``."""

import csv
import re

from vidtok.data.labels import Row, read_text, shown
from vidtok.data.manifest.files import place_videos
from vidtok.data.manifest.items import ListFile, Listing
from vidtok.errors import DataError

_LINE = re.compile(r"([^,/]+)/[^,]+\.\w+,\1(?:,\d+){1,2}", re.ASCII)
_CATEGORIES = "moments_categories.txt"
_FOLDERS = ("", "training", "validation", "videos")


def is_moments(file: ListFile) -> bool:
    """True for a first line of an official list."""
    return _LINE.fullmatch(file.first_line.strip()) is not None


def read_moments(file: ListFile) -> Listing:
    """Rows of an official list; see the module. Raises DataError for a row of another form.

    Classes are numbered as in ``moments_categories.txt`` beside it, else in the order of their names.
    """
    rows = []
    for number, fields in enumerate(csv.reader(file.text.split("\n")), 1):
        if fields and len(fields) < 2:
            raise DataError(
                f"{file.path.name} row {number}: '{shown(fields[0])}' is not of the form 'path,label,votes'"
            )
        if fields:
            rows.append(Row(f"{file.path.name} row {number}", fields[0], (fields[1],)))
    # the folder of a split is tried before those of others, in which a file may have the same name
    folder = "training" if "train" in file.path.name.lower() else "validation"
    inside = ("", folder, *(name for name in _FOLDERS if name not in ("", folder)))
    base, _ = place_videos(file.path, [[row.path] for row in rows], file.root, inside=inside)
    return Listing(rows, file.names or _names(file, rows), base)


def _names(file: ListFile, rows: list[Row]) -> tuple[str, ...]:
    beside = file.path.absolute().parent / _CATEGORIES
    if not beside.is_file():
        return tuple(sorted({label for row in rows for label in row.labels or ()}))
    lines = [line.strip().rpartition(",") for line in read_text(beside).split("\n") if line.strip()]
    numbers = [number for _, _, number in lines]
    if sorted(numbers, key=lambda text: (len(text), text)) != [str(number) for number in range(len(lines))]:
        raise DataError(f"{beside}: lines are 'class,number' with every number from 0 once; take the official file")
    return tuple(name for name, _, _ in sorted(lines, key=lambda line: int(line[2])))
