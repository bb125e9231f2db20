"""One open video file: its packets, where they start, and the decoder, with errors told in one line."""

import errno
import os
import stat
from collections.abc import Iterator

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidtok.data.decode.boxes import check_tables
from vidtok.data.decode.containers import OPTIONS, appearance
from vidtok.data.decode.info import Deadline
from vidtok.data.decode.limits import DEFAULT_LIMITS, DecodeLimits
from vidtok.errors import DecodeError

_MOST_PADDING = 64 * 2**16
"""Pixels that FFmpeg counts on top, as it rounds the width up to a multiple of 64."""

_SEEKING_BY_DTS = ("mpegts", "mpeg")
"""Containers that seek to any packet, by decoding time. In mp4, a seek to it goes back one key packet too many."""

_DEFAULT_RATE = 25.0
"""Frames per second where neither the container nor the frames say any that can be."""

_LEAST_RATE, _MOST_RATE = 1 / 3600, 100_000
"""A frame an hour, and what high-speed cameras do."""


class VideoSource:
    """Packets and frames of the first video stream of a file.

    Attributes:
        path: the file, as the caller named it.
        deadline: checked at every packet; a caller may replace it.
        is_damaged: True once the container or the decoder refused something, until the next :meth:`restart`.

    Raises:
        DecodeError: the file cannot be opened, has no video stream, its codec has no decoder, or its pictures are
            larger than ``limits`` allow.
    """

    def __init__(self, path: str, deadline: Deadline, limits: DecodeLimits = DEFAULT_LIMITS) -> None:
        self.path = path
        self.deadline = deadline
        self._limits = limits
        self.is_damaged = False
        self._container: InputContainer | None = None
        self._stream: VideoStream
        check_file(path)
        check_tables(path)
        self.restart()

    def restart(self) -> None:
        """Open the file anew, so that packets come from its start, and forget earlier damage."""
        self.close()
        self._container = _open(self.path, self.deadline, self._limits)
        try:
            self._stream = _first_video_stream(self.path, self._container)
            context = self._stream.codec_context
            self._limits.check_picture(self.path, context.width, context.height)
        except DecodeError:
            self.close()
            raise
        for stream in self._container.streams:
            if stream is not self._stream:
                stream.discard = av.stream.Discard.all  # else sound is read, wrapped and dropped packet by packet
        context.thread_type = "NONE"
        context.thread_count = 1
        context.options = _codec_options(self._limits)
        self.is_damaged = False

    def close(self) -> None:
        """Release the file and the decoder."""
        if self._container is not None:
            self._container.close()
            self._container = None

    @property
    def format(self) -> str:
        """Short name of the container format, such as ``mov`` or ``mpegts``."""
        return self._container.format.name.split(",")[0]

    @property
    def codec(self) -> str:
        """Canonical name of the codec, such as ``h264``."""
        return self._stream.codec_context.codec.canonical_name

    @property
    def extradata(self) -> bytes | None:
        """The codec's global header."""
        return self._stream.codec_context.extradata

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of the stored pixel format, such as ``yuv420p``."""
        return self._stream.codec_context.pix_fmt or "unknown"

    @property
    def num_video_streams(self) -> int:
        """Video streams in the file, cover pictures included."""
        return len(self._container.streams.video)

    @property
    def field_order(self) -> int:
        """FFmpeg's AVFieldOrder: 0 unknown, 1 progressive, above 1 interlaced."""
        return self._stream.codec_context.field_order

    @property
    def time_base(self) -> float:
        """Seconds per unit of presentation time."""
        return float(self._stream.time_base)

    @property
    def stated_rate(self) -> float:
        """Frames per second that the container states, where it is one that a video may have."""
        stated = (self._stream.average_rate, self._stream.guessed_rate)
        return next((float(rate) for rate in stated if rate and _LEAST_RATE <= rate <= _MOST_RATE), _DEFAULT_RATE)

    def packets(self) -> Iterator[Packet | None]:
        """Packets from where the file stands, then None to drain the decoder.

        A read error ends the packets, as it does in ffmpeg, and counts as damage.
        """
        try:
            for packet in self._container.demux(self._stream):
                self.deadline.check()
                if packet.size > 0:
                    yield packet
        except av.error.ExitError:
            raise self.deadline.error() from None
        except av.FFmpegError:
            self.is_damaged = True
        except IndexError:
            pass  # PyAV 18 fails after the last packet if the file showed another stream on the way
        yield None

    def packets_from_key(self, pts: int, dts: int | None) -> Iterator[Packet | None]:
        """Packets from the key packet with these times, or from an earlier one; none if the seek fails.

        A seek may lead to a later place than asked, or between key packets, where decoders give wrong pictures
        without an error: so the place is checked.
        """
        goal = dts if self.format in _SEEKING_BY_DTS and dts is not None else pts
        try:
            self._container.seek(goal, stream=self._stream)
        except av.FFmpegError:
            return
        packets = self.packets()
        for packet in packets:
            if packet is None or packet.is_keyframe:
                break
        if packet is not None and packet.pts is not None and packet.pts <= pts:
            yield packet
            yield from packets

    def decode(self, packet: Packet | None, *, skip_unreferenced: bool = False) -> list[VideoFrame]:
        """Frames that a packet completes; none when the decoder refuses it, which counts as damage.

        So do frames that are larger than allowed, where the file did not say so in front.

        Args:
            packet: the packet, or None to drain the decoder.
            skip_unreferenced: do not decode the packet if no other picture refers to its picture.
        """
        context = self._stream.codec_context
        context.skip_frame = "NONREF" if skip_unreferenced else "DEFAULT"
        try:
            frames = context.decode(packet)
        except av.FFmpegError:
            self.is_damaged = True
            return []
        self.is_damaged |= any(frame.is_corrupt for frame in frames)
        allowed = [frame for frame in frames if frame.width * frame.height <= self._limits.frame_pixels]
        self.is_damaged |= len(allowed) < len(frames)
        return allowed

    def decode_alone(self, packet: Packet) -> list[VideoFrame]:
        """The picture of a packet without the packets that a decoder reads ahead to get pictures into order."""
        frames = self.decode(packet) or self.decode(None)
        self._stream.codec_context.flush_buffers()
        return frames


