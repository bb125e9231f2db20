"""What opening a video found out, kept on disk: the next opening lists no packets and decodes no picture.

A store is one SQLite file. An entry counts as long as its video has the size and the modification time that it had.
"""

import json
import os
import sqlite3
import zlib
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from vidtok.data.decode.index import PacketFacts, PacketIndex
from vidtok.data.decode.info import Orientation
from vidtok.errors import DataError

_FORMAT = 1
_NO_TIME = np.iinfo(np.int64).min
_PATIENCE_SECONDS = 60.0
_TABLE = "CREATE TABLE IF NOT EXISTS videos (path TEXT PRIMARY KEY, stamp TEXT, facts BLOB)"


@dataclass(frozen=True, slots=True)
class Known:
    """A video whose packets tell its frames."""

    index: PacketIndex
    orientation: Orientation
    stored_size: tuple[int, int]
    """Width and height before it is turned for display [pixels]."""
    colour: tuple[str, bool]
    """Matrix, and whether the range is full."""


class PacketStore:
    """Entries by path. Safe in several processes at once; each opens the file for itself.

    Args:
        file: the SQLite file; made when the first entry is added.
    """

    def __init__(self, file: str | Path) -> None:
        self._file = os.fspath(file)
        self._connection: sqlite3.Connection | None = None
        self._owner = 0

    def __getstate__(self) -> str:
        return self._file

    def __setstate__(self, file: str) -> None:
        self.__init__(file)

    def find(self, path: str) -> Known | None:
        """What is known of a video that has not changed since; None when nothing is. Raises DataError."""
        if not os.path.isfile(self._file):
            return None
        try:
            row = self._open().execute("SELECT stamp, facts FROM videos WHERE path = ?", (_key(path),)).fetchone()
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self._file}: is no packet store ({error}); delete it and index again") from None
        return None if row is None or row[0] != _stamp(path) else _unpack(row[1])

    def add(self, path: str, known: Known) -> None:
        """Keep what was found out about a video just now."""
        with self._open() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO videos VALUES (?, ?, ?)", (_key(path), _stamp(path), _pack(known))
            )

    def _open(self) -> sqlite3.Connection:
        """This process's connection: one that was made before a fork must not be used after it."""
        if self._connection is None or self._owner != os.getpid():
            self._owner = os.getpid()
            Path(self._file).parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._file, timeout=_PATIENCE_SECONDS, check_same_thread=False)
            if not os.path.getsize(self._file):
                self._connection.execute(_TABLE)
        return self._connection


def default_store(source: str | Path) -> Path:
    """Where the packets of a list's videos are kept: ``train.csv``, ``train.index.csv`` -> ``train.packets.sqlite``."""
    path = Path(source)
    return path.with_name(f"{path.stem.removesuffix('.index')}.packets.sqlite")


def _key(path: str) -> str:
    return os.path.abspath(path)


def _stamp(path: str) -> str | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return f"{status.st_size} {status.st_mtime_ns}"


def _pack(known: Known) -> bytes:
    """A line of JSON, then compressed times and flags of all packets."""
    index = known.index
    head = {
        "format": _FORMAT,
        "container": index.container,
        "codec": index.codec,
        "orientation": astuple(known.orientation),
        "stored_size": known.stored_size,
        "colour": known.colour,
    }
    times = np.array([[_NO_TIME if time is None else time for time in packet[:2]] for packet in index.packets])
    flags = np.array([packet[2:] for packet in index.packets], dtype=np.uint8)
    steps = np.diff(times.astype(np.int64), axis=0, prepend=0)  # small numbers, which compress
    return json.dumps(head).encode() + b"\n" + zlib.compress(steps.tobytes() + flags.tobytes())


def _unpack(facts: bytes) -> Known | None:
    """None for an entry of another format."""
    line, packed = facts.split(b"\n", 1)
    head = json.loads(line)
    if head["format"] != _FORMAT:
        return None
    content = zlib.decompress(packed)
    count = len(content) // (2 * 8 + len(PacketFacts._fields) - 2)
    times = np.frombuffer(content, dtype=np.int64, count=2 * count).reshape(count, 2).cumsum(0).tolist()
    flags = np.frombuffer(content, dtype=np.bool_, offset=16 * count).reshape(count, -1).tolist()
    packets = [
        PacketFacts(*(None if time == _NO_TIME else time for time in pair), *flag)
        for pair, flag in zip(times, flags, strict=True)
    ]
    return Known(
        PacketIndex(packets, container=head["container"], codec=head["codec"]),
        Orientation(*head["orientation"]),
        tuple(head["stored_size"]),
        tuple(head["colour"]),
    )
