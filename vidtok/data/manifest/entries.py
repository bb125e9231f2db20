"""Rows of any list in one form: to compare lists, to divide them and to write them again."""

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidtok.data.labels import class_indices, names_in
from vidtok.data.manifest.items import Listing

CLASSES_FILE = "classes.txt"


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
        )
        for row, indices in zip(listing.rows, class_indices(listing.rows, names), strict=True)
    ]


def written_path(entry: Entry, base: Path, out: Path) -> str:
    """How a list in the folder ``out`` names a video: from ``base`` on if readers look there, else in full."""
    is_found = base.absolute() in (out.absolute(), *out.absolute().parents)
    path = entry.path if is_found else Path(os.path.abspath(entry.file)).as_posix()
    return f"./{path}" if path.startswith("#") else path  # a line that starts with # would be a remark


def write_list(path: Path, entries: Iterable[Entry], base: Path) -> None:
    """Write a list with columns ``path`` and ``label``, and ``group`` where there is one."""
    entries = list(entries)
    has_groups = any(entry.group is not None for entry in entries)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("path", "label", "group") if has_groups else ("path", "label"))
        for entry in entries:
            row = written_path(entry, base, path.parent), entry.label_text
            writer.writerow((*row, entry.group) if has_groups else row)


def write_class_names(folder: Path, names: Sequence[str]) -> None:
    """Write the class names beside lists, where readers look for them."""
    (folder / CLASSES_FILE).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _portable(path: str, base: Path) -> str:
    inside = os.path.relpath(path, base.absolute()) if os.path.isabs(path) else os.path.normpath(path)
    return Path(path if inside.startswith("..") else inside).as_posix()
