"""What the columns of a list, or the keys of its objects, mean: the names that tools and data sets give them.

Case, spaces and signs do not count: ``Video Path``, ``video_path`` and ``videoPath`` are one name.
"""

import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from vidtok.data.segment import Segment
from vidtok.errors import DataError

logger = logging.getLogger(__name__)

PATH_NAMES = (
    "path", "videopath", "clippath", "filepath", "filename", "file", "video", "videofile", "videofilename", "videoname",
    "clip", "clipname", "framesdir", "framedir", "folder", "name", "videoid", "clipid", "vid", "id",
)  # fmt: skip
"""Names of the column with the video, the surest first."""

LABEL_NAMES = (
    "label", "labels", "class", "classname", "labelname", "classlabel", "category", "categoryname", "action",
    "actionname", "actionlabel", "activity", "tag", "tags", "target", "classid", "labelid", "categoryid", "classindex",
    "labelindex", "classidx", "labelidx", "groundtruth", "gt", "y",
)  # fmt: skip
"""Names of the column with the class, the surest first."""

_PLACE = re.compile(
    r"(source|t|time|timestamp|segment|seg|clip|action|event|frame)?(start|begin|end|stop)"
    r"(times?|timestamps?|(?:time)?(?:s|secs?|seconds?)|(?:time)?(?:ms|msecs?|millis|milliseconds?)"
    r"|frames?|frame(?:idx|index|no|num|number|id))?"
)
_TIME_WORDS = frozenset(
    {"start", "starts", "begin", "end", "ends", "stop", "onset", "offset", "time", "times", "timestamp", "timestamps"}
    | {"segment", "segments", "seg", "frame", "interval", "t0", "t1", "tmin", "tmax"}
)
_OTHER_WORDS = frozenset(
    {"num", "number", "n", "count", "total", "rate", "fps", "size", "width", "height", "path", "dir", "folder", "key"}
    | {"created", "upload", "uploaded", "modified", "zone", "id"}
)
"""Beside one of these, a word of time says how many frames or when a file was made, not which part of it is meant."""

_DURATIONS = frozenset({"duration", "length", "durations", "durationsec", "durationseconds", "cliplength"})

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """A column that says where a segment starts or ends."""

    column: str
    unit: Literal["s", "ms", "frames"]
    may_be_cut: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column says what; names as they are written."""

    path: str
    labels: tuple[str, ...]
    """Columns with the class, the surest first."""
    split: str | None = None
    group: str | None = None
    start: Place | None = None
    end: Place | None = None


def plain(name: str) -> str:
    """A name without case and signs."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find_columns(names: Sequence[str], where: str) -> Columns | None:
    """What the columns of a list mean; None when none of them is known to name videos.

    Columns that are not known are not used, which is logged once.

    Args:
        names: of the columns.
        where: the header, for messages: "train.csv row 1".

    Raises:
        DataError: a column looks like a time or a frame, but it is not known what of.
    """
    by_name: dict[str, str] = {}
    for name in names:
        by_name.setdefault(plain(name), name)
    path = next((by_name[name] for name in PATH_NAMES if name in by_name), None)
    if path is None:
        return None
    labels = tuple(by_name[name] for name in LABEL_NAMES if name in by_name)
    start, end = _segment_columns(names, where)
    used = {path, *labels, by_name.get("split"), by_name.get("group")} | {one.column for one in (start, end) if one}
    rest = [name for name in names if name and name not in used]
    strange = next((name for name in rest if _looks_like_a_place(name) and _place(name) is None), None)
    if strange is not None:
        raise DataError(
            f"{where}: column '{strange}' looks like a part of the video, but is not known; call it start or end "
            "(seconds), start_frame or end_frame (from 0), or leave it out"
        )
    unused = [name for name in rest if _place(name) is None]
    if unused:
        logger.info("%s: columns that are not used: %s", where, ", ".join(unused))
    return Columns(path, labels, by_name.get("split"), by_name.get("group"), start, end)


@cache
def _place(name: str) -> tuple[bool, Place] | None:
    """(is a start, the column) of a name for an end of a segment; None of other names."""
    match = _PLACE.fullmatch(plain(name))
    if match is None:
        return None
    lead, word, unit = match[1] or "", match[2], match[3] or ""
    if lead == "frame":
        return (word in ("start", "begin"), Place(name, "frames")) if not unit else None
    kind: Literal["s", "ms", "frames"] = "frames" if "frame" in unit else "ms" if re.search("ms|milli", unit) else "s"
    return word in ("start", "begin"), Place(name, kind, lead == "source")


def _segment_columns(names: Sequence[str], where: str) -> tuple[Place | None, Place | None]:
    """The columns of a segment's ends: in seconds where there are such, else in milliseconds, else in frames."""
    found = [place for place in map(_place, names) if place is not None]
    for unit in ("s", "ms", "frames"):
        starts, ends = (
            [one for is_start, one in found if is_start is wanted and one.unit == unit] for wanted in (True, False)
        )
        if starts and len(starts) < 2 and len(ends) < 2:
            duration = next((name for name in names if plain(name) in _DURATIONS), None)
            if not ends and duration is not None:
                raise DataError(
                    f"{where}: columns '{starts[0].column}' and '{duration}' without an end; add a column end"
                )
            return starts[0], ends[0] if ends else None
        if starts or ends:
            several = ", ".join(one.column for one in (starts + ends))
            raise DataError(f"{where}: columns {several} are not one start and one end; leave out the others")
    return None, None


def _looks_like_a_place(name: str) -> bool:
    words = set(re.findall(r"[a-z]+[0-9]?", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()))
    return (bool(words & _TIME_WORDS) and not words & _OTHER_WORDS) or plain(name) in ("from", "to", "frameid")


def read_segment(columns: Columns, value_of: Mapping[str, Any], where: str) -> Segment | None:
    """The segment of a row; None where its columns are empty, which means the whole video.

    Raises:
        DataError: no times, below 0, or an end that is not behind the start.
    """
    if columns.start is None:
        return None
    start, end = (None if place is None else _value(value_of.get(place.column), place, where)
                  for place in (columns.start, columns.end))  # fmt: skip
    if start is None and end is None:
        return None
    if start is None or start < 0 or (end is not None and end <= start):
        raise DataError(
            f"{where}: segment {_shown(start)} to {_shown(end)}; it starts at 0 or later and ends behind that"
        )
    unit: Literal["s", "frames"] = "frames" if columns.start.unit == "frames" else "s"
    return Segment(start, end, unit, columns.start.may_be_cut)


def _shown(value: float | None) -> str:
    return "nothing" if value is None else f"{value:g}"


def _value(value: Any, place: Place, where: str) -> float | None:
    """A time [s] or frame; None of an empty field. Raises DataError."""
    if value is None or value == "":
        return None
    number = _number(value)
    if number is None or not math.isfinite(number) or (place.unit == "frames" and number != int(number)):
        wanted = "a frame number" if place.unit == "frames" else f"a time like 12.5 [{place.unit}] or 0:12.5"
        raise DataError(f"{where}: {place.column} '{str(value)[:40]}' is not {wanted}; correct the row")
    return number / 1000 if place.unit == "ms" else number


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int | float):
        return float(value) if abs(value) < 1e15 else None
    text = value.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    clock = _CLOCK.fullmatch(text)
    return None if clock is None else 3600 * int((clock[1] or "0")[:9]) + 60 * int(clock[2]) + float(clock[3])
