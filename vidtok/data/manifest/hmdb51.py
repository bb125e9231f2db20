"""HMDB51: the folder of official splits, which has a file ``CLASS_test_split1.txt`` for each class and split.

Their lines are ``VIDEO.avi 1``: 1 is a training video of the split, 2 a test video, 0 is in neither. The folder stands
for split 1, and any of its files for all classes of that file's split; which videos are meant is said by the setting:
``data.train`` takes those for training, ``data.val`` and ``data.test`` those for testing.
"""

import logging
import re
from dataclasses import replace
from pathlib import Path

from vidtok.data.labels import Row, read_text
from vidtok.data.manifest.files import place_videos
from vidtok.data.manifest.items import ListFile, Listing
from vidtok.errors import DataError

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(.+)_test_split([123])\.txt")
_LINE = re.compile(r"(\S.*?\.\w+)\s+([012])", re.ASCII)
_FOLDERS = ("", "hmdb51_org", "hmdb51", "HMDB51", "videos")
_PARTS = {"train": ("1",), "test": ("2",), None: ("1", "2")}


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
    rows = [
        row
        for path in sorted(folder.glob(f"*_test_split{split}.txt"))
        for row, part in _rows(path, path.name.removesuffix(f"_test_split{split}.txt"))
        if part in _PARTS[file.part]
    ]
    what = {"train": "training ", "test": "test ", None: ""}[file.part]
    logger.info("%s: HMDB51, split %s, %d %svideos", file.path, split, len(rows), what)
    spellings = [[f"{row.labels[0]}/{row.path}", row.path] for row in rows if row.labels]
    base, paths = place_videos(folder, spellings, file.root, inside=_FOLDERS)
    names = file.names or tuple(sorted({label for row in rows for label in row.labels or ()}))
    return Listing([replace(row, path=path) for row, path in zip(rows, paths, strict=True)], names, base)


def _rows(path: Path, label: str) -> list[tuple[Row, str]]:
    """Rows of one class, and what each of them is for."""
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        match = _LINE.fullmatch(line.strip())
        if match is None and line.strip():
            raise DataError(
                f"{path.name} row {number}: '{line.strip()[:100]}' is not of the form 'VIDEO.avi 0', 1 or 2"
            )
        if match is not None:
            rows.append((Row(f"{path.name} row {number}", match[1], (label,)), match[2]))
    return rows
