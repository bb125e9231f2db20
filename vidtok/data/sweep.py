"""The same work on many files, in processes that no single file can stop, and not again where it was done.

A file that hangs, crashes or fills the memory of its process costs that process only: it is replaced and the file
gets the cause. Finished files are written down at once, so an interrupted sweep goes on where it stopped.
"""

import faulthandler
import json
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from vidtok.errors import DataError, EnvironmentFault
from vidtok.text import to_json

Record = dict[str, Any]
"""What is known of a file after the work: plain values that JSON can hold."""

Work = Callable[[str], Record]
"""Done on one path in another process: a function of a module, or a functools.partial of one. Raises DataError,
with one line that starts with the path, where the file is at fault."""

_GRACE_SECONDS = 2.0
"""Work that keeps its own deadline is given so long to say so before its process is ended."""

_RESERVE_SECONDS = 10.0
"""A process whose parent is gone ends itself so long after it should have been ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one file may cost."""

    seconds: float = 300.0
    memory_bytes: int = 4 * 2**30
    """Address space of a process beyond what it has before the first file. Kept on Linux only."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one file."""

    path: str
    record: Record | None
    """What the work returned; None where it failed."""
    cause: str | None = None
    """Why it failed: one line that starts with the path."""
    is_new: bool = True
    """False when an earlier sweep did the work."""


class Ledger:
    """Records of finished files, a line of JSON each, kept between sweeps.

    A record counts as long as the file has the size and the modification time that it had before the work.
    Failures are not kept: what was wrong may have been mended, in the file or around it.

    Args:
        file: where to keep them; made when needed. A line that was cut off by a crash is passed over.
        task: names the work and its settings; records of other tasks in the same file are left alone.
    """

    def __init__(self, file: Path, task: str) -> None:
        self._file = file
        self._task = task
        self._entries: dict[str, tuple[list[int], Record]] = {}
        self._is_torn = False
        if file.is_file():
            self._read(file.read_text(encoding="utf-8", errors="replace"))

    def find(self, path: str, file: str | None = None) -> Record | None:
        """The record of a file that has not changed since, or of a part ``path`` of one; None when there is none."""
        stamp, record = self._entries.get(os.path.abspath(path), (None, None))
        return record if stamp is not None and stamp == file_stamp(file or path) else None

    def add(self, path: str, stamp: list[int], record: Record) -> None:
        """Keep a record. ``stamp`` is :func:`file_stamp` of the file before the work."""
        place = os.path.abspath(path)
        self._entries[place] = stamp, record
        line = to_json({"task": self._task, "path": place, "stamp": stamp, "record": record})
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write("\n" * self._is_torn + line + "\n")
        self._is_torn = False

    def _read(self, text: str) -> None:
        self._is_torn = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(entry, dict) and entry.get("task") == self._task:
                self._entries[entry["path"]] = entry["stamp"], entry["record"]


