"""What names a file and what names something else: cameras, streams, pages."""

import os
import re

from vidtok.errors import DataError

_STREAM = re.compile(r"[a-z][a-z0-9+.-]*://.*|/dev/video[0-9]+|(camera|webcam)(:[0-9]+)?|[0-9]{1,2}", re.IGNORECASE)


def check_file_name(text: str) -> None:
    """Say of an address or a camera that it is none of the things that are read: files on this machine.

    Raises:
        DataError: the text cannot be the name of a file, or names a stream and no file has that name.
    """
    if "\0" in text:
        raise DataError(f"{text}: no file name has a NUL character; write one path a line")
    is_stream = _STREAM.fullmatch(text) is not None
    if is_stream and (text.startswith("/dev/") or not os.path.exists(text)):
        raise DataError(
            f"{text}: streams, cameras and web addresses are not read, only files: record pieces, "
            f"as `ffmpeg -i {text} -f segment -segment_time 10 -reset_timestamps 1 piece%04d.mp4` does, and name those"
        )
