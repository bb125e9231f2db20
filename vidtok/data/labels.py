"""Class names and labels: what a list says becomes class indices, and every error names its row."""

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from vidtok.config import spelling
from vidtok.data.segment import Segment
from vidtok.errors import DataError, did_you_mean

_LISTS = files("vidtok.data") / "label_lists"

_LONGEST_SHOWN = 200
"""Characters of a name that messages show."""

_INDEX = re.compile(r"-?\d{1,9}", re.ASCII)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?")
"""Numbers in all digits there are, with a fraction or not: pandas writes 3.0 where one label of a column is missing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a list as it is written."""

    where: str
    """Names it in messages: "train.csv row 17"."""
    path: str
    labels: tuple[str, ...] | None
    """Class indices or names, one unless the list is multi-label; None when the list does not tell."""
    group: str | None = None
    """Column ``group``: clips of one group belong in one split."""
    segment: Segment | None = None
    """The part of the video that the row means; None: all of it."""
    split: str | None = None
    """Column ``split``: which part of the data set the row belongs to, as it is written."""


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without byte order mark. Raises DataError.

    Every line ends with a line feed. Split there: ``splitlines`` also splits at separators such as U+2028, which
    titles of videos hold.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path} is not UTF-8 text but UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    if "\0" in text:
        raise DataError(f"{path} holds NUL bytes, so it is no text, or UTF-16; save it as UTF-8 text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_json(text: str, where: str) -> Any:
    """Parse JSON. Raises DataError that starts with ``where``."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{where} is not JSON: {error}") from None
    except RecursionError:
        raise DataError(f"{where} is not a list: its JSON is nested too deeply") from None
    except ValueError:  # Python reads no whole number of more than 4,300 digits
        raise DataError(f"{where} is not a list: it holds a number of thousands of digits") from None


def shown(text: str) -> str:
    """A text of somebody's list as messages show it: on one line, its end left out where it is long."""
    line = text if text.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in text)
    return line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}... ({len(line)} characters)"