def file_stamp(path: str) -> list[int] | None:
    """[size in bytes, modification time in ns], by which a file is known to be the same; None if there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def sweep(
    work: Work,
    paths: Sequence[str],
    *,
    workers: int,
    limits: Limits,
    ledger: Ledger | None = None,
    is_valid: Callable[[str, Record], bool] = lambda path, record: True,
    file_of: Callable[[str], str] = str,
) -> Iterator[Outcome]:
    """Do the work on every file and yield the outcomes, each as soon as it is known.

    Files that the ledger knows come first. Closing the iterator, or an interrupt, ends the processes at once.

    Args:
        work: see :data:`Work`.
        paths: the files; one that is named twice is done once.
        workers: processes at a time, at least 1. They are spawned: forking a process that has threads can hang.
        limits: time and memory of one file.
        ledger: records of earlier sweeps; new ones are added.
        is_valid: whether a record of the ledger still holds, given its path and itself.
        file_of: the file that a path lies in, where paths name parts of files.

    Raises:
        EnvironmentFault: processes cannot be started.
    """
    pending: deque[str] = deque()
    for path in dict.fromkeys(paths):
        record = ledger.find(path, file_of(path)) if ledger is not None else None
        if record is not None and is_valid(path, record):
            yield Outcome(path, record, is_new=False)
        else:
            pending.append(path)
    crew = [_Worker(work, limits) for _ in range(min(workers, len(pending)))]
    try:
        while pending or any(worker.is_busy for worker in crew):
            for worker in crew:
                if pending and not worker.is_busy:
                    worker.give(pending[0], file_of(pending.popleft()))
            for worker in _first_done([worker for worker in crew if worker.is_busy]):
                stamp, outcome = worker.take()
                if ledger is not None and outcome.record is not None and stamp is not None:
                    ledger.add(outcome.path, stamp, outcome.record)
                yield outcome
    finally:
        for worker in crew:
            worker.end()


def _first_done(busy: list["_Worker"]) -> list["_Worker"]:
    """Wait until one or more have an answer, died or are overdue, and return those."""
    patience = max(0.0, min(worker.due for worker in busy) - time.monotonic())
    answered = wait([worker.pipe for worker in busy], timeout=patience)
    return [worker for worker in busy if worker.pipe in answered or worker.due <= time.monotonic()]


class _Worker:
    """One process at a time, replaced when it dies or is overdue, and the file that it works on."""

    def __init__(self, work: Work, limits: Limits) -> None:
        self._work = work
        self._limits = limits
        self._path: str | None = None
        self._stamp: list[int] | None = None
        self.due = 0.0
        """When the present file is given up, on the monotonic clock."""
        self._is_ready = False
        self._start()

    @property
    def is_busy(self) -> bool:
        return self._path is not None

    def give(self, path: str, file: str) -> None:
        """Begin with a file, or the part ``path`` of one."""
        if not self._process.is_alive():
            self._start()
        self._await_ready()
        self._path, self._stamp = path, file_stamp(file)
        self.due = time.monotonic() + self._limits.seconds + _GRACE_SECONDS
        self.pipe.send(path)

    def take(self) -> tuple[list[int] | None, Outcome]:
        """What came of the file, after :func:`_first_done` said that there is something."""
        assert self._path is not None
        path, self._path = self._path, None
        if not self.pipe.poll():
            self.end()
            return None, Outcome(path, None, _overdue(path, self._limits.seconds))
        try:
            record, cause = self.pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join(_GRACE_SECONDS)  # so that the code is its own and not that of being ended
            self.end()
            return None, Outcome(path, None, _death(path, self._process.exitcode))
        return self._stamp, Outcome(path, record, cause)

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._work, self._limits, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._is_ready = False

    def _await_ready(self) -> None:
        """Wait for the imports of a new process, which must not count as time of its first file."""
        if self._is_ready:
            return
        try:
            self._is_ready = self.pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise EnvironmentFault(
                f"a worker process ended with code {self._process.exitcode} before its first file; see its error "
                "above; is there enough memory, and is the calling script guarded by if __name__ == '__main__'?"
            ) from None


def _serve(work: Work, limits: Limits, pipe: Connection) -> None:
    """The life of a process: files in, records or causes out, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what ends
    _limit_memory(limits.memory_bytes)
    with open(os.devnull, "w") as nowhere:
        pipe.send(True)
        while True:
            try:
                path = pipe.recv()
            except (EOFError, ConnectionError):
                return
            faulthandler.dump_traceback_later(limits.seconds + _RESERVE_SECONDS, exit=True, file=nowhere)
            answer = _attempt(work, path, limits)
            faulthandler.cancel_dump_traceback_later()
            pipe.send(answer)


def _attempt(work: Work, path: str, limits: Limits) -> tuple[Record | None, str | None]:
    try:
        return work(path), None
    except DataError as error:
        return None, str(error)
    except MemoryError:
        return None, (
            f"{path}: needs more than {limits.memory_bytes / 2**30:.1f} GiB of memory; "
            "re-encode it smaller or leave it out"
        )


def _limit_memory(num_bytes: int) -> None:
    """Let this process take so much more address space than it has now, where the system can tell and keep that."""
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        return
    import resource  # not on Windows

    used = int(statm.read_text().split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = used + num_bytes if most == resource.RLIM_INFINITY else min(used + num_bytes, most)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, most))


def _overdue(path: str, seconds: float) -> str:
    return f"{path}: not done within {seconds:g} s, its decoder hangs or is slow; re-encode it, or allow more time"


def _death(path: str, code: int | None) -> str:
    """The cause when the process died."""
    by = f"exit code {code}"
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        by = f"{name}, out of memory?" if name == "SIGKILL" else name
    return f"{path}: crashed the process that read it ({by}); re-encode the file or leave it out"
