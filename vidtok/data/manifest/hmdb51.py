"""HMDB51: the folder of official splits, which has a file ``CLASS_test_split1.txt`` for each class and split.

Their lines are ``VIDEO.avi 1``: 1 is a training video of the split, 2 a test video, 0 is in neither. The folder stands
for split 1, and any of its files for all classes of that file's split; ``data.train`` takes the videos for training,
``data.val`` and ``data.test`` those for testing.
"""

import logging
import re
from dataclasses import replace
from pathlib import Path

from vidtok.data.labels import Row, read_text, shown
from vidtok.data.manifest.files import place_videos
from vidtok.data.manifest.items import ListFile, Listing
from vidtok.errors import DataError

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(.+)_test_split([123])\.txt")
_LINE = re.compile(r"(\S.*?\.\w+)\s+([012])", re.ASCII)
_FOLDERS = ("", "hmdb51_org", "hmdb51", "HMDB51", "videos")
_PARTS = {"1": "train", "2": "test"}


def is_hmdb51(file: ListFile) -> bool:
    """True for one of the files, by its name and first line."""
    return _NAME.fullmatch(file.path.name) is not None and _LINE.fullmatch(file.first_line.strip()) is not None


def is_hmdb51_folder(folder: Path) -> bool:
    """True for the folder of splits."""
    return any(_NAME.fullmatch(path.name) for path in folder.glob("*_test_split1.txt"))


def read_hmdb51(file: ListFile) -> Listing:
    """Rows of all classes of a split; see the module. Raises DataError for a line of another form."""
    match = _NAME.fullmatch(file.path.name)
    folder, split = (file.path.parent, match[2]) if match else (file.path, "1")
    files = sorted(folder.glob(f"*_test_split{split}.txt"))
    rows = [row for path in files for row in _rows(path, path.name.removesuffix(f"_test_split{split}.txt"))]
    logger.info("%s: HMDB51, split %s, %d classes", file.path, split, len(files))
    spellings = [[f"{row.labels[0]}/{row.path}", row.path] for row in rows if row.labels]
    base, paths = place_videos(folder, spellings, file.root, inside=_FOLDERS)
    names = file.names or tuple(sorted({label for row in rows for label in row.labels or ()}))
    return Listing([replace(row, path=path) for row, path in zip(rows, paths, strict=True)], names, base)


def _rows(path: Path, label: str) -> list[Row]:
    """The videos of one class that are in the split."""
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        where, match = f"{path.name} row {number}", _LINE.fullmatch(line.strip())
        if match is None and line.strip():
            raise DataError(f"{where}: '{shown(line.strip())}' is not of the form 'VIDEO.avi 0', 1 or 2")
        if match is not None and match[2] in _PARTS:
            rows.append(Row(where, match[1], (label,), split=_PARTS[match[2]]))
    return rows
