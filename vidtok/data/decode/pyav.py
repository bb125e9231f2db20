"""The reference engine: PyAV with a packet index. Exact on every file that FFmpeg can decode.

A read seeks to the key packet that a wanted frame needs and decodes from there, leaving out pictures that nobody
refers to. Whatever contradicts the index (a refused packet, a frame that does not come) makes the reader decode
the file once from its start and keep the frame list that results, which is the one of the ffmpeg command.
"""

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame

from vidtok.data.decode.convert import Converter
from vidtok.data.decode.index import PacketFacts, PacketIndex, plan_reads
from vidtok.data.decode.info import (
    DEADLINE_SECONDS,
    Deadline,
    FrameListChanged,
    Orientation,
    PixelFormat,
    VideoInfo,
    colour_of,
    frame_times,
    unique_numbers,
)
from vidtok.data.decode.known import Known
from vidtok.data.decode.limits import DEFAULT_LIMITS, DecodeLimits
from vidtok.data.decode.source import VideoSource
from vidtok.errors import DecodeError

VERIFY_MAX_FRAMES = 1000
"""``verify=True`` decodes every packet of files with at most this many frames; longer ones are read by index."""

_NEAR_PACKETS = 3
"""A key packet at most this far ahead has been decoded anyway, to get reordered pictures out: no seek then."""

_MOST_REPEATS = 16
"""How often a file may be read through by its own tables: edit lists may show a part again."""

_HOLD_BYTES = 64 * 2**20
"""A file that can only be decoded from its start stays decoded while its reader is open, if it fits in this."""

SKIPPABLE_CODECS = ("h264", "mpeg4", "mpeg2video")
"""Codecs where a non-reference picture is referred to by none. In HEVC higher temporal layers may; AV1 failed."""


