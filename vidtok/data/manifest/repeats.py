"""Videos that a list names twice, and videos in two lists: found by path, and said."""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidtok.data.manifest.items import Item
from vidtok.data.segment import Segment, check_inside, is_cut
from vidtok.errors import DecodeError

logger = logging.getLogger(__name__)

_SAMPLE_BYTES = 1 << 16


def warn_of_repeats(items: Sequence[Item], what: str) -> None:
    """Warn when rows are the same, and when one video, or one part of it, has two labels.

    Args:
        items: of a list.
        what: names the list.
    """
    first: dict[tuple[str, Segment | None], Item] = {}
    same: list[Item] = []
    other: list[tuple[Item, Item]] = []
    for item in items:
        known = first.setdefault((item.path, item.segment), item)
        if known is not item:
            if known.label == item.label:
                same.append(item)
            else:
                other.append((known, item))
    if same:
        logger.warning(
            "%s: %d rows repeat an earlier one, such as '%s'; such videos are seen more often",
            what,
            len(same),
            same[0].name,
        )
    if other:
        one, two = other[0]
        logger.warning(
            "%s: %d rows give a video another label than an earlier row, such as '%s': %s, then %s; correct the list",
            what, len(other), one.name, one.label, two.label,
        )  # fmt: skip


def warn_of_shared(train: Sequence[Item], val: Sequence[Item], what: str) -> None:
    """Warn when a validation list holds videos that are trained on: it then measures memory.

    Args:
        train, val: the items; parts of one video count where they overlap.
        what: names the validation list.
    """
    trained: dict[str, list[Segment | None]] = {}
    for item in train:
        trained.setdefault(item.path, []).append(item.segment)
    shared = [item for item in val if any(_overlap(item.segment, other) for other in trained.get(item.path, ()))]
    if shared:
        logger.warning(
            "%s: %d of %d videos are trained on as well, such as '%s'; scores on them measure memory",
            what, len(shared), len(val), shared[0].name,
        )  # fmt: skip


def _overlap(one: Segment | None, two: Segment | None) -> bool:
    if one is None or two is None or one.unit != two.unit:
        return True
    ends = (float("inf") if part.end is None else part.end for part in (one, two))
    return max(one.start, two.start) < min(ends)


def segments_outside(items: Iterable[Item], facts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Parts of videos that their videos do not hold: [{path, cause}].

    Args:
        items: of a list.
        facts: frames and fps of each readable video, by path.
    """
    found = []
    for item in items:
        record = facts.get(item.path)
        if item.segment is None or record is None:
            continue
        seconds = record["frames"] / record["fps"]
        try:
            if not is_cut(item.segment, seconds):
                check_inside(item.segment, item.path, seconds=seconds, num_frames=record["frames"])
        except DecodeError as error:
            found.append({"path": item.name, "cause": str(error)})
    return found


def same_content(paths: Iterable[str]) -> list[list[str]]:
    """Groups of files with the same content, as far as their size and samples of their bytes tell.

    Only files of equal size are opened, and of those the first, the middle and the last 64 KiB are compared. Folders
    and files that cannot be read are in no group.
    """
    sizes: dict[int, list[str]] = {}
    for path in dict.fromkeys(paths):
        size = _size(path)
        if size:
            sizes.setdefault(size, []).append(path)
    groups: dict[tuple[int, bytes], list[str]] = {}
    for size, files in sizes.items():
        for file in files if len(files) > 1 else ():
            content = _sampled(file, size)
            if content is not None:
                groups.setdefault((size, content), []).append(file)
    return [files for files in groups.values() if len(files) > 1]


def _size(path: str) -> int:
    """Bytes of a file; 0 for what is none."""
    place = Path(path)
    try:
        return place.stat().st_size if place.is_file() else 0
    except OSError:
        return 0


def _sampled(path: str, size: int) -> bytes | None:
    """A hash of the parts of a file that are compared; None when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for place in (0, size // 2, max(size - _SAMPLE_BYTES, 0)):
                stream.seek(place)
                digest.update(stream.read(_SAMPLE_BYTES))
    except OSError:
        return None
    return digest.digest()
