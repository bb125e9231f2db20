"""Parts of a data set as lists and folders name them: training, validation and test."""

import logging
import re
from collections.abc import Sequence

from vidtok.data.labels import Row, shown
from vidtok.errors import DataError

logger = logging.getLogger(__name__)

_SPELLINGS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validate", "validation", "dev"),
    "test": ("test", "testing"),
}
_SPLIT_OF = {spelling: split for split, spellings in _SPELLINGS.items() for spelling in spellings}
_FOLDER = re.compile(rf"(?:\w+[_-])?({'|'.join(_SPLIT_OF)})(?:[_-]?(?:\d+\w*|videos?|set|split))*", re.ASCII)
_IN_NAME = re.compile(rf"(?:^|[^a-z])({'|'.join(_SPLIT_OF)})(?![a-z])")


def split_named(text: str | None) -> str | None:
    """``train``, ``val`` or ``test`` for any spelling of one; None for anything else."""
    return None if text is None else _SPLIT_OF.get(text.strip().lower())


def split_of_file(stem: str) -> str | None:
    """The split that the name of a list tells: ``kinetics400_val_list`` -> ``val``; None for none or several."""
    found = {_SPLIT_OF[match] for match in _IN_NAME.findall(stem.lower())}
    return found.pop() if len(found) == 1 else None


def split_of_folders(folders: Sequence[str]) -> str | None:
    """The split that the first telling one of nested folders stands for: ``val_256``; None when none tells."""
    matches = (_FOLDER.fullmatch(folder.lower()) for folder in folders)
    return next((_SPLIT_OF[match[1]] for match in matches if match is not None), None)


def rows_of_split(rows: Sequence[Row], split: str, what: str) -> Sequence[Row]:
    """The rows of a split where the column ``split`` of a list holds several; else all rows.

    Where a list has no rows of ``val``, those of ``test`` stand for them: many data sets have no validation part.

    Args:
        rows: of the list.
        split: train, val or test.
        what: names the list, for messages.

    Raises:
        DataError: the list holds several splits, but not this one, or a row of none.
    """
    written = {row.split for row in rows}
    if len(written) < 2:
        return rows
    unknown = next((row for row in rows if split_named(row.split) is None), None)
    if unknown is not None:
        text = f"{unknown.where} is of split '{shown(unknown.split or '')}', others are not"
        raise DataError(f"{what}: {text}; write train, val or test")
    chosen = [row for row in rows if split_named(row.split) == split]
    if not chosen and split == "val":
        chosen = [row for row in rows if split_named(row.split) == "test"]
        logger.warning("%s has no rows of the split val: those of test are used", what)
    if not chosen:
        found = shown(", ".join(sorted(map(str, written))))
        raise DataError(f"{what} has rows of the splits {found}, but none of {split}; name another list")
    return chosen
