"""What names a file and what names something else: cameras, streams, pages."""

import os
import re

from vidtok.errors import DataError

_STREAM = re.compile(r"[a-z][a-z0-9+.-]*://.*|/dev/video[0-9]+|(camera|webcam)(:[0-9]+)?|[0-9]{1,2}", re.IGNORECASE)

_CREDENTIALS = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/@]*@", re.IGNORECASE)
"""A user's name and password in an address: messages end up in logs."""


def check_file_name(text: str) -> None:
    """Say of an address or a camera that it is none of the things that are read: files on this machine.

    Raises:
        DataError: the text cannot be the name of a file, or names a stream and no file has that name.
    """
    if "\0" in text:
        raise DataError(f"{text}: no file name has a NUL character; write one path a line")
    is_stream = _STREAM.fullmatch(text) is not None
    if is_stream and (text.startswith("/dev/") or not os.path.exists(text)):
        shown = _CREDENTIALS.sub(r"\1", text)
        raise DataError(
            f"{shown}: streams, cameras and web addresses are not read, only files: record pieces, as "
            f"`ffmpeg -i {_as_ffmpeg_names_it(shown)} -f segment -segment_time 10 -reset_timestamps 1 piece%04d.mp4` "
            "does, and name those"
        )


def _as_ffmpeg_names_it(text: str) -> str:
    """``camera:1`` and ``1`` are ``/dev/video1``."""
    number = re.fullmatch(r"(?:(?:camera|webcam):?)?([0-9]*)", text, re.IGNORECASE)
    return text if number is None else f"/dev/video{number[1] or 0}"
