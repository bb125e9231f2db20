"""Lists of labelled videos: ``path label`` files and folders of class folders, checked before anything is decoded."""

import csv
import logging
import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from vidtok.config import DataConfig
from vidtok.data.labels import (
    Row,
    class_indices,
    did_you_mean,
    is_index,
    map_by_name,
    names_in,
    read_class_names,
    read_text,
)
from vidtok.errors import DataError

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ps", ".ts", ".mts", ".m2ts"}
    | {".wmv", ".flv", ".3gp", ".ogv", ".gif"}
)

_QUOTED = r'"(?:[^"]|"")+"'
_ROW_PATTERNS = {
    separator: re.compile(rf"({_QUOTED}|.+?){between}({_QUOTED}|{label}+)")
    for separator, between, label in (("\t", r"\s*\t\s*", r"[^\t]"), (",", r"\s*,\s*", "[^,]"), (" ", r"\s+", r"\S"))
}
_PATH_COLUMNS = ("path", "file", "filename", "video")
_LABEL_COLUMNS = ("label", "class")
_SPLIT_FOLDERS = frozenset({"train", "val", "test", "training", "validation"})
_SAMPLED_ROWS = 64
_VOTING_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Item:
    """One video and its class index; None where the class is not known."""

    path: str
    label: int | None


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
        return 1 + max((item.label for item in self.items if item.label is not None), default=-1)


def load_split(
    data: DataConfig,
    split: Literal["train", "val", "test"],
    *,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
) -> Manifest:
    """Load the list of a recipe's split; ``test`` is ``data.val`` when ``data.test`` is not set.

    ``class_names`` and ``num_classes`` are those of the training list or the checkpoint; see
    :func:`load_manifest`, also for what is raised.
    """
    key = "data.val" if split == "test" and data.test is None else f"data.{split}"
    source = getattr(data, key.removeprefix("data."))
    if source is None:
        raise DataError(f"{key} is not set; give a list of 'path label' lines or a folder of class folders")
    return load_manifest(
        source,
        root=data.root,
        classes=data.classes,
        max_missing=data.max_missing,
        class_names=class_names,
        num_classes=num_classes,
        key=key,
    )


def load_manifest(
    source: str | Path,
    *,
    root: str | Path | None = None,
    classes: str | Path | None = None,
    max_missing: float = 0.05,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    key: str = "data",
) -> Manifest:
    """Read a list of ``path label`` lines, or a folder that holds one folder of videos per class.

    Lists are UTF-8 with tabs, commas or spaces between fields. The right-most field is the label, a class
    index or name, so paths may hold separators; double quotes protect either field. A header line with
    columns ``path`` and ``label`` allows further columns. Blank lines and lines starting with # are skipped.
    Relative paths start at ``root``, else at the list's folder or the nearest folder above where the files are.

    Names of classes come from the file ``classes``, else ``classes.txt`` inside or beside the source, else
    the class folders or the labels themselves when all are names, in code point order.

    Args:
        source: list or folder.
        root: folder that relative paths of a list start from.
        classes: file with one class name a line.
        max_missing: share of the listed files that may be absent.
        class_names: names that decide the indices, of the training list or a checkpoint: the source's own
            names are mapped to them by name, its numbers are indices into them.
        num_classes: number of classes, where already known.
        key: the setting that holds the source, for messages.

    Raises:
        DataError: nothing there, a row that cannot be read, a wrong label, too many files missing.
    """
    path = Path(source)
    if not path.exists():
        raise DataError(
            f"{key}: '{source}' not found; write a list of 'path label' lines there, put a folder of class "
            f"folders there, or set {key}=PATH"
        )
    own_names = _named_classes(path, classes)
    if path.is_dir():
        rows, own_names = _read_folder(path, own_names, key)
    else:
        rows = _read_list(path, own_names or class_names or ())
        own_names = own_names or (names_in(rows) if class_names is None else None)
    if not rows:
        raise DataError(f"{key}: '{source}' lists no videos; write one 'path label' line per video")
    labels = _final_labels(rows, own_names, class_names, num_classes, source=str(source))
    base = path if path.is_dir() else _base_folder(path, rows, root)
    paths = [os.path.join(base, row.path) for row in rows]
    is_there = _existence_test()
    items = tuple(Item(file, label) for file, label in zip(paths, labels, strict=True) if is_there(file))
    missing = tuple(file for file in paths if not is_there(file))
    _check_missing(f"{key}: '{source}'", missing, len(rows), max_missing)
    names = own_names if class_names is None else class_names
    return Manifest(str(source), items, None if names is None else tuple(names), len(rows), missing)


