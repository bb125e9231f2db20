"""Lists of JSON objects: ``.jsonl``, one object a line, or ``.json``, one array."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vidtok.data.labels import Row, parse_json
from vidtok.errors import DataError

PATH_KEYS = ("path", "file", "filename", "video")
LABEL_KEYS = ("label", "labels", "class")
_EXAMPLE = 'such as {"path": "a.mp4", "label": 3}'


def read_jsonl(path: Path, text: str) -> list[Row]:
    """Rows of a ``.jsonl`` file; see :func:`read_objects`."""
    lines = [(f"{path.name} row {number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    return read_objects((where, parse_json(line, where)) for where, line in lines)


def read_array(path: Path, content: Any) -> list[Row]:
    """Rows of a ``.json`` file with an array of objects; see :func:`read_objects`."""
    if not isinstance(content, list):
        raise DataError(f"{path.name} holds no array; write a list of objects {_EXAMPLE}")
    return read_objects((f"{path.name} entry {number}", entry) for number, entry in enumerate(content, 1))


def read_objects(entries: Iterable[tuple[str, Any]]) -> list[Row]:
    """Rows from (where, object).

    ``path`` is needed, ``label`` is an index or a name, ``labels`` a list of them; further keys do not matter.

    Raises:
        DataError: something that is no such object.
    """
    return [_row(where, entry) for where, entry in entries]


def _row(where: str, entry: Any) -> Row:
    path = next((entry[key] for key in PATH_KEYS if key in entry), None) if isinstance(entry, dict) else None
    if not isinstance(path, str) or not path:
        raise DataError(f"{where} has no path; write an object {_EXAMPLE}")
    label = next((entry[key] for key in LABEL_KEYS if entry.get(key) not in (None, "")), None)
    labels = label if isinstance(label, list) else [label]
    strange = next((value for value in labels if isinstance(value, bool) or not isinstance(value, int | str)), None)
    if label is not None and strange is not None:
        raise DataError(f"{where}: label {strange!r} is neither a class index nor a name; write an object {_EXAMPLE}")
    group = entry.get("group")
    return Row(where, path, None if label is None else tuple(map(str, labels)), group and str(group))
