"""Standard streams in odd surroundings: closed ones, narrow encodings, readers that leave early, signals."""

import codecs
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from vidtok.text import escaped

READER_LEFT = 141
"""128 + SIGPIPE: the exit code of every Unix tool whose reader (``| head``) has seen enough."""

_ESCAPE = "vidtok.escape"


def mend_streams() -> None:
    """Make every text printable and every file name readable, whatever the locale; give a closed stream a null device.

    What stdout cannot encode is written as an escape that JSON reads back. Names that are not UTF-8 come from stdin as
    they come from the command line, so that files are found.
    """
    codecs.register_error(_ESCAPE, _escape)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # in the order of their numbers
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # takes the lowest number, that of the closed stream
            setattr(sys, name, open(null, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, _ESCAPE), (sys.stderr, _ESCAPE)):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _escape(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return escaped(error.object[error.start : error.end]), error.end


@contextmanager
def whole_output() -> Iterator[None]:
    """Write out everything at the end. A reader that has left ends the command without a word, with its own code."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        let_go_of_stdout()
        sys.exit(READER_LEFT)
    except SystemExit as stop:  # the command line turns a broken pipe into an exit of its own
        if isinstance(stop.__context__, BrokenPipeError):
            let_go_of_stdout()
            sys.exit(READER_LEFT)
        raise


def let_go_of_stdout() -> None:
    """Leave nothing that the interpreter would try to write at its end, where it would change the exit code."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that what is open is closed."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
