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
_LONGEST_PATH = 4096


def is_video(name: str) -> bool:
    """True for the name of a video file that is not hidden."""
    return f".{name.rpartition('.')[2].lower()}" in VIDEO_SUFFIXES and not name.startswith(".")


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
    """Paths of videos in a folder and the folders inside it, from the folder on, in code point order of each folder.

    Hidden files and folders are left out, linked folders are followed, each folder once. A folder inside that cannot
    be read is said.
    """
    seen = {os.path.realpath(folder)}

    def is_new(place: str) -> bool:
        count = len(seen)
        seen.add(os.path.realpath(place))
        return len(seen) > count

    def complain(error: OSError) -> None:
        logger.warning("%s: this folder is left out, it cannot be read (%s)", error.filename, error.strerror)

    for parent, folders, names in os.walk(folder, followlinks=True, onerror=complain):
        shown = (name for name in sorted(folders) if not name.startswith("."))
        folders[:] = [name for name in shown if is_new(os.path.join(parent, name))]
        inside = os.path.relpath(parent, folder)
        for name in sorted(filter(is_video, names)):
            yield os.path.normpath(os.path.join(inside, name))


def checked_name(path: str, where: str = "") -> str:
    """The path, when a list can hold it. Raises DataError: not UTF-8, of several lines, too long, with a NUL byte."""
    is_text = path.isascii() or path.encode("utf-8", "replace").decode("utf-8") == path
    if not is_text or "\n" in path or "\r" in path or "\0" in path or len(path) > _LONGEST_PATH:
        text = ascii(path if len(path) < _LONGEST_PATH else f"{path[:60]}...")
        raise DataError(
            f"{where and where + ': '}{text}: a list cannot hold this name, which is not UTF-8, has several lines or "
            f"NUL bytes, or is longer than {_LONGEST_PATH} characters; rename it"
        )
    return path


def existence_test() -> Callable[[str], bool]:
    """A test whether files exist that lists each folder once."""

    @cache
    def names_in_folder(folder: str) -> frozenset[str]:
        try:
            return frozenset(os.listdir(folder))
        except OSError:
            return frozenset()

    def is_there(file: str) -> bool:
        folder, slash, name = file.rpartition("/")
        return name in names_in_folder(folder or slash or os.curdir) or os.path.exists(file)

    return is_there


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
