"""SIGINT and SIGTERM in a training: answered at the end of its step, at once everywhere else, and never in vain.

Where a step is under way the first signal only asks, and the training answers at the step's end (``boundaries.py``).
Elsewhere, and at the second signal, the main thread leaves by an exception. A thread of our own sees to it that it
does: a process that waits inside C code (for another process, for a disk) runs no signal handlers, and libraries
swallow exceptions.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from vidtok.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)
REPEAT_SECONDS = 0.1
"""Signals within this time are one: a process group, a shell and a launcher may each send the same."""
LEAVE_SECONDS, LEAVE_AGAIN_SECONDS = 5.0, 2.0
"""How long the main thread may take to leave after the first and after the second signal."""
_POLL_SECONDS, _FOLLOW_SECONDS = 0.5, 30.0
_STARTER = "VIDTOK_STARTED_BY"
_STOP = b"\0"


class _Leave(BaseException):
    """Carries the main thread out of ``fit``; no ``except Exception`` on its way may stop it."""


class _Count:
    """Counts signals, those that come together as one."""

    def __init__(self) -> None:
        self.number, self._last = 0, float("-inf")

    def add(self) -> int:
        now = time.monotonic()
        if now - self._last > REPEAT_SECONDS:
            self.number += 1
        self._last = now
        return self.number


class Interruption:
    """Whether somebody wants the training to end, and what is done about it.

    Attributes:
        is_deferred: a step is under way: the first signal waits for its end.
        where: what is going on, for the message.
        newest: finds the checkpoint that a message names; None when there is none.
        pass_on: sends a signal to the processes that this one started; None when there are none.
    """

    def __init__(self) -> None:
        self.is_deferred = False
        self.where = "before the first step"
        self.newest: Callable[[], Path | None] = lambda: None
        self.pass_on: Callable[[int], None] | None = None
        self._handled, self._arrived = _Count(), _Count()
        self._leave_by = float("inf")
        self._parent = int(os.environ.get(_STARTER, os.getppid())) if _is_started_rank() else None
        self._is_listening = self._was_swallowed = self._is_resending = False

    @property
    def is_requested(self) -> bool:
        """True after the first signal."""
        return self._handled.number > 0

    def error(self, where: str | None = None) -> Interrupted:
        """What is told to the user."""
        newest = self.newest()
        way_on = f"continue with the same command and --resume {newest}" if newest else "there is no checkpoint yet"
        return Interrupted(f"interrupted {where or self.where}; {way_on}")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Answer signals until the end of the block; the handlers before it are put back.

        Only the main thread of a process can: elsewhere signals remain what they were.

        Raises:
            Interrupted: a signal came where nothing had to be finished first.
        """
        can_listen = threading.current_thread() is threading.main_thread()
        try:
            with self._handlers() if can_listen else nullcontext():
                yield
        except (_Leave, Interrupted) as reason:
            if self._parent is not None:
                self._follow()
            raise (self.error() if isinstance(reason, _Leave) else reason) from None

    @contextmanager
    def at_once(self, where: str) -> Iterator[None]:
        """A block that nothing is lost by leaving: a signal ends it, also one that came before."""
        was_deferred, self.is_deferred = self.is_deferred, False
        was_where, self.where = self.where, where
        if self.is_requested:
            raise _Leave
        yield
        self.is_deferred, self.where = was_deferred, was_where

    def install(self) -> None:
        """Take the signals, also from whoever took them since: Lightning's handler waits for other processes."""
        if self._is_listening:
            for signum in SIGNALS:
                signal.signal(signum, self._on_signal)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def before_starting_ranks(self) -> None:
        """Until the next :meth:`install`, processes begin deaf: a signal waits until they can answer it as this one.

        Here the thread hears in the meantime.
        """
        if self._is_listening:
            os.environ[_STARTER] = str(os.getpid())
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    @contextmanager
    def _handlers(self) -> Iterator[None]:
        before = {signum: signal.getsignal(signum) for signum in SIGNALS}
        pid, (reader, writer) = os.getpid(), os.pipe()
        os.set_blocking(writer, False)
        self._pid, self._is_listening = pid, True
        wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        unraisable = sys.unraisablehook
        sys.unraisablehook = lambda lost: self._note_swallowed() if lost.exc_type is _Leave else unraisable(lost)
        watcher = threading.Thread(target=self._watch, args=(reader,), name="vidtok-signals", daemon=True)
        watcher.start()
        try:
            self.install()
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            self._is_listening = False
            signal.set_wakeup_fd(wakeup)
            sys.unraisablehook = unraisable
            for signum, handler in before.items():
                signal.signal(signum, signal.SIG_DFL if handler is None else handler)
            os.write(writer, _STOP)  # closing is not enough: forked workers hold the pipe as well
            watcher.join()
            os.close(writer)
            os.close(reader)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        """The main thread's part, which runs only between two of its Python instructions."""
        if os.getpid() != self._pid or not (self._is_resending or self._must_leave(self._handled)):
            return
        if _is_starting_workers(frame):
            self._note_swallowed()
            return
        if self.pass_on is not None:
            self.pass_on(signum)
        raise _Leave

    def _note_swallowed(self) -> None:
        """This is a place that no exception gets out of, such as a destructor; the signal is sent again."""
        self._was_swallowed = True

    def _must_leave(self, count: _Count) -> bool:
        again = count.add() > 1
        if again:
            self.where = "a second time, in the middle of a step" if self.is_deferred else self.where
        return again or not self.is_deferred

    def _watch(self, reader: int) -> None:
        """The thread: says that a signal was heard, and ends the process when the main thread does not."""
        while True:
            if select.select([reader], [], [], _POLL_SECONDS)[0]:
                received = os.read(reader, 64)
                if _STOP in received:
                    return
                if any(signum in received for signum in SIGNALS):
                    self._hear()
            if self._was_swallowed:
                self._was_swallowed, self._is_resending = False, True
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            if time.monotonic() > self._leave_by or (self._parent is not None and os.getppid() != self._parent):
                self._end()

    def _hear(self) -> None:
        if self._is_resending:
            self._is_resending = False
        elif self._must_leave(self._arrived):
            seconds = LEAVE_AGAIN_SECONDS if self._arrived.number > 1 else LEAVE_SECONDS
            self._leave_by = min(self._leave_by, time.monotonic() + seconds)
        elif self._parent is None and self._arrived.number == 1:
            print("interrupted: finishing this step and writing a checkpoint ...", file=sys.stderr, flush=True)

    def _end(self) -> NoReturn:
        """Leave without the main thread."""
        if self._parent is None:
            os.write(2, f"error: {self.error()}\n".encode(errors="replace"))
        os._exit(Interrupted.exit_code)

    def _follow(self) -> NoReturn:
        """End after the process that started this rank, which speaks for it and would be killed if this ended first."""
        limit = time.monotonic() + _FOLLOW_SECONDS
        while os.getppid() == self._parent and time.monotonic() < limit:
            with suppress(_Leave):
                time.sleep(_POLL_SECONDS / 5)
        os._exit(Interrupted.exit_code)


def _is_starting_workers(frame: FrameType | None) -> bool:
    """Whether a loader's iterator is being made: half of one cannot be torn down."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__init__" and code.co_filename.endswith("torch/utils/data/dataloader.py"):
            return True
        frame = frame.f_back
    return False


def _is_started_rank() -> bool:
    """Whether another training process started this one as a further rank."""
    return os.environ.get("LOCAL_RANK", "0") != "0" and "TORCHELASTIC_RUN_ID" not in os.environ
