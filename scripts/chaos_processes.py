"""Processes that are interrupted, watched, and cleaned up after (see chaos_training.py)."""

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TextIO

HANG_SECONDS, ORPHAN_SECONDS = 300.0, 45.0


class Broken(Exception):
    """Something that must not happen, in one line."""


@dataclass
class Ended:
    """A process that ended."""

    code: int
    stdout: str
    stderr: str
    signalled: bool = False
    seconds: float | None = None


def spawn(arguments: list[str], stdout: TextIO, stderr: TextIO, limit: Callable[[], None]) -> "subprocess.Popen[bytes]":
    """The command in a new process and session."""
    return subprocess.Popen(
        [sys.executable, "-m", "vidtok", *arguments], stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL,
        start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, preexec_fn=limit,
    )  # fmt: skip


def become_vidtok(arguments: Sequence[str], stdout: int, stderr: int) -> NoReturn:
    """The life of a forked child: the command. Whatever happens, the parent's code does not go on twice."""
    from vidtok.cli import main

    code = 1
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
            os.dup2(source, target)
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        sys.argv = ["vidtok", *arguments]
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class Forked:
    """The command in a child of this process, in a session of its own; the parts of Popen that are used here."""

    def __init__(self, arguments: list[str], stdout: TextIO, stderr: TextIO, limit: Callable[[], None]) -> None:
        import torch

        import vidtok.engine.fit  # noqa: F401 (imported once, here)

        torch.set_num_threads(1)
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        os.setsid()
        limit()
        become_vidtok(arguments, stdout.fileno(), stderr.fileno())

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


Process = Forked | subprocess.Popen[bytes]


@dataclass
class Interrupt:
    """Sends a signal some time after a line of stderr."""

    kind: str
    line: str
    delay: float

    def send(self, pid: int) -> None:
        if self.kind == "SIGTERM to the group":
            os.killpg(pid, signal.SIGTERM)
        else:
            os.kill(pid, {"kill -9": signal.SIGKILL, "SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM}[self.kind])


def watch(process: Process, log: Path, interrupt: Interrupt | None) -> tuple[bool, float | None]:
    """Wait for the end and signal on the way; whether it was signalled, and the seconds from there to the end."""
    limit = time.monotonic() + HANG_SECONDS
    seen_at = sent_at = None
    while process.poll() is None:
        now = time.monotonic()
        if now > limit:
            raise Broken(f"hangs: {log.read_text().splitlines()[-1:]}")
        if interrupt is not None and sent_at is None:
            if seen_at is None and any(line.startswith(interrupt.line) for line in log.read_text().splitlines()):
                seen_at = now
            if seen_at is not None and now >= seen_at + interrupt.delay:
                interrupt.send(process.pid)
                sent_at = now
        time.sleep(0.002)
    return sent_at is not None, None if sent_at is None else time.monotonic() - sent_at


def clean_up(session: int) -> None:
    """Wait until the other processes of a training have ended by themselves. Raises Broken when they do not."""
    limit = time.monotonic() + ORPHAN_SECONDS
    while members := list(session_members(session)):
        if time.monotonic() > limit:
            for pid in members:
                os.kill(pid, signal.SIGKILL)
            raise Broken(f"{len(members)} processes outlive the training")
        time.sleep(0.05)


def session_members(session: int) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, _, _, sid = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(sid) == session and state != "Z":
                yield int(folder.name)