class PyAVReader:
    """Reads frames of the first video stream of one file. Implements :class:`vidtok.data.decode.Reader`.

    Args:
        path: the video.
        deadline_seconds: longest time that opening, and each read, may take.
        limits: what the file may cost.
        known: what an earlier opening of the same file found out.

    Attributes:
        source: the open file.
        index: what its packets promise.
        orientation: how stored pictures are turned for display.
        known: what opening found out, where the packets tell the frames; else None.

    Raises:
        DecodeError: the file is missing, no video, not decodable at all, beyond a limit, or passed the deadline.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        limits: DecodeLimits = DEFAULT_LIMITS,
        known: Known | None = None,
    ) -> None:
        self.name = "pyav"
        self.fallback: str | None = None
        self._pixel_format: PixelFormat = "rgb"
        self._deadline_seconds = deadline_seconds
        self._limits = limits
        self._trusts_index = True
        self._is_settled = False
        self._held: list[VideoFrame] = []
        path = os.fspath(path)
        self.source = VideoSource(path, Deadline(path, deadline_seconds), limits)
        try:
            facts, is_plain = (known, True) if known is not None else self._scan()
            self.known = facts if is_plain else None
            self.index, self.orientation = facts.index, facts.orientation
            self._stored_size, self._colour = facts.stored_size, facts.colour
            self._converter = Converter(self.orientation, lambda: self.source.deadline.check())
            self.info = self._describe(self.index.pts.tolist()) if is_plain else self._settle({})
        except BaseException:
            self.close()
            raise

    @property
    def trusts_index(self) -> bool:
        """False once the packets proved not to tell the frames."""
        return self._trusts_index

    def read(
        self,
        indices: np.ndarray,
        *,
        short_side: int | None = None,
        verify: bool = False,
        pixel_format: PixelFormat = "rgb",
    ) -> np.ndarray:
        """Read frames; see :meth:`vidtok.data.decode.Reader.read`."""
        wanted, places = unique_numbers(indices, self.info)
        frames = self._limits.empty_frames(
            self.info, len(wanted), short_side=short_side, pixel_format=pixel_format, asked=len(places)
        )
        self._pixel_format = pixel_format
        self.source.deadline = Deadline(self.info.path, self._deadline_seconds)
        if verify and not self._is_settled and self.info.num_frames <= VERIFY_MAX_FRAMES:
            self._settle_and_compare(wanted, frames)
        elif not (self._trusts_index and self._read_by_index(wanted, frames)):
            self._read_in_order(wanted, frames)
        self._converter.flush()
        return frames if np.array_equal(places, np.arange(len(wanted))) else frames[places]

    def close(self) -> None:
        """Release the file, the decoder and held pictures; no read may follow."""
        self.source.close()
        self._held = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _scan(self) -> tuple[Known, bool]:
        """List all packets, decoding the first; False if they do not tell the frames or damage can be seen."""
        source, codec, extradata = self.source, self.source.codec, self.source.extradata
        facts: list[PacketFacts] = []
        pictures: list[VideoFrame] = []
        room = _MOST_REPEATS * max(os.path.getsize(source.path), 2**16)
        for packet in source.packets():
            if packet is not None:
                room -= packet.size
                if room < 0:
                    raise DecodeError(
                        f"{source.path}: its tables name the same bytes over and over; re-encode the file "
                        "(ffmpeg -i IN OUT.mp4) or leave it out"
                    )
                pictures = pictures if facts else source.decode_alone(packet)
                facts.append(PacketFacts.of(packet, codec, extradata))
        is_damaged = source.is_damaged or not pictures
        first = pictures[0] if pictures else next(self._frames_in_order(), None)
        if first is None:
            raise DecodeError(
                f"{source.path}: none of its {len(facts)} {codec} packets can be decoded (pictures above "
                f"data.max_pixels={self._limits.frame_pixels} are not); copy or download it again, or leave it out"
            )
        index = PacketIndex(facts, container=source.format, codec=codec, field_order=source.field_order)
        known = Known(index, self._orientation_of(first), (first.width, first.height), colour_of(first))
        return known, index.doubt is None and not is_damaged

    def _orientation_of(self, frame: VideoFrame) -> Orientation:
        try:
            return Orientation.of(frame)
        except av.FFmpegError as error:
            raise self._conversion_error(frame, error) from error

    def _describe(self, pts: list[int | None]) -> VideoInfo:
        """The video's facts, given its frames' presentation times in output order."""
        seconds, fps = frame_times(pts, self.source.time_base, self.source.stated_rate)
        width, height = self._stored_size[:: -1 if self.orientation.transpose else 1]
        matrix, is_full_range = self._colour
        return VideoInfo(
            path=self.source.path,
            num_frames=len(pts),
            pts_seconds=seconds,
            fps=fps,
            width=width,
            height=height,
            rotation=self.orientation.rotation,
            codec=self.source.codec,
            matrix=matrix,
            is_full_range=is_full_range,
        )

    def _read_by_index(self, wanted: np.ndarray, frames: np.ndarray) -> bool:
        """Fill ``frames`` with the wanted ones; False when the file contradicts the index."""
        pictures = iter(frames)
        for run in plan_reads(self.index, wanted, near=_NEAR_PACKETS):
            due = dict(zip(self.index.pts[run].tolist(), pictures, strict=False))
            if not self._read_run(int(self.index.starts[run[0]]), due):
                self._trusts_index = False
                return False
        return True

    def _read_run(self, key: int, due: dict[int, np.ndarray]) -> bool:
        """Store the frames due, given by presentation time, from their key packet on, else from the one before."""
        for earlier in range(key, max(key - 2, -1), -1):
            packet = self.index.packets[self.index.keys[earlier]]
            self._decode_run(self.source.packets_from_key(packet.pts, packet.dts), due)
            if not due or self.source.is_damaged:
                break
        return not due and not self.source.is_damaged

    def _decode_run(self, packets: Iterator[Packet | None], due: dict[int, np.ndarray]) -> None:
        """Store frames and strike them from ``due``, until all came or one did not: times only rise."""
        may_skip = self.index.codec in SKIPPABLE_CODECS
        for packet in _until_sent(packets, set(due)):
            skip = may_skip and packet is not None and packet.pts not in due
            for frame in self.source.decode(packet, skip_unreferenced=skip):
                picture = due.pop(frame.pts, None)
                if picture is not None:
                    self._store(frame, picture)
                if not due or frame.pts is None or frame.pts > next(iter(due)):
                    return
            if self.source.is_damaged:
                return

    def _read_in_order(self, wanted: np.ndarray, frames: np.ndarray) -> None:
        """Fill ``frames`` without the index."""
        if not self._is_settled:
            self._settle_and_compare(wanted, frames)
            return
        pictures = dict(zip(wanted.tolist(), frames, strict=True))
        for number, frame in enumerate(self._held or self._frames_in_order()):
            if number in pictures:
                self._store(frame, pictures.pop(number))
            if not pictures:
                return
        if pictures:
            raise DecodeError(f"{self.info.path}: changed while it was read; read it again")

    def _settle_and_compare(self, wanted: np.ndarray, frames: np.ndarray) -> None:
        """Settle, filling ``frames`` on the way; raise FrameListChanged when ``info`` was wrong until now."""
        known, self.info = self.info, self._settle(dict(zip(wanted.tolist(), frames, strict=True)))
        if not np.array_equal(known.pts_seconds, self.info.pts_seconds):
            raise FrameListChanged(
                f"{known.path}: {self.info.num_frames} frames can be decoded where its packets promise "
                f"{known.num_frames}; choose frames again from the reader's info"
            )

    def _settle(self, pictures: dict[int, np.ndarray]) -> VideoInfo:
        """Decode everything: the true frame list, and whether the index agrees with it.

        Args:
            pictures: arrays to fill by frame number.
        """
        pts: list[int | None] = []
        held: list[VideoFrame] = []
        room = _HOLD_BYTES
        for number, frame in enumerate(self._frames_in_order()):
            pts.append(frame.pts)
            if number in pictures:
                self._store(frame, pictures[number])
            room -= sum(plane.buffer_size for plane in frame.planes)
            if room >= 0:
                held.append(frame)
        self._is_settled = True
        self._trusts_index &= not self.source.is_damaged and self.index.is_confirmed_by(pts)
        if room >= 0 and not self._trusts_index:
            self._held = held
        return self._describe(pts)

    def _frames_in_order(self) -> Iterator[VideoFrame]:
        """All frames, decoded from the file's start; packets that the decoder refuses are passed over."""
        self.source.restart()
        for packet in self.source.packets():
            yield from self.source.decode(packet)

    def _store(self, frame: VideoFrame, picture: np.ndarray) -> None:
        """Convert a frame into ``picture``, scaled to its size and turned for display."""
        try:
            self._converter.store(frame, picture, self._pixel_format)
        except av.FFmpegError as error:
            raise self._conversion_error(frame, error) from error

    def _conversion_error(self, frame: VideoFrame, error: av.FFmpegError) -> DecodeError:
        return DecodeError(
            f"{self.source.path}: its {frame.format.name} pictures cannot be converted ({error.strerror}); "
            "re-encode it: ffmpeg -i IN -pix_fmt yuv420p OUT.mp4"
        )


def _until_sent(packets: Iterator[Packet | None], pts: set[int]) -> Iterator[Packet | None]:
    """Packets until those with the given times are sent, then None: draining gets late pictures out for nothing."""
    for packet in packets:
        yield packet
        if packet is None:
            return
        pts.discard(packet.pts)
        if not pts:
            break
    yield None
