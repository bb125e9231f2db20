"""Class names and labels: what a list says becomes class indices, and every error names its row."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidtok.errors import DataError


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a list as it is written; ``where`` names it in messages ("train.csv row 17")."""

    where: str
    path: str
    label: str


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without byte order mark. Raises DataError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names, one a line; the line number, from 0, is the class index.

    Raises:
        DataError: absent or empty file, an empty line between names, a name that occurs twice.
    """
    names = [line.strip() for line in read_text(path).rstrip().splitlines()]
    if not names:
        raise DataError(f"{path} is empty; write one class name a line")
    first_row: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name:
            raise DataError(f"{path} row {number} is empty, but line numbers are class indices; write every class")
        if name in first_row:
            raise DataError(f"{path} row {number}: class name '{name}' is already in row {first_row[name]}")
        first_row[name] = number
    return tuple(names)


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """End of a sentence that proposes the nearest known name; empty when none is near."""
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""


def is_index(label: str) -> bool:
    """True for a whole number. A minus counts, so that -1 is refused as a number and not as a name."""
    return label.removeprefix("-").isdecimal()


def names_in(rows: Sequence[Row]) -> tuple[str, ...] | None:
    """The class names that the labels of a list imply, in code point order; None when some are numbers."""
    labels = {row.label for row in rows}
    return None if any(map(is_index, labels)) else tuple(sorted(labels))


def class_indices(rows: Sequence[Row], names: Sequence[str] | None, *, num_classes: int | None = None) -> list[int]:
    """Turn the labels of a list, class indices or class names, into class indices.

    Args:
        rows: entries of the list.
        names: class names in index order; None when there are none.
        num_classes: number of classes where there are no names; None when the list itself sets it.

    Raises:
        DataError: naming the first row with an unknown name or an index out of range.
    """
    by_name = {name: index for index, name in enumerate(names or ())}
    num_classes = num_classes if names is None else len(names)
    indices: list[int] = []
    for row in rows:
        if not is_index(row.label) and row.label not in by_name:
            raise DataError(f"{row.where}: label '{row.label}' {_unknown_name(row.label, names)}")
        indices.append(int(row.label) if is_index(row.label) else by_name[row.label])
    for row, index in zip(rows, indices, strict=True):
        if index < 0 or (num_classes is not None and index >= num_classes):
            raise DataError(f"{row.where}: label {index}, {_out_of_range(indices, num_classes)}")
    return indices


def _unknown_name(label: str, names: Sequence[str] | None) -> str:
    if names is None:
        return "is not a number, and there are no class names; set data.classes to a file with one name a line"
    return f"is not one of the {len(names)} class names{did_you_mean(label, names)}"


def _out_of_range(indices: Sequence[int], num_classes: int | None) -> str:
    if num_classes is None:
        return "but labels count from 0"
    looks_shifted = min(indices) == 1 and max(indices) == num_classes
    hint = "labels look 1-based, they must count from 0" if looks_shifted else "correct the row or the class names"
    return f"but there are {num_classes} classes (0-{num_classes - 1}); {hint}"


def map_by_name(indices: Sequence[int], names: Sequence[str], target: Sequence[str], *, source: str) -> list[int]:
    """Re-number class indices of one naming into another, by name.

    Only classes that occur need a counterpart, so a split may lack some classes or list unused ones.

    Raises:
        DataError: a class that occurs is not in ``target``.
    """
    by_name = {name: index for index, name in enumerate(target)}
    unknown = [names[index] for index in sorted(set(indices)) if names[index] not in by_name]
    if unknown:
        raise DataError(
            f"{source}: class names disagree: '{unknown[0]}' is not one of the {len(target)} classes "
            f"trained on{did_you_mean(unknown[0], target)}"
        )
    return [by_name[names[index]] for index in indices]
