"""Tables of mp4 files that promise more packets than they name, found before FFmpeg believes them.

Some counts in an mp4 file stand for themselves: a billion packets of equal size take twenty bytes to promise, and
FFmpeg then lists them all while it opens the file, where no deadline reaches. ISO/IEC 14496-12 tells the layout.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field

from vidtok.errors import DecodeError

MOST_UNNAMED = 1 << 20
"""Packets that tables may promise without a word on each: nine hours at 30 frames per second."""

_PARENTS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"edts", b"udta", b"mvex"))
_DEEPEST = 12
_HEAD = 8
_PCM = frozenset(
    (
        b"sowt",
        b"twos",
        b"raw ",
        b"lpcm",
        b"ipcm",
        b"fpcm",
        b"NONE",
        b"in24",
        b"in32",
        b"fl32",
        b"fl64",
        b"ulaw",
        b"alaw",
    )
)
"""Sound of which every sample is a packet; FFmpeg lists it by chunks."""

_RUN_FIELDS = (0x100, 0x200, 0x400, 0x800)
"""Flags of a fragment's run that add four bytes for each packet."""

_RUN_HEADS = (0x1, 0x4)
"""Those that add four bytes in front."""


def check_tables(path: str) -> None:
    """Look at the counts in an mp4 file; any other file passes.

    Raises:
        DecodeError: they promise more than :data:`MOST_UNNAMED` packets without an entry for each.
    """
    try:
        with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            unnamed = _count_unnamed(content)
    except (OSError, ValueError):  # who opens it next says what is wrong with it
        return
    if unnamed > MOST_UNNAMED:
        raise DecodeError(
            f"{path}: its tables promise {unnamed} packets more than they name; "
            "copy or download it again, or leave it out"
        )


@dataclass(slots=True)
class _Track:
    """What the tables of a track say, as far as they were met."""

    handlers: set[bytes] = field(default_factory=set)
    """A track of QuickTime has one for itself and one for where its data are."""
    is_pcm: bool = False
    num_equal: int = 0
    """Packets of one size."""

    @property
    def num_unnamed(self) -> int:
        is_sound = b"soun" in self.handlers and b"vide" not in self.handlers
        return 0 if is_sound and self.is_pcm else self.num_equal


def _count_unnamed(content: mmap.mmap) -> int:
    """Packets that no table has an entry for."""
    total, track = 0, _Track()
    for tag, start, end in _boxes(content, 0, len(content)):
        if tag == b"trak":
            total, track = total + track.num_unnamed, _Track()
        elif tag == b"hdlr":
            track.handlers.add(content[start + 8 : start + 12])
        elif tag == b"stsd":
            track.is_pcm = content[start + 12 : start + 16] in _PCM
        elif tag == b"stsz" and _number(content, start + 4):
            track.num_equal = _number(content, start + 8)
        elif tag == b"trun":
            total += _unnamed_in_run(content, start, end)
    return total + track.num_unnamed


def _unnamed_in_run(content: mmap.mmap, start: int, end: int) -> int:
    """Packets beyond the entries that there is room for in a run of a fragment."""
    flags, count = _number(content, start) & 0xFFFFFF, _number(content, start + 4)
    width, before = (4 * sum(bool(flags & flag) for flag in kind) for kind in (_RUN_FIELDS, _RUN_HEADS))
    num_named = max(end - start - 8 - before, 0) // width if width else 0
    return max(count - num_named, 0)


def _boxes(content: mmap.mmap, start: int, end: int, depth: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """Every box in a span, and those in it: name, start and end of what it holds. Stops where no box can be."""
    while start + _HEAD <= end and depth < _DEEPEST:
        size, tag, begin = _number(content, start), content[start + 4 : start + _HEAD], start + _HEAD
        if size == 1:
            size, begin = int.from_bytes(content[begin : begin + 8], "big"), begin + 8
        stop = end if size == 0 else min(start + size, end)
        if stop < begin:
            return
        yield tag, begin, stop
        if tag in _PARENTS:
            yield from _boxes(content, begin, stop, depth + 1)
        start = stop


def _number(content: mmap.mmap, start: int) -> int:
    """Four bytes; fewer at the end of the file, and then it does not matter."""
    return int.from_bytes(content[start : start + 4], "big")
