"""The child process that reads videos for a parent: see :mod:`vidtok.data.decode.isolated`.

It answers pickled requests on stdin with pickled replies on stdout, frames following as raw bytes. It ends when stdin
does. Whatever kills it kills no more than the video at hand.
"""

import ctypes
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from vidtok.data.decode.info import VideoInfo
from vidtok.errors import DecodeError, VidtokError

_TRIM_EVERY = 64
"""Files. torchcodec leaves holes in glibc's heap, 40 KiB for each file, until the free memory is asked back."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the child says to a request; pixels follow when there is a shape."""

    name: str = ""
    fallback: str | None = None
    info: VideoInfo | None = None
    """None where it has not changed since the last reply."""
    shape: tuple[int, ...] | None = None
    error: Exception | None = None
    cpu_seconds: float = 0.0
    """Processor time of the child until now."""


@dataclass(frozen=True, slots=True)
class Open:
    engine: Callable[..., Any]
    path: str
    folder: str
    """That the path is relative to."""
    options: dict[str, Any]
    """Deadline and limits."""


@dataclass(frozen=True, slots=True)
class Read:
    indices: np.ndarray
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Close:
    pass


Request = Open | Read | Close


class _Session:
    """The reader that is open, if any, and what the parent knows of it."""

    def __init__(self) -> None:
        self._reader: Any = None
        self._path = ""
        self._known_info: VideoInfo | None = None
        self._num_closed = 0

    def answer(self, request: Request) -> tuple[Reply, np.ndarray | None]:
        frames, error = None, None
        try:
            frames = self._do(request)
        except (VidtokError, IndexError, ValueError) as raised:
            error = raised.with_traceback(None)
        except MemoryError:
            error = DecodeError(
                f"{self._path}: its frames need more memory than there is; re-encode it smaller or leave it out"
            )
        if self._reader is None:
            return Reply(error=error, cpu_seconds=time.process_time()), None
        known, self._known_info = self._known_info, self._reader.info
        info = None if known is self._known_info else self._known_info
        shape = None if frames is None else frames.shape
        return Reply(self._reader.name, self._reader.fallback, info, shape, error, time.process_time()), frames

    def _do(self, request: Request) -> np.ndarray | None:
        if isinstance(request, Open):
            os.chdir(request.folder)
            self._path = request.path
            self._reader = request.engine(request.path, **request.options)
        elif isinstance(request, Read):
            return np.ascontiguousarray(self._reader.read(request.indices, **request.options))
        elif self._reader is not None:
            self._reader.close()
            self._reader = self._known_info = None
            self._num_closed += 1
            if self._num_closed % _TRIM_EVERY == 0:
                _return_free_memory()
        return None


def _return_free_memory() -> None:
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
        if trim is not None:
            trim(0)


def serve() -> None:
    """Answer requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    requests, replies = sys.stdin.buffer, _private_stdout()
    session = _Session()
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        reply, frames = session.answer(request)
        pickle.dump(reply, replies)
        if frames is not None:
            replies.write(frames.data)
        replies.flush()


def _private_stdout() -> BinaryIO:
    """Stdout for replies alone: what native code prints goes to stderr."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies
