"""Reading in a child process, so that native code that hangs or crashes costs one video and not the run.

A hang in native code may hold Python's lock, so no thread of this process can end it; and loader workers may not
fork. A child started afresh can be killed at the deadline. Starting it takes a moment, so it then serves file after
file: idle ones wait in a list, one for each reader that was open at the same time.
"""

import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import numpy as np

from vidtok.data.decode.helper import Close, Open, Read, Reply, Request
from vidtok.data.decode.info import DEADLINE_SECONDS, PixelFormat, VideoInfo, late
from vidtok.data.decode.limits import DEFAULT_LIMITS, DecodeLimits
from vidtok.errors import DecodeError

_GRACE_SECONDS = 1.0
"""How much later than a reader's own deadline its process is killed: its own error says more."""

_START_SECONDS = 60.0
"""Longest time that a process may take for its first answer on top: it imports the engine."""

_PIPE_BYTES = 1 << 20

_F_SETPIPE_SZ = 1031
"""Linux: resize a pipe. Its 64 KiB would mean a switch between processes for a fifth of each picture."""


class _Lost(Exception):
    """The process ended while it was asked something."""


class Helper:
    """One child process. Not for two threads at a time."""

    def __init__(self) -> None:
        # The same search path, as multiprocessing does it: whatever this process can import, so can the child.
        code = f"import sys; sys.path[:] = {sys.path!r}; from vidtok.data.decode.helper import serve; serve()"
        self._process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._is_new = True
        self.cpu_seconds = 0.0
        self._owner = os.getpid()
        self._end = weakref.finalize(self, _end, self._process, self._owner)
        _widen(self._process.stdout.fileno())

    @property
    def is_own(self) -> bool:
        """False in a fork of the process that started it."""
        return self._owner == os.getpid()

    def ask(self, request: Request, *, seconds: float) -> tuple[Reply, np.ndarray | None]:
        """Send a request and wait for the reply; the process is killed when it does not come in time.

        Raises:
            _Lost: the process ended, by itself or at the deadline; the text says which.
        """
        has_hung = threading.Event()
        timer = threading.Timer(seconds + self._is_new * _START_SECONDS, self._kill, [has_hung])
        timer.start()
        try:
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()
            reply: Reply = pickle.load(self._process.stdout)
            frames = None if reply.shape is None else self._receive(reply.shape)
        except (EOFError, OSError, pickle.UnpicklingError):
            raise _Lost("" if has_hung.is_set() else self._cause_of_death()) from None
        finally:
            timer.cancel()
        self._is_new, self.cpu_seconds = False, reply.cpu_seconds
        return reply, frames

    def end(self) -> None:
        """Kill the process."""
        self._end()

    def _kill(self, has_hung: threading.Event) -> None:
        has_hung.set()
        self._process.kill()

    def _receive(self, shape: tuple[int, ...]) -> np.ndarray:
        frames = np.empty(shape, dtype=np.uint8)
        left = memoryview(frames).cast("B") if frames.size else memoryview(b"")
        while left:
            received = self._process.stdout.readinto(left)
            if not received:
                raise EOFError
            left = left[received:]
        return frames

    def _cause_of_death(self) -> str:
        code = self._process.wait()
        if code == 1:
            raise RuntimeError("the decoding process failed; its traceback is above")
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def _end(process: subprocess.Popen, owner: int) -> None:
    if owner == os.getpid():
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # a request that was never taken
                pipe.close()


def _widen(pipe: int) -> None:
    if sys.platform == "linux":
        import fcntl

        try:
            fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:  # over the user's quota of pipe memory: slower, not wrong
            return


_idle: deque[Helper] = deque()


def child_seconds() -> float:
    """Processor time of the idle processes until their last reply."""
    return sum(helper.cpu_seconds for helper in _idle)


def _take() -> Helper:
    while _idle:
        helper = _idle.pop()
        if helper.is_own:
            return helper
    return Helper()


class IsolatedReader:
    """A reader of any engine in a process of its own. Implements :class:`vidtok.data.decode.Reader`.

    Args:
        engine: makes the reader; picklable, so a class or function at the top of a module.
        path: the video.
        deadline_seconds: longest time that opening, and each read, may take, whatever native code does.
        limits: what the file may cost.

    Raises:
        DecodeError: as the engine does; also when it crashes, or is killed at the deadline.
        EnvironmentFault: as the engine does.
    """

    def __init__(
        self,
        engine: Callable[..., object],
        path: str | os.PathLike[str],
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        limits: DecodeLimits = DEFAULT_LIMITS,
    ) -> None:
        self._path = os.fspath(path)
        self._deadline_seconds = deadline_seconds
        self._helper: Helper | None = _take()
        self._state = Reply()
        self.info: VideoInfo
        try:
            options = {"deadline_seconds": deadline_seconds, "limits": limits}
            self._ask(Open(engine, self._path, os.getcwd(), options))
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The engine that reads this file."""
        return self._state.name

    @property
    def fallback(self) -> str | None:
        """Why it is not the engine asked for."""
        return self._state.fallback

    def read(
        self,
        indices: np.ndarray,
        *,
        short_side: int | None = None,
        verify: bool = False,
        pixel_format: PixelFormat = "rgb",
    ) -> np.ndarray:
        """Read frames; see :meth:`vidtok.data.decode.Reader.read`."""
        options = {"short_side": short_side, "verify": verify, "pixel_format": pixel_format}
        frames = self._ask(Read(np.asarray(indices), options))
        assert frames is not None
        return frames

    def close(self) -> None:
        """Release the file and give the process back; no read may follow."""
        if self._helper is None:
            return
        try:
            self._ask(Close())
        except DecodeError:
            return  # the process is gone, and the file with it
        helper, self._helper = self._helper, None
        _idle.append(helper)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: Request) -> np.ndarray | None:
        if self._helper is None:
            raise DecodeError(f"{self._path}: its decoder was lost before; open it again")
        try:
            reply, frames = self._helper.ask(request, seconds=self._deadline_seconds + _GRACE_SECONDS)
        except BaseException as error:
            self._helper.end()  # also after Ctrl-C: half a reply may be on its way
            self._helper = None
            if isinstance(error, _Lost):
                raise self._loss(str(error)) from None
            raise
        self._state = reply
        if reply.info is not None:
            self.info = reply.info
        if reply.error is not None:
            raise reply.error
        return frames

    def _loss(self, cause: str) -> DecodeError:
        if not cause:
            return late(self._path, self._deadline_seconds)
        return DecodeError(
            f"{self._path}: crashed its decoder ({cause}); re-encode the file (ffmpeg -i IN OUT.mp4) or leave it out"
        )
