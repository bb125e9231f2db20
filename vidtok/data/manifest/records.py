"""Lists of JSON objects: ``.jsonl``, one object a line, or ``.json``, one array."""

from collections.abc import Iterable
from typing import Any

from vidtok.data.labels import Row, parse_json, shown
from vidtok.data.manifest.columns import Columns, find_columns, read_segment
from vidtok.data.manifest.files import base_folder
from vidtok.data.manifest.items import ListFile, Listing
from vidtok.errors import DataError

_EXAMPLE = 'such as {"path": "a.mp4", "label": 3}'


def is_jsonl(file: ListFile) -> bool:
    """True for lines of JSON, which the suffix tells."""
    return file.path.suffix.lower() == ".jsonl"


def is_json(file: ListFile) -> bool:
    """True for one JSON document, which the suffix tells."""
    return file.path.suffix.lower() == ".json"


def read_jsonl(file: ListFile) -> Listing:
    """Rows of a ``.jsonl`` file; see :func:`read_objects`."""
    name = file.path.name
    lines = [(f"{name} row {number}", line) for number, line in enumerate(file.text.split("\n"), 1) if line.strip()]
    return _listing(file, read_objects((where, parse_json(line, where)) for where, line in lines))


def read_json(file: ListFile) -> Listing:
    """Rows of a ``.json`` file with an array of objects; see :func:`read_objects`."""
    if not isinstance(file.content, list):
        raise DataError(f"{file.path.name} holds no array; write a list of objects {_EXAMPLE}")
    entries = ((f"{file.path.name} entry {number}", entry) for number, entry in enumerate(file.content, 1))
    return _listing(file, read_objects(entries))


def _listing(file: ListFile, rows: list[Row]) -> Listing:
    return Listing(rows, file.names, base_folder(file.path, [row.path for row in rows], file.root))


def read_objects(entries: Iterable[tuple[str, Any]]) -> list[Row]:
    """Rows from (where, object).

    The path is needed; the label is an index or a name, or a list of them; keys mean what they mean as columns, see
    :mod:`vidtok.data.manifest.columns`.

    Raises:
        DataError: something that is no such object.
    """
    known: dict[tuple[str, ...], Columns | None] = {}
    rows = []
    for where, entry in entries:
        keys = tuple(entry) if isinstance(entry, dict) else ()
        if keys not in known:
            known[keys] = find_columns(keys, where)
        rows.append(_row(where, entry, known[keys]))
    return rows


def _row(where: str, entry: Any, columns: Columns | None) -> Row:
    path = None if columns is None else entry[columns.path]
    if columns is None or not isinstance(path, str) or not path:
        raise DataError(f"{where} has no path; write an object {_EXAMPLE}")
    label = next((entry[key] for key in columns.labels if entry[key] not in (None, "")), None)
    labels = label if isinstance(label, list) else [label]
    strange = next((value for value in labels if isinstance(value, bool) or not isinstance(value, int | str)), None)
    if label is not None and strange is not None:
        text = shown(repr(strange))
        raise DataError(f"{where}: label {text} is neither a class index nor a name; write an object {_EXAMPLE}")
    group, split = (None if key is None else entry[key] for key in (columns.group, columns.split))
    return Row(
        where,
        path,
        None if label is None else tuple(map(str, labels)),
        None if group is None else str(group),
        read_segment(columns, entry, where),
        None if split is None else str(split),
    )