# ------------------------------------------------------------------------------------- class names


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names in index order.

    A text file holds one name a line, whose line number, from 0, is the index; or ``name<tab>index`` lines; or, as
    UCF101's classInd.txt, ``number name`` lines that count from 1. A ``.json`` file maps names to indices or indices to
    names, or lists the names.

    Raises:
        DataError: absent or empty file, an index without a name, a name that occurs twice.
    """
    text = read_text(path)
    if path.suffix == ".json":
        numbered = _numbered_names(parse_json(text, str(path)), path)
    else:
        numbered = _names_of_lines([line.strip() for line in text.rstrip().split("\n")] if text.strip() else [])
    if not numbered:
        raise DataError(f"{path} is empty; write one class name a line")
    _check_names(numbered, path)
    return tuple(name for _, name in sorted(numbered))


def _names_of_lines(lines: Sequence[str]) -> list[tuple[int, str]]:
    """(index, name) of the lines of a text file."""
    pairs = [re.fullmatch(r"(.+?)\t+(\d{1,9})", line, re.ASCII) for line in lines]
    if all(pairs):
        return [(int(pair[2]), pair[1]) for pair in pairs if pair]
    counted = [line.removeprefix(f"{number} ") for number, line in enumerate(lines, 1)]
    return list(enumerate(lines if any(map(str.__eq__, lines, counted)) else counted))


def _numbered_names(content: Any, path: Path) -> list[tuple[int, str]]:
    """(index, name) from the JSON spellings of class names; names lose quotes that are part of the string."""
    pairs = list(enumerate(content)) if isinstance(content, list) else None
    if isinstance(content, dict):
        by_index = all(_INDEX.fullmatch(str(key)) for key in content)
        pairs = [(key, value) if by_index else (value, key) for key, value in content.items()]
    if pairs is None or not all(_INDEX.fullmatch(str(index)) and isinstance(name, str) for index, name in pairs):
        raise DataError(f"{path} holds no class names; write an object of names and indices, or a list of names")
    return [(int(index), name.strip('"')) for index, name in pairs]


def _check_names(numbered: Sequence[tuple[int, str]], path: Path) -> None:
    """Raise DataError unless the indices are 0 to the number of classes and the names differ."""
    first: dict[str, int] = {}
    for row, (_, name) in enumerate(numbered, 1):
        if not name:
            raise DataError(f"{path} row {row} is empty, but line numbers are class indices; write every class")
        if name in first:
            raise DataError(f"{path} row {row}: class name '{name}' is already in row {first[name]}")
        first[name] = row
    absent = set(range(len(numbered))) - {index for index, _ in numbered}
    if absent:
        raise DataError(f"{path}: no name has index {min(absent)}; indices are 0 to {len(numbered) - 1}, each once")


def packaged_lists() -> tuple[str, ...]:
    """Names of the standard label lists: ``kinetics400``, ``ssv2``, ``ucf101``."""
    return tuple(sorted(file.name.removesuffix(".txt") for file in _LISTS.iterdir() if file.name.endswith(".txt")))


@cache
def packaged_names(name: str) -> tuple[str, ...]:
    """Class names of a standard list in its standard order."""
    return tuple((_LISTS / f"{name}.txt").read_text(encoding="utf-8").splitlines())


def find_class_names(source: str | Path) -> tuple[str, ...]:
    """Class names of a file, see :func:`read_class_names`, else of the standard list of that name.

    Raises:
        DataError: neither a file nor a standard list, or a file that cannot be used.
    """
    if Path(source).is_file():
        return read_class_names(Path(source))
    if str(source) in packaged_lists():
        return packaged_names(str(source))
    known = packaged_lists()
    raise DataError(
        f"data.classes: '{source}' not found{did_you_mean(str(source), known)}; write one class name a line there, "
        f"or name a standard list: {', '.join(known)}"
    )


class NameIndex:
    """Finds class names however folders and lists spell them.

    An exact match wins. Else case, underscores, quotes and parentheses do not count, where that is unambiguous:
    ``tying_knot_(not_on_a_tie)``. The classes of Kinetics-400 are also known by the names that later releases gave
    some of them.

    Args:
        names: class names in index order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        keys = [spelling(name) for name in names]
        counts = Counter(keys)
        self._by_key = {key: index for index, key in enumerate(keys) if counts[key] == 1}
        self._by_name = {name: index for index, name in enumerate(names)}
        for name, alias in _kinetics_aliases() if _is_kinetics400(names) else ():
            for here, there in ((name, alias), (alias, name)):
                if here in self._by_name:
                    self._by_key.setdefault(spelling(there), self._by_name[here])

    def find(self, name: str) -> int | None:
        """Index of a class; None when there is no such name."""
        index = self._by_name.get(name)
        return self._by_key.get(spelling(name)) if index is None else index


@cache
def _kinetics_aliases() -> tuple[tuple[str, str], ...]:
    """(name in Kinetics-400, name of the same class elsewhere)."""
    lines = (_LISTS / "kinetics400_aliases.csv").read_text(encoding="utf-8").splitlines()
    return tuple((name, alias) for name, alias in csv.reader(lines[1:]))


def _is_kinetics400(names: Sequence[str]) -> bool:
    """True for the 400 classes in any order, under their own names or aliases."""
    standard = {alias: name for name, alias in _kinetics_aliases()}
    return len(names) == 400 and {standard.get(name, name) for name in names} == set(packaged_names("kinetics400"))


# ------------------------------------------------------------------------------------------ labels


def is_index(label: str) -> bool:
    """True for what is meant as a number. Whether it can be an index is asked later: -1 is no class name either."""
    return label.isdecimal() or _NUMBER.fullmatch(label) is not None


