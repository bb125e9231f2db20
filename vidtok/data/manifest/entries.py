"""Rows of any list in one form: to compare lists, to divide them and to write them again."""

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidtok.data.labels import class_indices, names_in
from vidtok.data.manifest.items import Listing, segment_name
from vidtok.data.segment import Segment
from vidtok.errors import DataError

CLASSES_FILE = "classes.txt"

_SEGMENT_COLUMNS = {
    ("s", False): ("start", "end"),
    ("s", True): ("source_start", "source_end"),
    ("frames", False): ("start_frame", "end_frame"),
}
"""Columns of lists that we write, as :mod:`vidtok.data.manifest.columns` reads them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One video of a list."""

    path: str
    """From the list's base folder on, with forward slashes; absolute where the video lies elsewhere."""
    file: str
    """Where the video is on this machine."""
    labels: tuple[str, ...] | None
    """Class names where they are known, else indices; in rising order of index. None when not known."""
    group: str | None = None
    """Clips of one group belong in one split."""
    segment: Segment | None = None
    """The part of the video that is meant; None: all of it."""

    @property
    def name(self) -> str:
        """Names the entry: two parts of one video are two entries."""
        return segment_name(self.path, self.segment)

    @property
    def label_text(self) -> str:
        """The labels in one field of a list."""
        return ";".join(self.labels or ())


def class_names_of(listing: Listing) -> tuple[str, ...] | None:
    """Class names of a list, those that its labels imply included; None when only indices are known."""
    return listing.names or names_in(listing.rows)


def entries_of(listing: Listing, *, with_names: bool = True) -> list[Entry]:
    """The videos of a list; ``with_names=False`` gives class indices even where names are known.

    Raises:
        DataError: an unknown name or an index out of range.
    """
    names = class_names_of(listing)
    spelt = names if with_names else None
    return [
        Entry(
            _portable(row.path, listing.base),
            os.path.join(listing.base, row.path),
            None if indices is None else tuple(spelt[i] if spelt else str(i) for i in sorted(indices)),
            row.group,
            row.segment,
        )
        for row, indices in zip(listing.rows, class_indices(listing.rows, names), strict=True)
    ]


def written_path(entry: Entry, base: Path, out: Path) -> str:
    """How a list in the folder ``out`` names a video: from ``base`` on if readers look there, else in full."""
    is_found = base.absolute() in (out.absolute(), *out.absolute().parents)
    path = entry.path if is_found else Path(os.path.abspath(entry.file)).as_posix()
    return f"./{path}" if path.startswith("#") else path  # a line that starts with # would be a remark


def write_list(path: Path, entries: Iterable[Entry], base: Path) -> None:
    """Write a list with columns ``path`` and ``label``, and ``group`` and those of segments where there are any."""
    entries = list(entries)
    places = segment_columns(entries)
    rows = [
        {"path": written_path(entry, base, path.parent), "label": entry.label_text, "group": entry.group} | place
        for entry, place in zip(entries, places, strict=True)
    ]
    columns = ["path", "label", *(["group"] if any(entry.group is not None for entry in entries) else [])]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(
            stream, [*columns, *places[0]] if places else columns, "", "ignore", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)


def segment_columns(entries: Sequence[Entry]) -> list[dict[str, float | int | None]]:
    """For each entry the columns that say which part of its video is meant, the same of all; {} where none means one.

    Raises:
        DataError: some entries count seconds and others frames, or some may be cut already and others not.
    """
    kinds = {(one.segment.unit, one.segment.may_be_cut) for one in entries if one.segment is not None}
    if len(kinds) > 1:
        raise DataError("the list means parts of videos in seconds and in frames; write it with one of them")
    if not kinds:
        return [{} for _ in entries]
    names = _SEGMENT_COLUMNS[kinds.pop()]
    ends = ((None, None) if one.segment is None else (one.segment.start, one.segment.end) for one in entries)
    return [dict(zip(names, map(_whole, pair), strict=True)) for pair in ends]


def _whole(value: float | None) -> float | int | None:
    return int(value) if value is not None and value == int(value) else value


def write_class_names(folder: Path, names: Sequence[str]) -> None:
    """Write the class names beside lists, where readers look for them."""
    (folder / CLASSES_FILE).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _portable(path: str, base: Path) -> str:
    inside = os.path.relpath(path, base.absolute()) if os.path.isabs(path) else os.path.normpath(path)
    return Path(path if inside.startswith("..") else inside).as_posix()
