"""What a list of videos becomes: the file, rows as written, then items whose files exist."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vidtok.data.labels import Row, parse_json
from vidtok.data.segment import Segment

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ps", ".ts", ".mts", ".m2ts"}
    | {".wmv", ".flv", ".3gp", ".ogv", ".gif"}
)


@dataclass(frozen=True)
class ListFile:
    """A list as a file, and what is set for reading it."""

    path: Path
    text: str
    names: tuple[str, ...] | None = None
    """Class names that are given for it, or lie beside it."""
    known_names: Sequence[str] = ()
    """Class names that may stand for labels, of the training list or a checkpoint."""
    root: str | Path | None = None
    """Folder that holds the videos, where it is set."""
    multi_label: bool = False
    label: str | None = None
    """Which label is meant, where a list has several: ``verb`` or ``noun``."""

    @cached_property
    def first_line(self) -> str:
        """The first line that is not blank."""
        return self.text.lstrip().partition("\n")[0]

    @cached_property
    def content(self) -> Any:
        """What a ``.json`` file holds, None of another file. Raises DataError."""
        return parse_json(self.text, str(self.path)) if self.path.suffix.lower() == ".json" else None


@dataclass(frozen=True, slots=True)
class Item:
    """One video, or a folder of its frames, and its class."""

    path: str
    label: int | tuple[int, ...] | None
    """Class index; all indices of a multi-label clip, which may be none; None where it is not known."""
    segment: Segment | None = None
    """The part of the video that is meant; None: all of it."""

    @property
    def name(self) -> str:
        """Names the item in messages and tables: two parts of one video are two items."""
        return segment_name(self.path, self.segment)


def segment_name(path: str, segment: Segment | None) -> str:
    """A path, with the part that is meant of it: ``long.mp4 [4-8 s]``."""
    return path if segment is None else f"{path} [{segment}]"


@dataclass(frozen=True, slots=True)
class Listing:
    """A list as it is written; nothing says that its files exist."""

    rows: Sequence[Row]
    names: tuple[str, ...] | None
    """Class names in index order that come with the list; None when only indices are known."""
    base: Path
    """Folder that relative paths of the rows start from."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The videos of one split."""

    source: str
    """List or folder they come from, as the user wrote it."""
    items: tuple[Item, ...]
    """Those whose file exists, in the order of the list."""
    class_names: tuple[str, ...] | None
    """In index order; None when only indices are known."""
    num_listed: int
    """Entries of the list, missing files included."""
    missing: tuple[str, ...] = ()
    """Paths of listed files that do not exist."""

    @property
    def num_classes(self) -> int:
        """Number of class names, else one more than the largest label."""
        if self.class_names is not None:
            return len(self.class_names)
        labels = (item.label if isinstance(item.label, tuple) else (item.label,) for item in self.items)
        return 1 + max((label for several in labels for label in several if label is not None), default=-1)
