"""``path label`` lines, as SlowFast, TimeSformer, VideoMAE, mmaction2 and UniFormer write them, and tables.

Fields are separated by tabs, commas or spaces, whatever the path holds: the right-most field is the label, double
quotes protect a field. Raw frames have a line ``folder num_frames label``; the images are counted, the number is not
used. Several labels are ``path 3,17,40`` or ``path 3 17 40``. Lines that name a video file and nothing else have no
label. A first line with names of columns makes a list a table; see :mod:`vidtok.data.manifest.columns`.
"""

import csv
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from vidtok.data.labels import NameIndex, Row, is_index, shown, split_labels
from vidtok.data.manifest.columns import LABEL_NAMES, PATH_NAMES, find_columns, plain, read_segment
from vidtok.data.manifest.files import base_folder, is_video
from vidtok.data.manifest.items import ListFile, Listing
from vidtok.errors import DataError

_QUOTED = r'"(?:[^"]|"")+"'
_PATTERNS = {
    separator: re.compile(rf"({_QUOTED}|.+?){between}({_QUOTED}|{label}+)")
    for separator, between, label in (("\t", r"\s*\t\s*", r"[^\t]"), (",", r"\s*,\s*", "[^,]"), (" ", r"\s+", r"\S"))
}
_NUMBERS = re.compile(rf'({_QUOTED}|.+?)[\s,]+("?\d+(?:[\s,;|]+\d+)*"?)', re.ASCII)
_COUNTED = re.compile(r"(.+?)[\s,]+\d+", re.ASCII)
_VOTING_ROWS = 1000
_HEADER_SEPARATORS = ("\t", ",", ";", " ")
_LONGEST_LINE = 1 << 16
"""Characters; no path is as long, so what has more is no list."""

Line = tuple[int, str]
"""(number in the file, text)."""


def read_list(file: ListFile) -> Listing:
    """Rows of a list in order; blank lines and lines starting with # are skipped.

    Raises:
        DataError: a line of another form, a first line that seems to name columns but no known ones.
    """
    name, names = file.path.name, frozenset(file.names or file.known_names)
    lines = _lines(file)
    header = _find_header(lines[0][1], where=f"{name} row {lines[0][0]}") if lines else None
    if header is not None:
        rows = _rows_of_columns(name, lines, header)
        rows = [_split(row) for row in rows] if file.multi_label else rows
    else:
        rows = _rows_of_lines(name, lines, names, multi_label=file.multi_label)
    base = base_folder(file.path, [row.path for row in rows], file.root)
    if header is None and rows:
        _check_first(rows, lines[0][1], base, names)
    return Listing(rows, file.names, base)


def _lines(file: ListFile) -> list[Line]:
    """The lines that count. Raises DataError of a line that no list has."""
    lines = [(number, line.strip()) for number, line in enumerate(file.text.split("\n"), 1)]
    long = next((line for line in lines if len(line[1]) > _LONGEST_LINE), None)
    if long is not None:
        raise DataError(
            f"{file.path.name} row {long[0]} has {len(long[1])} characters; write one 'path label' line a video"
        )
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


# ------------------------------------------------------------------------------------------ tables


def _find_header(line: str, *, where: str) -> tuple[str, list[str]] | None:
    """Separator and names of the columns; None when the line is an ordinary row."""
    for separator in _HEADER_SEPARATORS:
        columns = [column.strip(' "') for column in line.split(separator)]
        names = [plain(column) for column in columns]
        if is_index(columns[-1]) or any("/" in column or is_video(column) for column in columns):
            continue  # a row: folders and files may be called path or class as well
        has_path = any(name in PATH_NAMES for name in names)
        has_label = any(name in LABEL_NAMES for name in names)
        if has_path and "frameid" in names:
            raise DataError(f"{where}: a list of single images; write one line 'folder num_frames label' per video")
        if has_path and (has_label or len(columns) == 1 or _is_table_without_labels(columns, where)):
            return separator, columns
        if names[0] in LABEL_NAMES[:2] and len(columns) > 2:
            raise DataError(f"{where}: columns {shown(', '.join(columns))}; a list needs the columns path and label")
    return None


def _is_table_without_labels(columns: Sequence[str], where: str) -> bool:
    """True for a path and other columns that mean something."""
    found = find_columns(columns, where)
    return found is not None and (found.start is not None or found.split is not None)


def _rows_of_columns(name: str, lines: Sequence[Line], header: tuple[str, list[str]]) -> list[Row]:
    separator, names = header
    columns = find_columns(names, f"{name} row {lines[0][0]}")
    assert columns is not None
    path, label, group, split = (
        None if column is None else names.index(column)
        for column in (columns.path, next(iter(columns.labels), None), columns.group, columns.split)
    )
    assert path is not None
    needed = max(path, label or 0)
    rows = []
    for number, line in lines[1:]:
        where = f"{name} row {number}"
        fields = _fields(line, separator, where)
        if len(fields) <= needed or not fields[path] or any(fields[len(names) :]):
            raise DataError(
                f"{where}: '{shown(line)}' lacks the columns of the header: it has {len(fields)}, not {len(names)}; "
                "put double quotes around a field that holds the separator"
            )
        fields += [""] * (len(names) - len(fields))
        rows.append(
            Row(
                where,
                fields[path],
                (fields[label],) if label is not None and fields[label] else None,
                (group is not None and fields[group]) or None,
                read_segment(columns, dict(zip(names, fields)), where) if columns.start is not None else None,
                (split is not None and fields[split]) or None,
            )
        )
    return rows


