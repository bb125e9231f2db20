"""Diving48: ``Diving48_V2_train.json``, objects of vid_name, label, start_frame and end_frame, over trimmed mp4 files.

The files are the dives themselves, so that the frames, which all start at 0, say nothing more.
"""

from typing import Any

from vidtok.data.labels import Row, parse_json, read_text
from vidtok.data.manifest.files import place_videos
from vidtok.data.manifest.items import ListFile, Listing
from vidtok.data.segment import Segment
from vidtok.errors import DataError

_KEYS = {"vid_name", "label"}
_VOCABULARY = "Diving48_vocab.json"
_FOLDERS = ("", "rgb", "videos", "rawframes")
_SUFFIXES = (".mp4", ".avi", "")


def is_diving48(file: ListFile) -> bool:
    """True for the content of an official list."""
    content = file.content
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict) and _KEYS.issubset(content[0])


def read_diving48(file: ListFile) -> Listing:
    """Rows of an official list; see the module. Raises DataError for an entry of another form.

    Names are those of ``Diving48_vocab.json`` beside it, where it is: take-off, somersaults, twists and position.
    """
    rows = [_row(f"{file.path.name} entry {number}", entry) for number, entry in enumerate(file.content, 1)]
    spellings = [[f"{row.path}{suffix}" for suffix in _SUFFIXES] for row in rows]
    base, paths = place_videos(file.path, spellings, file.root, inside=_FOLDERS)
    rows = [Row(row.where, path, row.labels, segment=row.segment) for row, path in zip(rows, paths, strict=True)]
    return Listing(rows, file.names or _names(file), base)


def _row(where: str, entry: Any) -> Row:
    name, label, start = (
        entry.get(key) if isinstance(entry, dict) else None for key in ("vid_name", "label", "start_frame")
    )
    if not isinstance(name, str) or type(label) is not int or type(start) not in (int, type(None)):
        raise DataError(
            f"{where} is not of the form {{'vid_name': ..., 'label': 0, 'start_frame': 0, 'end_frame': 99}}"
        )
    segment = Segment(start, entry.get("end_frame"), "frames") if start else None
    return Row(where, name, (str(label),), segment=segment)


def _names(file: ListFile) -> tuple[str, ...] | None:
    beside = file.path.absolute().parent / _VOCABULARY
    if not beside.is_file():
        return None
    content = parse_json(read_text(beside), str(beside))
    if not isinstance(content, list) or not all(isinstance(words, list) for words in content):
        raise DataError(f"{beside} is not a list of lists of words, such as ['Back', '15som', '05Twis', 'FREE']")
    return tuple(" ".join(map(str, words)) for words in content)
