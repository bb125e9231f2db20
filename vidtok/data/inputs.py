"""From what a user names, files, folders, patterns, lists and standard input, to videos and parts of videos.

One set of rules for every command. A folder means the videos in it and in the folders inside it, by their endings;
hidden files and folders are left out, linked folders are followed, each once; what is named itself is taken, hidden or
not. A pattern means what it matches, as if each had been named. A list is a text file whose name ends like one.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from glob import glob

from vidtok.data.manifest import read_listing
from vidtok.data.manifest.files import checked_name, existence_test, videos_below
from vidtok.data.manifest.items import VIDEO_SUFFIXES, Item
from vidtok.errors import DataError

LIST_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".list", ".lst", ".json", ".jsonl"})
"""Endings of files that name videos; any other file is taken for a video."""

STANDARD_INPUT = "-"

_HEAD_BYTES = 4096
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def is_list(source: str) -> bool:
    """Whether a path is that of a list: its ending is a list's, and the file, if it is there, is text.

    A video is no text, whatever its name ends with.
    """
    if os.path.splitext(source)[1].lower() not in LIST_SUFFIXES or os.path.isdir(source):
        return False
    try:
        with open(source, "rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:
        return True
    return b"\0" not in head or head.startswith(_UTF_16)


def expand_inputs(
    sources: Iterable[str], lines: Iterable[str] | None = None, *, root: str | None = None
) -> Iterator[Item]:
    """Turn what the user named into videos, lazily; labels of lists are left out.

    Args:
        sources: videos, folders, patterns, lists, or ``-``.
        lines: what ``-`` stands for, a path a line; None: standard input.
        root: folder that the paths of lists are relative to; None: found beside the list.

    Raises:
        DataError: a list that cannot be read, a folder without videos, a pattern that nothing matches.
    """
    for source in sources:
        if source == STANDARD_INPUT:
            yield from (Item(line, None) for line in (standard_input() if lines is None else _stripped(lines)))
        elif any(sign in source for sign in "*?[") and not os.path.lexists(source):
            for path in _matches(source):
                yield from _expand(path, root)
        else:
            yield from _expand(source, root)


def find_items(sources: Iterable[str], *, root: str | None = None) -> tuple[list[Item], list[str]]:
    """As :func:`expand_inputs`, all at once.

    Returns:
        The items, each once, and those paths of lists where there is nothing.

    Raises:
        DataError: as :func:`expand_inputs`; a name that no list can hold.
    """
    items: dict[Item, None] = {}
    missing: dict[str, None] = {}
    is_there = existence_test()
    for source in sources:
        listed = is_list(source)
        for item in expand_inputs([source], root=root):
            if listed and not is_there(item.path):
                missing[item.path] = None
            else:
                checked_name(item.path)
                items[item] = None
    return list(items), list(missing)


def find_videos(sources: Sequence[str], *, root: str | None = None) -> tuple[list[str], list[str]]:
    """The paths of :func:`find_items`, each once: those of videos, and those where there is nothing."""
    items, missing = find_items(sources, root=root)
    return list(dict.fromkeys(item.path for item in items)), missing


def videos_in(folder: str) -> list[str]:
    """Paths of all videos in a folder and the folders inside it, sorted. Raises DataError when there are none."""
    if not os.path.isdir(folder):
        raise DataError(
            f"{folder}: no such folder; name a folder of videos, or a list that ends with .csv, .txt or .json"
        )
    found = sorted(os.path.join(folder, path) for path in videos_below(folder))
    if not found:
        raise DataError(f"{folder}: no video files in this folder; known endings: {' '.join(sorted(VIDEO_SUFFIXES))}")
    return found


def standard_input() -> Iterator[str]:
    """The lines of standard input that are not blank, each as soon as it is there, file names of any bytes.

    Raises:
        DataError: standard input is closed.
    """
    if sys.stdin is None:
        raise DataError("-: standard input is closed; write one path a line to it, or name the videos")
    buffer = getattr(sys.stdin, "buffer", None)
    yield from _stripped(sys.stdin if buffer is None else map(os.fsdecode, buffer))


def _stripped(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        path = line.rstrip("\r\n").removeprefix("" if number else "\ufeff")
        if path.strip():
            yield path


def _expand(path: str, root: str | None) -> Iterator[Item]:
    """The videos of one thing that is named."""
    if os.path.isdir(path):
        yield from (Item(video, None) for video in videos_in(path))
    elif is_list(path):
        listing = read_listing(path, root=root, key="list")
        yield from (Item(os.path.join(listing.base, row.path), None, row.segment) for row in listing.rows)
    else:
        yield Item(path, None)


def _matches(pattern: str) -> list[str]:
    paths = sorted(glob(pattern, recursive=True))
    if not paths:
        raise DataError(f"{pattern}: no file matches this pattern")
    return paths
