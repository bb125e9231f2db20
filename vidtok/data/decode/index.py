"""Which frames a video has and where decoding must start for each, from its packets, without decoding.

The i-th frame is the one with the i-th smallest presentation time among the packets that an edit list does not
hide. This holds for nearly every file; :attr:`PacketIndex.doubt` names the reason where packets do not tell.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from av.packet import Packet

_EMPTY_PICTURE_BYTES = 16
"""An MPEG-4 picture of at most this size carries no image: padding of packed B frames, or a dropped frame."""

_SHOW_FRAME_BIT = 0x10
"""In the first byte of a VP8 frame; unset in frames that only serve as a reference."""

_NAL_TYPE_BITS = 0x1F
_IDR_SLICE = 5

_PROGRESSIVE = (0, 1)
"""AVFieldOrder: unknown, progressive. Any other may store the two fields of a frame in packets of their own."""


class PacketFacts(NamedTuple):
    """What one packet says of itself. Times are in units of the stream's time base."""

    pts: int | None
    dts: int | None
    is_key: bool
    is_hidden: bool
    """Decoded but not shown: outside the edit list."""
    is_suspect: bool
    """Damaged, or of a kind that may give no picture of its own."""
    is_full_refresh: bool = True
    """False for an H.264 key packet that decoding may start from but whose followers may refer to before it."""

    @classmethod
    def of(cls, packet: Packet, codec: str, extradata: bytes | None) -> "PacketFacts":
        """Read a packet of the canonically named codec; ``extradata`` is the stream's."""
        suspect, full_refresh = packet.is_corrupt, True
        if codec == "mpeg4":
            suspect |= packet.size <= _EMPTY_PICTURE_BYTES
        elif codec == "vp8":
            suspect |= not memoryview(packet)[0] & _SHOW_FRAME_BIT
        elif codec == "h264" and packet.is_keyframe:
            full_refresh = _IDR_SLICE in nal_types(bytes(packet), extradata)
        return cls(packet.pts, packet.dts, packet.is_keyframe, packet.is_discard, suspect, full_refresh)


def nal_types(packet: bytes, extradata: bytes | None) -> set[int]:
    """Types of the NAL units in an H.264 packet, in mp4 layout (each after its length) or after start codes."""
    if not extradata or len(extradata) < 5 or extradata[0] != 1:
        return {unit[0] & _NAL_TYPE_BITS for unit in packet.split(b"\0\0\1")[1:] if unit}
    length_bytes = (extradata[4] & 3) + 1
    types, at = set(), 0
    while at + length_bytes < len(packet):
        types.add(packet[at + length_bytes] & _NAL_TYPE_BITS)
        at += length_bytes + int.from_bytes(packet[at : at + length_bytes], "big")
    return types


class PacketIndex:
    """The frame list that the packets of a stream promise.

    Attributes:
        container: short name of the container format, such as ``mov`` or ``mpegts``.
        codec: canonical name of the codec, such as ``h264``.
        packets: all packets in decoding order.
        doubt: why the frame list must be found by decoding, or None when the packets tell it.
    """

    def __init__(self, packets: Iterable[PacketFacts], *, container: str, codec: str, field_order: int = 1) -> None:
        self.container = container
        self.codec = codec
        self.packets = list(packets)
        self.doubt = self._doubt(field_order)

    def _doubt(self, field_order: int) -> str | None:
        shown = [packet for packet in self.packets if not packet.is_hidden]
        times = [packet.pts for packet in shown]
        if not shown:
            return "it has no visible packets"
        if None in times or any(packet.pts is None for packet in self.packets if packet.is_key):
            return "packets lack presentation times"
        if len(set(times)) < len(times):
            return "packets share presentation times"
        if any(packet.is_suspect for packet in self.packets):
            return "packets are damaged or hold no picture of their own"
        if field_order not in _PROGRESSIVE:
            return "it is interlaced"
        if self.container == "avi" and any(packet.pts != packet.dts for packet in shown):
            return "its container stores no presentation times for B frames"
        if not self.packets[0].is_key or min(times) < self.packets[0].pts:
            return "it starts inside a group of pictures"
        return None

    def is_confirmed_by(self, pts: list[int | None]) -> bool:
        """True when decoding everything gave frames with exactly the promised times, all different, in order."""
        promised = [packet.pts for packet in self.packets if not packet.is_hidden]
        return None not in promised and len(set(promised)) == len(promised) and sorted(promised) == pts

    @cached_property
    def positions(self) -> np.ndarray:
        """int64 [frames]: place in decoding order of each frame's packet, frames in presentation order."""
        shown = [place for place, packet in enumerate(self.packets) if not packet.is_hidden]
        return np.array(sorted(shown, key=lambda place: self.packets[place].pts), dtype=np.int64)

    @cached_property
    def pts(self) -> np.ndarray:
        """int64 [frames], rising: presentation time of each frame."""
        return np.array([self.packets[place].pts for place in self.positions], dtype=np.int64)

    @cached_property
    def keys(self) -> np.ndarray:
        """int64 [key packets], rising: their places in decoding order."""
        return np.array([place for place, packet in enumerate(self.packets) if packet.is_key], dtype=np.int64)

    @cached_property
    def starts(self) -> np.ndarray:
        """int64 [frames]: which of :attr:`keys` decoding must start from to get each frame right.

        The last key packet not after the frame's; but a leading picture, shown before the key packet that it
        follows, also refers to the group before.
        """
        latest = np.searchsorted(self.keys, self.positions, side="right") - 1
        key_pts = np.array([self.packets[place].pts for place in self.keys], dtype=np.int64)
        leading = key_pts[latest] > self.pts
        return np.maximum(latest - leading, 0)

    @property
    def has_leading_pictures(self) -> bool:
        """True when a packet is shown before the key packet that it follows."""
        key_pts = None
        for packet in self.packets:
            if packet.is_key:
                key_pts = packet.pts
            elif key_pts is not None and packet.pts is not None and packet.pts < key_pts:
                return True
        return False

    @property
    def has_partial_refreshes(self) -> bool:
        """True when a key packet does not cut off all reference to pictures before it."""
        return not all(packet.is_full_refresh for packet in self.packets)

    @property
    def has_hidden_packets(self) -> bool:
        """True when an edit list hides packets."""
        return any(packet.is_hidden for packet in self.packets)

    @property
    def is_reordered(self) -> bool:
        """True when packets are not stored in presentation order (B frames)."""
        return bool(np.any(np.diff(self.positions) < 0))


def plan_reads(index: PacketIndex, wanted: np.ndarray, *, near: int) -> list[np.ndarray]:
    """Split wanted frames into runs that are each decoded in one go, from the start of their first frame.

    Args:
        wanted: int64 [K], rising: frame numbers.
        near: packets that are rather decoded than jumped over by a seek.

    Returns:
        Non-empty pieces of ``wanted``, in order.
    """
    if len(wanted) == 0:
        return []
    resume = index.keys[index.starts[wanted[1:]]]
    is_far = resume - index.positions[wanted[:-1]] > near
    return np.split(wanted, np.flatnonzero(is_far) + 1)
