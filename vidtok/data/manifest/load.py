"""From a recipe's list to checked items."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vidtok.config import DataConfig
from vidtok.data.labels import (
    Row,
    class_indices,
    find_class_names,
    map_by_name,
    names_in,
    read_class_names,
    read_text,
)
from vidtok.data.manifest.files import check_missing, checked_name, existence_test
from vidtok.data.manifest.folders import read_folder
from vidtok.data.manifest.hmdb51 import is_hmdb51_folder, read_hmdb51
from vidtok.data.manifest.items import Item, ListFile, Listing, Manifest
from vidtok.data.manifest.readers import read_list_file
from vidtok.data.manifest.repeats import warn_of_repeats
from vidtok.data.manifest.splits import rows_of_split
from vidtok.errors import DataError

logger = logging.getLogger(__name__)


def load_split(
    data: DataConfig,
    split: Literal["train", "val", "test"],
    *,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
) -> Manifest:
    """Load the list of a recipe's split; ``test`` is ``data.val`` when ``data.test`` is not set.

    ``class_names`` and ``num_classes`` are those of the training list or the checkpoint; see
    :func:`load_manifest`, also for what is raised. Only test lists may lack labels.
    """
    key = "data.val" if split == "test" and data.test is None else f"data.{split}"
    source = getattr(data, key.removeprefix("data."))
    if source is None:
        raise DataError(f"{key} is not set; give a list of 'path label' lines or a folder of class folders")
    manifest = load_manifest(
        source,
        root=data.root,
        classes=data.classes,
        max_missing=data.max_missing,
        multi_label=data.multi_label,
        label=data.label,
        class_names=class_names,
        num_classes=num_classes,
        split=key.removeprefix("data."),
        key=key,
    )
    unlabelled = next((item for item in manifest.items if item.label is None), None)
    if split != "test" and unlabelled is not None:
        raise DataError(f"{key}: '{source}' gives no label for '{unlabelled.path}'; only data.test may lack labels")
    return manifest


def load_manifest(
    source: str | Path,
    *,
    root: str | Path | None = None,
    classes: str | Path | None = None,
    max_missing: float = 0.05,
    multi_label: bool = False,
    label: str | None = None,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    split: str | None = None,
    key: str = "data",
) -> Manifest:
    """Read a list of videos and check that its labels make sense and its files exist.

    The kinds of list are those of :func:`read_listing`.

    Args:
        source: list or folder.
        root: folder that relative paths of a list start from.
        classes: file with one class name a line, or the name of a standard list.
        max_missing: share of the listed files that may be absent.
        multi_label: clips have any number of labels; items carry tuples.
        label: which label is the class, where a list has several: ``verb`` or ``noun``.
        class_names: names that decide the indices, of the training list or a checkpoint: the source's own
            names are mapped to them by name, its numbers are indices into them.
        num_classes: number of classes, where already known.
        split: train, val or test: where a column ``split`` holds several, only its rows are read; None: all rows.
        key: the setting that holds the source, for messages.

    Raises:
        DataError: nothing there, a row that cannot be read, a wrong label, too many files missing.
    """
    listing = read_listing(
        source, root=root, classes=classes, multi_label=multi_label, label=label, known_names=class_names or (), key=key
    )
    own_names = listing.names or (names_in(listing.rows) if class_names is None else None)
    rows = listing.rows if split is None else rows_of_split(listing.rows, split, f"{key}: '{source}'")
    labels = _final_labels(rows, own_names, class_names, num_classes, source=str(source))
    if not multi_label:
        _check_single(rows, labels)
    is_there, base = existence_test(), os.fspath(listing.base)
    items: list[Item] = []
    missing: list[str] = []
    for row, indices in zip(rows, labels, strict=True):
        file = os.path.join(base, row.path)
        if is_there(file):
            items.append(Item(file, indices if multi_label else indices and indices[0], row.segment))
        else:
            missing.append(file)
    check_missing(f"{key}: '{source}'", missing, len(rows), max_missing)
    warn_of_repeats(items, f"{key}: '{source}'")
    names = own_names if class_names is None else class_names
    return Manifest(str(source), tuple(items), None if names is None else tuple(names), len(rows), tuple(missing))


def read_listing(
    source: str | Path,
    *,
    root: str | Path | None = None,
    classes: str | Path | None = None,
    multi_label: bool = False,
    label: str | None = None,
    known_names: Sequence[str] = (),
    key: str = "data",
) -> Listing:
    """Read a list as it is written, or a folder that holds one folder of videos per class.

    Lists are UTF-8: ``path label`` lines, see :mod:`vidtok.data.manifest.lists`; tables with a line of column names,
    see :mod:`vidtok.data.manifest.columns`; ``.jsonl`` and ``.json`` objects with the same keys; and the official lists
    among :data:`vidtok.data.manifest.readers.READERS`.
    Relative paths start at ``root``, else at the list's folder or the nearest folder above where the files are.

    Names of classes come from ``classes``, else ``classes.txt`` inside or beside the source, else the standard list
    of an official source or the class folders.

    Args:
        known_names: class names that may stand for labels, of the training list or a checkpoint.
        source, root, classes, multi_label, label, key: as in :func:`load_manifest`.

    Raises:
        DataError: nothing there, or something that cannot be read.
    """
    path = Path(source)
    if not path.exists():
        remedy = f"set {key}=PATH" if key.startswith("data.") else "correct the path"
        raise DataError(
            f"{key}: '{source}' not found; write a list of 'path label' lines there, put a folder of class folders "
            f"there, or {remedy}"
        )
    names = _named_classes(path, classes)
    if path.is_dir() and is_hmdb51_folder(path):
        return read_hmdb51(ListFile(path, "", names, known_names, root))
    if path.is_dir():
        return read_folder(path, names, key)
    file = ListFile(path, read_text(path), names, known_names, root, multi_label, label)
    listing = read_list_file(file)
    for row in listing.rows:
        checked_name(row.path, row.where)
    if not listing.rows:
        raise DataError(f"{key}: '{source}' lists no videos; write one 'path label' line per video")
    return listing


def _named_classes(source: Path, classes: str | Path | None) -> tuple[str, ...] | None:
    """Names from ``data.classes``, else from ``classes.txt`` inside or beside the source, else None."""
    if classes is not None:
        return find_class_names(classes)
    beside = (source / "classes.txt", source.absolute().parent / "classes.txt")
    return next((read_class_names(file) for file in beside if file.is_file() and file != source), None)


def _final_labels(
    rows: Sequence[Row],
    own_names: Sequence[str] | None,
    class_names: Sequence[str] | None,
    num_classes: int | None,
    *,
    source: str,
) -> list[tuple[int, ...] | None]:
    """Class indices of all rows, in the numbering of ``class_names`` where these are given."""
    names = own_names or class_names
    if class_names is None and names is not None and num_classes not in (None, len(names)):
        raise DataError(f"{source}: {len(names)} class names, but {num_classes} classes are expected")
    labels = class_indices(rows, names, num_classes=num_classes)
    used = {index for indices in labels for index in indices or ()}
    if names is None and used and 0 not in used:
        logger.warning("%s: no video has label 0; labels count from 0, are these 1-based?", source)
    if own_names is not None and class_names is not None:
        return map_by_name(labels, own_names, class_names, source=source)
    return labels


def _check_single(rows: Sequence[Row], labels: Sequence[tuple[int, ...] | None]) -> None:
    """Raise DataError when a row does not have one label."""
    for row, indices in zip(rows, labels, strict=True):
        if indices is not None and len(indices) != 1:
            raise DataError(
                f"{row.where}: {len(indices)} labels, but a clip has one; set data.multi_label=true for any number"
            )
