"""``path label`` lines, as SlowFast, TimeSformer, VideoMAE, mmaction2 and UniFormer write them.

Fields are separated by tabs, commas or spaces, whatever the path holds: the right-most field is the label, double
quotes protect a field. Raw frames have a line ``folder num_frames label``; the images are counted, the number is not
used. Several labels are ``path 3,17,40`` or ``path 3 17 40``.
"""

import csv
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vidtok.data.labels import Row, is_index, split_labels
from vidtok.data.manifest.files import base_folder, is_video
from vidtok.data.manifest.items import ListFile, Listing
from vidtok.data.manifest.records import LABEL_KEYS, PATH_KEYS
from vidtok.errors import DataError

_QUOTED = r'"(?:[^"]|"")+"'
_PATTERNS = {
    separator: re.compile(rf"({_QUOTED}|.+?){between}({_QUOTED}|{label}+)")
    for separator, between, label in (("\t", r"\s*\t\s*", r"[^\t]"), (",", r"\s*,\s*", "[^,]"), (" ", r"\s+", r"\S"))
}
_NUMBERS = re.compile(rf'({_QUOTED}|.+?)[\s,]+("?\d+(?:[\s,;|]+\d+)*"?)')
_COUNTED = re.compile(r"(.+?)[\s,]+\d+")
_VOTING_ROWS = 1000


@dataclass(frozen=True, slots=True)
class _Header:
    """Columns of a list with a header line."""

    separator: str
    path: int
    label: int
    group: int | None


def read_list(file: ListFile) -> Listing:
    """Rows of a list in order; blank lines and lines starting with # are skipped.

    Raises:
        DataError: a line of another form.
    """
    rows = _rows(file.path.name, file.text, frozenset(file.names or file.known_names), multi_label=file.multi_label)
    return Listing(rows, file.names, base_folder(file.path, [row.path for row in rows], file.root))


def _rows(name: str, text: str, names: Collection[str], *, multi_label: bool) -> list[Row]:
    """Rows of the list ``name``; known class names help to find the separator."""
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not lines:
        return []
    header = _find_header(lines[0][1], where=f"{name} row {lines[0][0]}")
    if header is not None:
        rows = [_row_of_columns(f"{name} row {number}", line, header) for number, line in lines[1:]]
        return [_split(row) for row in rows] if multi_label else rows
    pattern = _PATTERNS[_vote_separator([line for _, line in lines[:_VOTING_ROWS]], names)]
    if multi_label:
        rows = [_row_of_many(f"{name} row {number}", line, pattern) for number, line in lines]
        return _without_first_numbers(rows)
    return _without_counts([_row_of_pattern(f"{name} row {number}", line, pattern) for number, line in lines])


def _find_header(line: str, *, where: str) -> _Header | None:
    """Columns of a header line; None when the line is an ordinary row."""
    for separator in _PATTERNS:
        columns = [column.strip(' "').lower() for column in line.split(separator)]
        if is_index(columns[-1]):
            continue  # a row: folders and files may be called path or class as well
        path, label = (next((columns.index(name) for name in keys if name in columns), None)
                       for keys in (PATH_KEYS, LABEL_KEYS))  # fmt: skip
        if path is not None and "frame_id" in columns:
            raise DataError(f"{where}: a list of single images; write one line 'folder num_frames label' per video")
        if path is not None and label is not None:
            return _Header(separator, path, label, columns.index("group") if "group" in columns else None)
        if label == 0 and len(columns) > 2:
            raise DataError(f"{where}: columns {', '.join(columns)}; a list needs the columns path and label")
    return None


def _vote_separator(lines: Sequence[str], names: Collection[str]) -> str:
    """The separator that makes most right-most fields a number or known name; else the one in most lines."""

    def votes(separator: str) -> tuple[int, int]:
        matches = [match for match in map(_PATTERNS[separator].fullmatch, lines) if match]
        labels = [_unquote(match[2]) for match in matches]
        return sum(is_index(label) or label in names for label in labels), len(matches)

    return max(_PATTERNS, key=votes)


def _row_of_columns(where: str, line: str, header: _Header) -> Row:
    fields = [field.strip() for field in next(csv.reader([line], delimiter=header.separator, skipinitialspace=True))]
    if len(fields) <= max(header.path, header.label) or not fields[header.path]:
        raise DataError(f"{where}: '{line}' lacks the columns of the header")
    label = fields[header.label]
    group = None if header.group is None or header.group >= len(fields) else fields[header.group]
    return Row(where, fields[header.path], (label,) if label else None, group or None)


def _row_of_pattern(where: str, line: str, pattern: re.Pattern[str]) -> Row:
    match = pattern.fullmatch(line)
    if match is None:
        raise DataError(f"{where}: '{line}' is not of the form 'path label'")
    return Row(where, _unquote(match[1]), (_unquote(match[2]),))


def _row_of_many(where: str, line: str, pattern: re.Pattern[str]) -> Row:
    """A row whose labels are all numbers at its end, else the names in its last field."""
    return _split(_row_of_pattern(where, line, _NUMBERS if _NUMBERS.fullmatch(line) else pattern))


def _split(row: Row) -> Row:
    return row if row.labels is None else replace(row, labels=split_labels(row.labels[0]))


def _without_counts(rows: list[Row]) -> list[Row]:
    """Cut the number of frames off the paths of a list of raw frames, where no path names a video file.

    Raises:
        DataError: a number stands between a video file and its label.
    """
    stems = [_COUNTED.fullmatch(row.path) for row in rows]
    for row, stem in zip(rows, stems, strict=True):
        if stem is not None and is_video(Path(stem[1]).name):
            raise DataError(
                f"{row.where}: '{row.path}' is a video and a number; a clip has one label, unless data.multi_label=true"
            )
    if any(stem is None or is_video(Path(row.path).name) for row, stem in zip(rows, stems, strict=True)):
        return rows
    return [replace(row, path=stem[1]) for row, stem in zip(rows, stems, strict=True) if stem is not None]


def _without_first_numbers(rows: list[Row]) -> list[Row]:
    """The same for several labels, which took the number of frames for the first of them."""
    is_counted = all(len(row.labels or ()) > 1 and not is_video(Path(row.path).name) for row in rows)
    return [replace(row, labels=(row.labels or ())[1:]) for row in rows] if is_counted else rows


def _unquote(field: str) -> str:
    is_quoted = len(field) > 1 and field[0] == field[-1] == '"'
    return field[1:-1].replace('""', '"') if is_quoted else field
