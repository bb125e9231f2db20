"""UCF101: the official ``trainlist01.txt`` and ``testlist01.txt``, with ``classInd.txt`` beside them.

Training lines are ``ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1``, test lines have no number. Numbers count from 1
and say what the folder says already, so that the class is the folder's name.
"""

import re

from vidtok.data.labels import NameIndex, Row, packaged_names, read_class_names, shown
from vidtok.data.manifest.files import place_videos
from vidtok.data.manifest.items import ListFile, Listing
from vidtok.errors import DataError

_LINE = re.compile(r"(([^/\s]+)/v_[^/\s]+_g\d+_c\d+\.\w+)(?:\s+(\d+))?", re.ASCII)
_CLASS_FILE = "classInd.txt"
_FOLDERS = ("", "UCF-101", "UCF101", "ucf101", "videos")


def is_ucf101(file: ListFile) -> bool:
    """True for a first line of an official list whose number, where there is one, counts classes from 1."""
    match = _LINE.fullmatch(file.first_line.strip())
    if match is None:
        return False
    return match[3] is None or NameIndex(_names(file)).find(match[2]) == int(match[3]) - 1


def read_ucf101(file: ListFile) -> Listing:
    """Rows of an official list; see the module. Raises DataError for a line of another form or a wrong number."""
    names = _names(file)
    index, rows = NameIndex(names), []
    for number, line in enumerate(file.text.split("\n"), 1):
        where, match = f"{file.path.name} row {number}", _LINE.fullmatch(line.strip())
        if match is None:
            if line.strip():
                raise DataError(
                    f"{where}: '{shown(line.strip())}' is not of the form 'Class/v_Class_g01_c01.avi [number]'"
                )
            continue
        if match[3] is not None and index.find(match[2]) != int(match[3]) - 1:
            raise DataError(
                f"{where}: '{match[2]}' is not class {match[3]} of the {len(names)} classes; correct the row"
            )
        rows.append(Row(where, match[1], (match[2],)))
    base, _ = place_videos(file.path, [[row.path] for row in rows], file.root, inside=_FOLDERS)
    return Listing(rows, names, base)


def _names(file: ListFile) -> tuple[str, ...]:
    beside = file.path.absolute().parent / _CLASS_FILE
    return file.names or (read_class_names(beside) if beside.is_file() else packaged_names("ucf101"))
