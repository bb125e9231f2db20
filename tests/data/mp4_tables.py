"""Rewriting the tables of an mp4 file whose tables stand at its end."""

import struct
from collections.abc import Callable
from pathlib import Path

_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf")

Change = Callable[[bytes], bytes]


def box(tag: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + tag + content


def rewrite_tables(path: Path, changes: dict[bytes, Change]) -> None:
    """Replace what boxes hold, given by name; sizes of the boxes around them are kept right."""
    content = path.read_bytes()
    start = content.index(b"moov") - 4
    assert start + int.from_bytes(content[start : start + 4], "big") == len(content)
    path.write_bytes(content[:start] + _rewritten(content[start:], changes))


def _rewritten(content: bytes, changes: dict[bytes, Change]) -> bytes:
    out, at = b"", 0
    while at < len(content):
        size, tag = struct.unpack_from(">I4s", content, at)
        inner = content[at + 8 : at + size]
        inner = _rewritten(inner, changes) if tag in _PARENTS else inner
        out += box(tag, changes[tag](inner) if tag in changes else inner)
        at += size
    return out