# ----------------------------------------------------------------------------------- class names


def _named_classes(source: Path, classes: str | Path | None) -> tuple[str, ...] | None:
    """Names from the given file, else from ``classes.txt`` inside or beside the source, else None."""
    if classes is not None:
        if not Path(classes).is_file():
            raise DataError(f"data.classes: '{classes}' not found; write one class name a line there")
        return read_class_names(Path(classes))
    beside = (source / "classes.txt", source.absolute().parent / "classes.txt")
    return next((read_class_names(file) for file in beside if file.is_file() and file != source), None)


def _final_labels(
    rows: Sequence[Row],
    own_names: Sequence[str] | None,
    class_names: Sequence[str] | None,
    num_classes: int | None,
    *,
    source: str,
) -> list[int]:
    """Class indices of all rows, in the numbering of ``class_names`` where these are given."""
    names = own_names or class_names
    if class_names is None and names is not None and num_classes not in (None, len(names)):
        raise DataError(f"{source}: {len(names)} class names, but {num_classes} classes are expected")
    labels = class_indices(rows, names, num_classes=num_classes)
    if names is None and 0 not in labels:
        logger.warning("%s: no video has label 0; labels count from 0, are these 1-based?", source)
    if own_names is not None and class_names is not None:
        return map_by_name(labels, own_names, class_names, source=source)
    return labels


# ----------------------------------------------------------------------------------------- lists


