"""Where the files of a list are, without asking for each of 240,000 files on a slow disk."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

from vidtok.data.manifest.items import VIDEO_SUFFIXES
from vidtok.errors import DataError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SAMPLED_ROWS = 64


def is_video(name: str) -> bool:
    """True for the name of a video file that is not hidden."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES and not name.startswith(".")


def sample(paths: Sequence[T]) -> Sequence[T]:
    """At most about 64 of the paths, evenly spread."""
    return paths[:: max(1, len(paths) // _SAMPLED_ROWS)]


def check_root(root: str | Path) -> Path:
    """The folder ``data.root``. Raises DataError when it is not there."""
    if not Path(root).is_dir():
        raise DataError(f"data.root: folder '{root}' not found")
    return Path(root)


def base_folder(path: Path, files: Sequence[str], root: str | Path | None) -> Path:
    """The folder that relative paths of a list start from: ``root``, else where most of a sample of them exist."""
    if root is not None:
        return check_root(root)
    sampled = sample(files)
    folders = path.absolute().parents  # nearest first, and max keeps the first of equals
    return max(folders, key=lambda folder: sum(os.path.exists(os.path.join(folder, file)) for file in sampled))


def place_videos(
    path: Path, spellings: Sequence[Sequence[str]], root: str | Path | None, *, inside: Sequence[str]
) -> tuple[Path, list[str]]:
    """Where the videos of an official list are: the folder in which most of a sample exist, and paths in it.

    Args:
        path: the list, or the folder of lists.
        spellings: for each video the paths that it may have, as file or folder of frames, the usual one first. The
            first that exists is taken, the first of all where none does.
        root: the folder, or the one above it; None: found from the list's folder upwards, the nearest of equals.
        inside: names that the folder has where the data set is unpacked; an empty one is the folder itself.

    Raises:
        DataError: ``root`` is not there.
    """
    above = [check_root(root)] if root is not None else list((path.absolute() / "x").parents)
    folders = [folder / name for folder in above for name in inside if (folder / name).is_dir()]
    sampled = sample(spellings)

    def hits(folder: Path) -> int:
        return sum(any((folder / name).exists() for name in names) for names in sampled)

    base = max(folders, key=hits)
    is_there = existence_test()
    return base, [next((name for name in names if is_there(os.path.join(base, name))), names[0]) for names in spellings]


def videos_below(folder: str | Path) -> Iterator[str]:
    """Paths of videos in a folder and the folders inside it, from the folder on; hidden files are left out.

    Raises:
        DataError: see :func:`check_name`.
    """
    for parent, _, names in os.walk(folder, followlinks=True):
        inside = os.path.relpath(parent, folder)
        for name in filter(is_video, names):
            path = os.path.normpath(os.path.join(inside, name))
            check_name(path)
            yield path


def check_name(path: str) -> None:
    """Raise DataError for a path that no list can hold: not UTF-8, or of several lines."""
    is_text = path.isascii() or path.encode("utf-8", "replace").decode("utf-8") == path
    if "\n" in path or "\r" in path or not is_text:
        raise DataError(f"{path!a}: a list cannot hold this name, which is not UTF-8 or has several lines; rename it")


def existence_test() -> Callable[[str], bool]:
    """A test whether files exist that lists each folder once."""

    @cache
    def names_in_folder(folder: str) -> frozenset[str]:
        try:
            return frozenset(os.listdir(folder))
        except OSError:
            return frozenset()

    return lambda file: os.path.basename(file) in names_in_folder(os.path.dirname(file)) or os.path.exists(file)


def check_missing(what: str, missing: Sequence[str], num_listed: int, max_missing: float) -> None:
    """Warn about missing files.

    Raises:
        DataError: all files are missing, or a larger share than ``max_missing``.
    """
    if len(missing) == num_listed:
        raise DataError(
            f"{what}: none of the {num_listed} listed videos exists, for example '{missing[0]}'; "
            "put them there or set data.root=FOLDER"
        )
    if len(missing) > max_missing * num_listed:
        raise DataError(
            f"{what}: {len(missing)} of {num_listed} listed videos are missing, for example '{missing[0]}'; "
            f"data.max_missing allows a share of {max_missing:g}: find them, correct data.root or raise it"
        )
    if missing:
        logger.warning("%s: %d of %d listed videos are missing", what, len(missing), num_listed)