def split_labels(text: str) -> tuple[str, ...]:
    """Several labels in one field: ``3,17,40`` or ``3 17 40``; names are separated by ; or |."""
    numbers = tuple(re.split(r"[\s,;|]+", text.strip()))
    if all(map(is_index, numbers)):
        return numbers
    return tuple(name.strip() for name in re.split("[;|]", text) if name.strip())


def names_in(rows: Iterable[Row]) -> tuple[str, ...] | None:
    """The class names that the labels of a list imply, in code point order; None when there are none or numbers."""
    labels = {label for row in rows for label in row.labels or ()}
    return tuple(sorted(labels)) if labels and not any(map(is_index, labels)) else None


def class_indices(
    rows: Sequence[Row], names: Sequence[str] | None, *, num_classes: int | None = None
) -> list[tuple[int, ...] | None]:
    """Turn the labels of a list, class indices or class names, into class indices; None where there are none.

    Args:
        rows: entries of the list.
        names: class names in index order; None when there are none.
        num_classes: number of classes where there are no names; None when the list itself sets it.

    Raises:
        DataError: naming the first row with an unknown name or an index out of range.
    """
    known = NameIndex(names or ())
    num_classes = num_classes if names is None else len(names)
    places: dict[str, int] = {}
    found: list[tuple[int, ...] | None] = []
    for row in rows:
        for label in row.labels or ():
            if label not in places:
                places[label] = _index(row, label, known, names)
        found.append(None if row.labels is None else tuple(places[label] for label in row.labels))
    used = places.values()
    wrong = {index for index in used if index < 0 or (num_classes is not None and index >= num_classes)}
    if wrong:
        row, index = next((row, places[label]) for row in rows for label in row.labels or () if places[label] in wrong)
        raise DataError(f"{row.where}: label {index}, {_out_of_range(used, num_classes)}")
    return found


def _index(row: Row, label: str, known: NameIndex, names: Sequence[str] | None) -> int:
    """Index of one label. Raises DataError where it is an unknown name."""
    index = int(label) if _INDEX.fullmatch(label) else known.find(label)
    if index is None:
        raise DataError(f"{row.where}: label '{shown(label)}' {_unknown_name(label, names)}")
    return index


def _unknown_name(label: str, names: Sequence[str] | None) -> str:
    if is_index(label):
        return "is no class index; write a whole number from 0, in the digits 0 to 9"
    if len(split_labels(label)) > 1:
        return "holds several labels; set data.multi_label=true"
    if names is None:
        return "is not a number, and there are no class names; set data.classes to a file with one name a line"
    return f"is not one of the {len(names)} class names{did_you_mean(label, names)}"


def _out_of_range(indices: Collection[int], num_classes: int | None) -> str:
    if num_classes is None:
        return "but labels count from 0"
    looks_shifted = min(indices) == 1 and max(indices) == num_classes
    hint = "labels look 1-based, they must count from 0" if looks_shifted else "correct the row or the class names"
    return f"but there are {num_classes} classes (0-{num_classes - 1}); {hint}"


def map_by_name(
    labels: Sequence[tuple[int, ...] | None], names: Sequence[str], target: Sequence[str], *, source: str
) -> list[tuple[int, ...] | None]:
    """Re-number class indices of one naming into another, by name.

    Only classes that occur need a counterpart, so a split may lack some classes or list unused ones.

    Raises:
        DataError: a class that occurs is not in ``target``.
    """
    known = NameIndex(target)
    places = {index: known.find(names[index]) for index in sorted({i for indices in labels for i in indices or ()})}
    unknown = next((names[index] for index, place in places.items() if place is None), None)
    if unknown is not None:
        raise DataError(
            f"{source}: class names disagree: '{unknown}' is not one of the {len(target)} classes "
            f"trained on{did_you_mean(unknown, target)}"
        )
    return [None if indices is None else tuple(places[index] for index in indices) for indices in labels]
