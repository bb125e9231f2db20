"""Something-Something-V2: the official json lists, ``labels.json`` and a folder of webm files named by id."""

import re
from collections.abc import Sequence
from pathlib import Path

from vidtok.data.labels import Row, packaged_names, read_class_names
from vidtok.data.manifest.files import place_videos
from vidtok.data.manifest.items import ListFile, Listing
from vidtok.errors import DataError

_LABEL_FILES = ("labels.json", "something-something-v2-labels.json")
_VIDEO_FOLDERS = ("", "20bn-something-something-v2", "videos")
_SUFFIXES = (".webm", ".mp4", "")
_ANSWER = re.compile(r"(\d+);(.+)")


def is_ssv2(file: ListFile) -> bool:
    """True for train.json, validation.json and test.json: objects with an id, which may have a template."""
    first = file.content[0] if isinstance(file.content, list) and file.content else None
    return isinstance(first, dict) and "id" in first and ("template" in first or first.keys() == {"id"})


def is_ssv2_answers(file: ListFile) -> bool:
    """True for ``test-answers.csv``, whose lines are ``1420;Throwing something``."""
    return file.content is None and _ANSWER.fullmatch(file.first_line.strip()) is not None


def read_ssv2(file: ListFile) -> Listing:
    """Rows of a json list. The class is the template without brackets; test.json has none.

    Class names that are not given are those of labels.json beside the list, else the standard ones. The root holds
    ``ID.webm`` or ``ID.mp4`` files or folders ``ID`` of frames, or is the folder above; where it is not set, it is
    found from the list's folder upwards.

    Raises:
        DataError: an entry without id, or the root is not there.
    """
    found: list[tuple[str, str, str | None]] = []
    for number, entry in enumerate(file.content, 1):
        where = f"{file.path.name} entry {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str | int):
            raise DataError(f"{where} has no id; expected {{'id': '78687', 'template': 'Holding [something]', ...}}")
        template = entry.get("template")
        if not isinstance(template, str | None):
            raise DataError(f"{where}: template {template!r} is no text; correct the entry")
        found.append((where, str(entry["id"]), None if template is None else re.sub(r"[\[\]]", "", template)))
    return _listing(file, found)


def read_ssv2_answers(file: ListFile) -> Listing:
    """Rows of ``test-answers.csv``; see :func:`read_ssv2`."""
    found = []
    for number, line in enumerate(file.text.split("\n"), 1):
        match = _ANSWER.fullmatch(line.strip())
        if match is None and line.strip():
            raise DataError(f"{file.path.name} row {number}: '{line}' is not of the form 'id;template'")
        if match is not None:
            found.append((f"{file.path.name} row {number}", match[1], match[2]))
    return _listing(file, found)


def _listing(file: ListFile, found: Sequence[tuple[str, str, str | None]]) -> Listing:
    """Rows from (where, id, class name)."""
    spellings = [[f"{video_id}{suffix}" for suffix in _SUFFIXES] for _, video_id, _ in found]
    base, paths = place_videos(file.path, spellings, file.root, inside=_VIDEO_FOLDERS)
    rows = [
        Row(where, path, None if label is None else (label,))
        for (where, _, label), path in zip(found, paths, strict=True)
    ]
    return Listing(rows, file.names or _names_beside(file.path), base)


def _names_beside(path: Path) -> tuple[str, ...]:
    files = (path.absolute().parent / name for name in _LABEL_FILES)
    return next((read_class_names(file) for file in files if file.is_file()), packaged_names("ssv2"))
