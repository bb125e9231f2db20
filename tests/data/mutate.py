"""Damaged copies of video files: bits flipped, runs overwritten, pieces cut out, put elsewhere or from other files."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

Mutation = Callable[[bytes, bytes, np.random.Generator], bytes]
"""(content of the file, content of another file, source of randomness) -> damaged content."""

_FIELDS: dict[bytes, tuple[bytes, ...]] = {
    b"ftyp": (
        b"tkhd", b"mvhd", b"mdhd", b"stts", b"stsz", b"stsc", b"stco", b"stss", b"ctts", b"elst", b"avc1", b"avcC",
        b"stsd", b"hdlr", b"trun", b"tfhd", b"tfdt", b"trex", b"pasp", b"colr", b"moov", b"trak", b"mdat",
    ),
    b"\x1aE\xdf\xa3": (
        b"\xb0", b"\xba", b"\x2a\xd7\xb1", b"\x44\x89", b"\x23\xe3\x83", b"\x54\xb0", b"\x54\xba", b"\xe7", b"\xa3",
        b"\x86", b"\x63\xa2",
    ),
    b"RIFF": (b"avih", b"strh", b"strf", b"idx1", b"movi", b"00dc", b"RIFF"),
    b"GIF8": (b"GIF8", b"\x21\xf9\x04", b"\x2c\0\0\0\0"),
    b"FLV": (b"onMetaData", b"width", b"height", b"duration", b"framerate", b"FLV"),
}  # fmt: skip
"""By a mark of the container: what stands before sizes, times and counts."""

_LIES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

_HEAD = 400
"""Bytes at either end where containers keep their tables more often than elsewhere."""


def flip_bits(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """1 to 1,000 bits anywhere."""
    damaged = bytearray(content)
    for place in rng.integers(len(content), size=int(10 ** rng.uniform(0, 3))).tolist():
        damaged[place] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def flip_tables(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """1 to 30 bits near the start or the end, where sizes, counts and formats stand."""
    damaged = bytearray(content)
    near = min(_HEAD, len(content))
    for place in rng.integers(near, size=int(10 ** rng.uniform(0, 1.5))).tolist():
        damaged[place if rng.random() < 0.5 else -1 - place] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def overwrite(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A run of zeros, ones or noise over up to a tenth of the file."""
    start, end = _span(content, rng, most=0.1)
    run = [bytes(end - start), b"\xff" * (end - start), rng.bytes(end - start)][rng.integers(3)]
    return content[:start] + run + content[end:]


def truncate(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The end is lost."""
    return content[: int(rng.integers(1, len(content)))]


def behead(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The beginning is lost."""
    return content[int(rng.integers(1, len(content))) :]


def cut_out(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A piece is lost, so that all that follows moves."""
    start, end = _span(content, rng, most=0.3)
    return content[:start] + content[end:]


def repeat(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A piece comes twice."""
    start, end = _span(content, rng, most=0.3)
    return content[:end] + content[start:]


def splice(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The file begins as one video and ends as another."""
    return content[: int(rng.integers(1, len(content)))] + other[int(rng.integers(len(other))) :]


def transplant(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A piece of another video lies over the same place."""
    start, end = _span(content, rng, most=0.2)
    piece = other[start:end]
    return content[:start] + piece + content[start + len(piece) :]


def rewrite_fields(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """1 to 4 numbers of headers (dimensions, times, counts, sizes) say something extreme."""
    tags = next((tags for mark, tags in _FIELDS.items() if mark in content[:64]), (content[:4],))
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        tag = tags[rng.integers(len(tags))]
        places = [match.end() for match in re.finditer(re.escape(tag), content)]
        if places:
            width = int(rng.choice((1, 2, 4, 8)))
            place = places[rng.integers(len(places))] + int(rng.integers(0, 48 // width)) * width
            lie = _LIES[rng.integers(len(_LIES))] & ((1 << 8 * width) - 1)
            order = "little" if content.startswith((b"RIFF", b"GIF8")) else "big"
            damaged[place : place + width] = lie.to_bytes(width, order)
    return bytes(damaged[: max(len(content), 1)])


def concatenate(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Another video follows."""
    return content + other


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    flip_tables,
    overwrite,
    truncate,
    behead,
    cut_out,
    repeat,
    splice,
    transplant,
)


LIES: tuple[Mutation, ...] = (rewrite_fields, concatenate)
"""Files in which nothing is broken, but something is not what it says."""


def write_mutants(sources: Sequence[Path], folder: Path, count: int, *, seed: int) -> list[Path]:
    """Write ``count`` damaged copies; the kinds of damage and the sources take turns.

    Returns:
        Their paths; a name says number, damage and source.
    """
    rng = np.random.default_rng(seed)
    contents = [source.read_bytes() for source in sources]
    paths = []
    for number in range(count):
        mutation = MUTATIONS[number % len(MUTATIONS)]
        place, other = rng.permutation(len(sources))[:2]
        path = folder / f"{number:04}_{mutation.__name__}_{sources[place].name}"
        path.write_bytes(mutation(contents[place], contents[other], rng))
        paths.append(path)
    return paths


def _span(content: bytes, rng: np.random.Generator, *, most: float) -> tuple[int, int]:
    """Start and end of a piece of at most this share of the content, at least a byte."""
    length = int(rng.integers(1, max(2, int(most * len(content)))))
    start = int(rng.integers(0, max(1, len(content) - length)))
    return start, min(start + length, len(content))
