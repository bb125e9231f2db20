"""Writing where it may not be possible: a full disk or a folder of somebody else is one line, and found out first."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vidtok.errors import EnvironmentFault

_ONLY_WRITING = {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG}
_REFUSALS = _ONLY_WRITING | {
    errno.EACCES,
    errno.EPERM,
    errno.EEXIST,
    errno.EIO,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENODEV,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENXIO,
    errno.ESTALE,
    errno.ETXTBSY,
}
_PROBE_BYTES = 4096


def refusal(error: OSError) -> str | None:
    """The line that a failed read or write of a named file deserves; None for what is nobody's disk or rights.

    A full disk is told without a file too: ``write`` does not name the one it failed on.
    """
    if error.errno in _ONLY_WRITING:
        where = f" '{os.fsdecode(error.filename)}'" if isinstance(error.filename, str | bytes | os.PathLike) else ""
        return f"cannot write{where}: {os.strerror(error.errno)}"
    if error.errno in _REFUSALS and isinstance(error.filename, str | bytes | os.PathLike):
        return f"cannot use '{os.fsdecode(error.filename)}': {os.strerror(error.errno)}"
    return None


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """What fails inside on disk or rights is ``path``'s fault. Raises EnvironmentFault; bugs pass as they are."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.errno not in _REFUSALS:
            raise
        cause = str(error) if error.errno is None else os.strerror(error.errno)  # numpy gives no number
        raise EnvironmentFault(f"cannot write '{path}': {cause}") from error


def check_writable(folder: str | Path) -> None:
    """Try to write in a folder, or in what it will be made in, before any work. Raises EnvironmentFault."""
    place = Path(folder)
    with writing(folder):
        while not place.exists() and not place.is_symlink():
            place = place.parent
        with tempfile.NamedTemporaryFile(dir=place, prefix=".vidtok-") as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())


def check_writable_file(file: str | Path) -> None:
    """Try to write a file before any work; one that exists keeps its content. Raises EnvironmentFault."""
    file = Path(file)
    if not file.exists():
        check_writable(file.parent)
        return
    with writing(file), file.open("ab"):
        pass


def write_whole(file: Path, text: str) -> None:
    """Write UTF-8 text so that the file holds all of it or what it held before. Raises EnvironmentFault."""
    part = file.with_name(f".{file.name}.part")
    with writing(file):
        part.write_text(text, encoding="utf-8")
        os.replace(part, file)
