"""Text that is safe to show, numbers in sentences, and JSON that every reader accepts."""

import json
import re
from collections.abc import Iterable
from typing import Any

_UNSEEN = r"\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""Delete and C1 controls, line and paragraph separators, changes of direction, and bytes that are not UTF-8."""
_NOT_PRINTABLE = re.compile(rf"[\x00-\x1f{_UNSEEN}]")
_NOT_IN_JSON = re.compile(f"[{_UNSEEN}]")


def escaped(text: str) -> str:
    r"""Every character as ``\uXXXX``, which JSON reads back; those beyond the first 65,536 as two."""
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place] << 8 | units[place + 1]:04x}" for place in range(0, len(units), 2))


def printable(text: str) -> str:
    r"""One line that changes nothing on a terminal: control characters, line breaks and the like as ``\uXXXX``."""
    return _NOT_PRINTABLE.sub(lambda match: escaped(match[0]), text)


def brief(text: str, most: int = 40) -> str:
    """What a user wrote, for an error message: cut when it is long."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def counted(number: int, noun: str) -> str:
    """``1 video``, ``2 videos``, ``1 class``, ``2 classes``; a noun takes a plain s, or es after one."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def to_json(value: Any, *, indent: int | None = None) -> str:
    """A JSON document of plain values, or one line of it; what a terminal would obey is escaped.

    Raises:
        ValueError: a number that is not finite, which JSON does not have: whoever counts must not let it come here.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    return _NOT_IN_JSON.sub(lambda match: escaped(match[0]), text)


def json_lines(rows: Iterable[Any]) -> str:
    """One line of JSON for each row."""
    return "".join(to_json(row) + "\n" for row in rows)
