"""Looks at files before anything reads them: what they are, what they would unpack to, whether they are whole."""

import json
import pickle
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from vidtok.errors import WeightsError

MAX_RATIO, MAX_SMALL = 20, 2**26
"""A compressed archive may unpack to 20 times its size, or to 64 MiB. Trained weights shrink by a tenth."""
MAX_JSON = 2**26
"""Bytes of a JSON file: 64 MiB."""

_KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


UNREADABLE = (
    *(pickle.UnpicklingError, struct.error, EOFError, OSError, MemoryError),
    *(RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError),
)
"""What reading a damaged or hostile torch file may raise; each means that the file cannot be used."""


def file_size(path: Path) -> int:
    """Bytes of a regular file. Raises WeightsError for anything else: reading a pipe or a device need not end."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read: {_reason(error)}") from None
    if not stat.S_ISREG(found.st_mode):
        kind = next((kind for is_kind, kind in _KINDS.items() if is_kind(found.st_mode)), "no regular file")
        raise WeightsError(f"{path}: is {kind}; weights are read from regular files only")
    return found.st_size


def open_file(path: Path) -> BinaryIO:
    """A regular file, open for reading. Raises WeightsError."""
    file_size(path)
    try:
        return path.open("rb")
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {_reason(error)}") from None


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object. Raises WeightsError."""
    size = file_size(path)
    if size > MAX_JSON:
        raise WeightsError(f"{path}: {size} bytes of JSON, at most {MAX_JSON} are read")
    try:
        with open_file(path) as file:
            content = json.loads(file.read().decode("utf-8"))
    except RecursionError:
        raise WeightsError(f"{path}: not valid JSON: nested too deeply") from None
    except ValueError as error:  # not JSON, not UTF-8, or a number of thousands of digits
        raise WeightsError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not an object")
    return content


def is_zip(path: Path) -> bool:
    """Whether a regular file is a zip archive. Raises WeightsError when it is no regular file."""
    with open_file(path) as file:
        return zipfile.is_zipfile(file)


def member_names(path: Path) -> list[str]:
    """Names in a zip archive. Raises WeightsError."""
    return [member.filename for member in _members(path)]


def check_zip(path: Path, *, stored: bool) -> None:
    """Check an archive that torch or numpy wrote without unpacking more than it may hold: sizes, names and every CRC.

    Args:
        stored: nothing may be compressed, which torch never does; its tensors can then be mapped from the file.

    Raises:
        WeightsError: damaged, names that come twice or point elsewhere, contents far larger than the file.
    """
    size, members = file_size(path), _members(path)
    if stored and any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise WeightsError(f"{path}: refused, because it is compressed, which torch never does: no torch file")
    names = [member.filename for member in members]
    twice = next((name for name, after in zip(sorted(names), sorted(names)[1:], strict=False) if name == after), None)
    if twice is not None:
        raise WeightsError(f"{path}: refused, because it holds '{twice}' twice")
    outside = next((name for name in names if name.startswith("/") or ".." in name.split("/") or "\\" in name), None)
    if outside is not None:
        raise WeightsError(f"{path}: refused, because it holds '{outside}', a name that leaves the archive")
    _check_sizes(path, size, members)
    _check_contents(path)


def _members(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: damaged or incomplete: {error}") from None


def _check_sizes(path: Path, size: int, members: list[zipfile.ZipInfo]) -> None:
    stored = [member for member in members if member.compress_type == zipfile.ZIP_STORED]
    claimed = sum(member.file_size for member in members)
    is_plain = len(stored) == len(members)
    allowed = size if is_plain else max(MAX_SMALL, MAX_RATIO * size)
    if claimed > allowed or any(member.file_size != member.compress_size for member in stored):
        raise WeightsError(
            f"{path}: refused, because its {size} bytes claim to hold {claimed}: damaged, or made to harm"
        )


def _check_contents(path: Path) -> None:
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: damaged or incomplete: {error}") from None
    if bad is not None:
        raise WeightsError(f"{path}: damaged: the checksum of '{bad}' is wrong; copy or download the file again")


def refusal(error: BaseException) -> str:
    """Why a torch file was not read, in our words: torch's own message advises to let it run code."""
    wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
    if wanted:
        return f"it would run or make '{wanted[1]}', and only tensors and plain values are loaded"
    if isinstance(error, pickle.UnpicklingError):
        return "it is damaged or no plain torch file: only tensors and plain values are loaded"
    return first_line(error)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