def _read_list(path: Path, names: Collection[str]) -> list[Row]:
    """Rows of a list file in order. ``names`` are known class names; they help to find the separator."""
    lines = [(number, line.strip()) for number, line in enumerate(read_text(path).splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not lines:
        return []
    header = _header_columns(lines[0][1], where=f"{path.name} row {lines[0][0]}")
    if header is not None:
        return [_row_of_columns(path.name, number, line, *header) for number, line in lines[1:]]
    pattern = _ROW_PATTERNS[_vote_separator([line for _, line in lines[:_VOTING_ROWS]], names)]
    return [_row_of_pattern(path.name, number, line, pattern) for number, line in lines]


def _header_columns(line: str, *, where: str) -> tuple[str, int, int] | None:
    """(separator, path column, label column) of a header line; None when the line is an ordinary row."""
    for separator in _ROW_PATTERNS:
        columns = [column.strip(' "').lower() for column in line.split(separator)]
        if is_index(columns[-1]):
            continue  # a row: folders and files may be called path or class as well
        path = next((columns.index(name) for name in _PATH_COLUMNS if name in columns), None)
        label = next((columns.index(name) for name in _LABEL_COLUMNS if name in columns), None)
        if path is not None and label is not None:
            return separator, path, label
        if label == 0 and len(columns) > 2:
            raise DataError(f"{where}: columns {', '.join(columns)}; a list needs the columns path and label")
    return None


def _vote_separator(lines: Sequence[str], names: Collection[str]) -> str:
    """The separator that makes most right-most fields a number or known name; else the one in most lines."""

    def votes(separator: str) -> tuple[int, int]:
        matches = [match for match in map(_ROW_PATTERNS[separator].fullmatch, lines) if match]
        labels = [_unquote(match[2]) for match in matches]
        return sum(is_index(label) or label in names for label in labels), len(matches)

    return max(_ROW_PATTERNS, key=votes)


def _row_of_pattern(name: str, number: int, line: str, pattern: re.Pattern[str]) -> Row:
    match = pattern.fullmatch(line)
    if match is None:
        raise DataError(f"{name} row {number}: '{line}' is not of the form 'path label'")
    return Row(f"{name} row {number}", _unquote(match[1]), _unquote(match[2]))


def _row_of_columns(name: str, number: int, line: str, separator: str, path: int, label: int) -> Row:
    fields = [field.strip() for field in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]
    if len(fields) <= max(path, label) or not fields[path] or not fields[label]:
        raise DataError(f"{name} row {number}: '{line}' lacks the columns of the header")
    return Row(f"{name} row {number}", fields[path], fields[label])


def _unquote(field: str) -> str:
    is_quoted = len(field) > 1 and field[0] == field[-1] == '"'
    return field[1:-1].replace('""', '"') if is_quoted else field


# --------------------------------------------------------------------------------- class folders


def _read_folder(folder: Path, names: tuple[str, ...] | None, key: str) -> tuple[list[Row], tuple[str, ...]]:
    """Rows of a folder of class folders, labels as indices into the returned names.

    Raises:
        DataError: no class folders, folders of splits instead, a folder that ``names`` does not hold.
    """
    class_folders = [name for name in os.listdir(folder) if not name.startswith(".") and (folder / name).is_dir()]
    videos = {name: _videos_below(folder, name) for name in class_folders}
    found = sorted(name for name, files in videos.items() if files)
    if not found:
        raise DataError(f"{key}: '{folder}' holds no class folders with videos; expected {folder}/CLASS/VIDEO.mp4")
    if _SPLIT_FOLDERS.issuperset(map(str.lower, found)):
        raise DataError(f"{key}: '{folder}' holds splits, not classes; set {key}={folder / found[0]}")
    names = names or tuple(found)
    strange = next((name for name in found if name not in names), None)
    if strange is not None:
        hint = did_you_mean(strange, names)
        raise DataError(f"{key}: folder '{folder / strange}' is not one of the {len(names)} class names{hint}")
    index = {name: str(number) for number, name in enumerate(names)}
    return [Row(file, file, index[name]) for name in found for file in videos[name]], names


def _videos_below(folder: Path, name: str) -> list[str]:
    """Videos of one class folder and the folders inside it: sorted paths from ``folder``, hidden files left out."""
    found = []
    for parent, _, files in os.walk(folder / name, followlinks=True):
        inside = os.path.relpath(parent, folder)
        videos = (file for file in files if os.path.splitext(file)[1].lower() in VIDEO_SUFFIXES)
        found += [os.path.join(inside, file) for file in videos if not file.startswith(".")]
    return sorted(found)


# ----------------------------------------------------------------------------------------- files


def _base_folder(path: Path, rows: Sequence[Row], root: str | Path | None) -> Path:
    """The folder that relative paths start from: ``root``, else where most of a sample of them exist."""
    if root is not None:
        if not Path(root).is_dir():
            raise DataError(f"data.root: folder '{root}' not found")
        return Path(root)
    sample = [row.path for row in rows[:: max(1, len(rows) // _SAMPLED_ROWS)]]
    folders = path.absolute().parents  # nearest first, and max keeps the first of equals
    return max(folders, key=lambda folder: sum(os.path.exists(os.path.join(folder, file)) for file in sample))


def _existence_test() -> Callable[[str], bool]:
    """A test whether files exist that lists each folder once: a list may name 240,000 files on a slow disk."""

    @cache
    def names_in_folder(folder: str) -> frozenset[str]:
        try:
            return frozenset(os.listdir(folder))
        except OSError:
            return frozenset()

    return lambda file: os.path.basename(file) in names_in_folder(os.path.dirname(file)) or os.path.isfile(file)


def _check_missing(what: str, missing: Sequence[str], num_listed: int, max_missing: float) -> None:
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