def check_file(path: str) -> None:
    """Raise DecodeError unless the path is a file with content: FFmpeg would wait for a pipe and read a folder."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise DecodeError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise DecodeError(f"{path}: cannot be opened ({error.strerror}); check the path and its permissions") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise DecodeError(f"{path}: is {kind}; give a video file")
    if status.st_size == 0:
        raise DecodeError(f"{path}: is empty (0 bytes); copy or download it again")


def _codec_options(limits: DecodeLimits) -> dict[str, str]:
    """For FFmpeg's decoders, which then refuse a picture that turns out larger before they take memory for it."""
    return {"max_pixels": str(limits.frame_pixels + _MOST_PADDING)}


def _open(path: str, deadline: Deadline, limits: DecodeLimits) -> InputContainer:
    try:
        return _open_with_any_tags(os.path.abspath(path), deadline, _codec_options(limits))
    except av.error.ExitError:
        raise deadline.error() from None
    except av.error.PermissionError as error:
        raise DecodeError(f"{path}: cannot be opened ({error.strerror}); check its permissions") from None
    except av.FFmpegError as error:
        kind = appearance(path)
        if kind is not None or error.errno == errno.EINVAL:
            looks = f" (looks like {kind})" if kind else ""
            raise DecodeError(f"{path}: is not a video container we read{looks}; give a video file") from None
        raise DecodeError(
            f"{path}: is not a video, or is cut off or damaged where its tables are ({error.strerror}); "
            "try to play it, copy it again or leave it out"
        ) from None


def _open_with_any_tags(path: str, deadline: Deadline, options: dict[str, str]) -> InputContainer:
    """Open an absolute path, which FFmpeg takes for no protocol, whatever the encoding of titles in the file."""
    try:
        return av.open(path, timeout=deadline.remaining(), options=options, container_options=OPTIONS)
    except UnicodeDecodeError:
        # PyAV 18 wants UTF-8 unless told otherwise; PyAV 19 takes anything and does not know the argument.
        return av.open(
            path,
            metadata_errors="ignore",
            timeout=deadline.remaining(),
            options=options,
            container_options=OPTIONS,
        )


def _first_video_stream(path: str, container: InputContainer) -> VideoStream:
    """The first video stream that is not the cover picture of a music file."""
    covers = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & covers]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
        raise DecodeError(f"{path}: has no video stream (streams: {kinds}); give a video file")
    if streams[0].codec_context is None:
        raise DecodeError(
            f"{path}: PyAV {av.__version__} has no decoder for its codec; re-encode it: "
            "ffmpeg -i IN -c:v libx264 OUT.mp4"
        )
    return streams[0]