def _fields(line: str, separator: str, where: str) -> list[str]:
    if '"' not in line:
        return line.split() if separator == " " else [field.strip() for field in line.split(separator)]
    try:
        fields = next(csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise DataError(f"{where}: '{shown(line)}' has quotes that do not match ({error}); correct the row") from None
    return [field.strip() for field in fields]


# ------------------------------------------------------------------------------------------- lines


def _rows_of_lines(name: str, lines: Sequence[Line], names: Collection[str], *, multi_label: bool) -> list[Row]:
    if all(is_video(os.path.basename(_unquote(line))) for _, line in lines):
        return [Row(f"{name} row {number}", _unquote(line), None) for number, line in lines]
    separator = _vote_separator([line for _, line in lines[:_VOTING_ROWS]], names)
    if multi_label:
        pattern = _PATTERNS[separator]
        return _without_first_numbers([_row_of_many(f"{name} row {number}", line, pattern) for number, line in lines])
    return _without_counts([_row_of_line(f"{name} row {number}", line, separator) for number, line in lines])


def _vote_separator(lines: Sequence[str], names: Collection[str]) -> str:
    """The separator that leaves most videos, then most numbers or known names as labels; else the one in most lines."""

    def votes(separator: str) -> tuple[int, int, int]:
        matches = [match for match in map(_PATTERNS[separator].fullmatch, lines) if match]
        labels = [_unquote(match[2]) for match in matches]
        videos = sum(is_video(os.path.basename(_unquote(match[1]))) for match in matches)
        return videos, sum(is_index(label) or label in names for label in labels), len(matches)

    return max(_PATTERNS, key=votes)


def _row_of_line(where: str, line: str, separator: str) -> Row:
    """As :func:`_row_of_pattern`, but quick where there are no quotes."""
    if '"' in line:
        return _row_of_pattern(where, line, _PATTERNS[separator])
    parts = line.rsplit(None if separator == " " else separator, 1)
    if len(parts) < 2 or not parts[0].strip() or not parts[1].strip():
        raise _no_row(where, line)
    return Row(where, parts[0].rstrip(), (parts[1].lstrip(),))


def _row_of_pattern(where: str, line: str, pattern: re.Pattern[str]) -> Row:
    match = pattern.fullmatch(line)
    if match is None:
        raise _no_row(where, line)
    return Row(where, _unquote(match[1]), (_unquote(match[2]),))


def _no_row(where: str, line: str) -> DataError:
    return DataError(f"{where}: '{shown(line)}' is not of the form 'path label'")


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
    others = [row for row in rows if " " in row.path or "," in row.path or "\t" in row.path]
    others = [row for row in others if not is_video(os.path.basename(row.path))]
    stems = [_COUNTED.fullmatch(row.path) for row in others]
    for row, stem in zip(others, stems, strict=True):
        if stem is not None and is_video(os.path.basename(stem[1])):
            raise DataError(
                f"{row.where}: '{shown(row.path)}' is a video and a number; a clip has one label, unless "
                "data.multi_label=true"
            )
    if len(others) < len(rows) or any(stem is None for stem in stems):
        return rows
    return [replace(row, path=stem[1]) for row, stem in zip(rows, stems, strict=True) if stem is not None]


def _without_first_numbers(rows: list[Row]) -> list[Row]:
    """The same for several labels, which took the number of frames for the first of them."""
    is_counted = all(len(row.labels or ()) > 1 and not is_video(Path(row.path).name) for row in rows)
    return [replace(row, labels=(row.labels or ())[1:]) for row in rows] if is_counted else rows


def _check_first(rows: Sequence[Row], line: str, base: Path, names: Collection[str]) -> None:
    """Raise DataError when the first row seems to name columns: no such file, and a label that no other row has."""
    first = rows[0]
    if first.labels is None or is_video(os.path.basename(first.path)) or any(map(is_index, first.labels)):
        return
    others = {label for row in rows[1:] for label in row.labels or ()}
    is_unknown = others.isdisjoint(first.labels) and all(NameIndex(sorted(names)).find(x) is None for x in first.labels)
    if is_unknown and not os.path.exists(base / first.path):
        raise DataError(
            f"{first.where}: '{shown(line)}' seems to name columns: there is no file '{shown(first.path)}', and no "
            f"other row has the label '{shown(first.labels[0])}'; call the columns path and label, or delete the line"
        )


def _unquote(field: str) -> str:
    is_quoted = len(field) > 1 and field[0] == field[-1] == '"'
    return field[1:-1].replace('""', '"') if is_quoted else field
