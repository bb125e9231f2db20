"""Which containers are read, and what a file that is none of them looks like.

FFmpeg goes by content: a text that begins as a playlist makes it open the files, or the addresses, that the text
names. So every opening says which containers it takes and that nothing but the file itself may be opened.
"""

import codecs
from contextlib import suppress

_VIDEO = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "mpeg", "asf", "flv", "ogg", "gif", "apng", "nut",
    "mxf", "rm", "dv", "ivf", "h264", "hevc", "vvc", "mpegvideo", "m4v", "mjpeg", "av1", "obu",
)  # fmt: skip
"""FFmpeg's names of the containers, and of the streams without one, that hold their own pictures."""

_SOUND = ("mp3", "wav", "aac", "flac")
"""Read only to say that there is no video in them."""

OPTIONS = {"format_whitelist": ",".join(_VIDEO + _SOUND), "protocol_whitelist": "file"}
"""For FFmpeg's ``avformat_open_input``."""

_HEAD_BYTES = 1024
_PLAYLIST_STARTS = ("ffconcat", "#extm3u", "v=0", "rtsptext", "[reference]", "[playlist]", "<asx", "<smil")
_PLAYLIST_TAGS = ("<mpd", "<smoothstreamingmedia", "<playlist", "<manifest")
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\0", b"MM\0*", b"%!PS", b"8BPS")


def appearance(path: str) -> str | None:
    """What a file that is no video container looks like: a playlist, a text file, a picture; None: no idea."""
    head = b""
    with suppress(OSError), open(path, "rb") as stream:
        head = stream.read(_HEAD_BYTES)
    text = _text(head)
    if text is not None:
        start = text.lstrip().lower()
        is_playlist = start.startswith(_PLAYLIST_STARTS) or any(tag in start for tag in _PLAYLIST_TAGS)
        return "a playlist" if is_playlist else "a text file"
    is_webp = head.startswith(b"RIFF") and head[8:12] == b"WEBP"
    return "a picture" if is_webp or head.startswith(_PICTURES) else None


def _text(head: bytes) -> str | None:
    """The beginning of a text file; None when these bytes are no text."""
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return None
    return text if all(sign.isprintable() or sign.isspace() for sign in text) and text else None
