"""From what a user names, lists, folders and files, to the paths of videos."""

import os
from collections.abc import Sequence
from pathlib import Path

from vidtok.data.manifest import read_listing
from vidtok.data.manifest.files import check_name, existence_test, videos_below
from vidtok.data.manifest.items import VIDEO_SUFFIXES
from vidtok.errors import DataError

LIST_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".list", ".lst", ".json", ".jsonl"})
"""Endings of files that name videos; any other file is taken for a video."""


def is_list(source: str) -> bool:
    """Whether a path is that of a list."""
    return Path(source).suffix.lower() in LIST_SUFFIXES and not os.path.isdir(source)


def find_videos(sources: Sequence[str], *, root: str | None = None) -> tuple[list[str], list[str]]:
    """The videos of lists, folders (with all below them) and files, in order and each once.

    Args:
        sources: what the user named.
        root: folder that the paths of lists are relative to; None: found beside the list.

    Returns:
        Paths of videos, and those paths of lists where there is nothing.

    Raises:
        DataError: a list that cannot be read, a folder without videos, a name that no list can hold.
    """
    paths: dict[str, None] = {}
    missing: dict[str, None] = {}
    is_there = existence_test()
    for source in sources:
        if is_list(source):
            listing = read_listing(source, root=root, key="list")
            for path in (os.path.join(listing.base, row.path) for row in listing.rows):
                (paths if is_there(path) else missing)[path] = None
        else:
            check_name(source)
            paths |= dict.fromkeys(videos_in(source) if os.path.isdir(source) else (source,))
    return list(paths), list(missing)


def videos_in(folder: str) -> list[str]:
    """Sorted paths of all videos in a folder and the folders inside it. Raises DataError when there are none."""
    if not os.path.isdir(folder):
        raise DataError(
            f"{folder}: no such folder; name a folder of videos, or a list that ends with .csv, .txt or .json"
        )
    found = sorted(os.path.join(folder, path) for path in videos_below(folder))
    if not found:
        raise DataError(f"{folder}: no video files in this folder; known endings: {' '.join(sorted(VIDEO_SUFFIXES))}")
    return found
