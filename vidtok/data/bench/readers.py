"""What is timed: vidtok's engines as users call them, and the decode-only limit that no reader can pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np

from vidtok.data.decode import PacketStore, PixelFormat, decode_frames, open_video
from vidtok.data.decode.pyav import SKIPPABLE_CODECS, PyAVReader
from vidtok.errors import EnvironmentFault


@dataclass(frozen=True, slots=True)
class Sample:
    """Frames to be read of one file, and what a decoder must know to find them."""

    path: str
    indices: np.ndarray
    """int64 [T], rising."""
    short_side: int
    size: tuple[int, int]
    """Width and height once the short side is scaled to that."""
    key_pts: int
    """Presentation time of the key packet that decoding starts from."""
    wanted_pts: frozenset[int]
    may_skip: bool
    """Pictures that no other refers to may be left out."""
    fps: float


Read = Callable[[Sample], object]

LIMIT, AUTO, YUV = "decode only", "auto", "auto, yuv420"
AUTO_INDEXED, YUV_INDEXED = "auto, indexed", "auto, yuv420, indexed"


def sample_of(path: str, choose: Callable[[int], np.ndarray], *, short_side: int) -> Sample | None:
    """What to read of a file; None for one that can only be decoded from its start, where there is nothing to compare.

    Args:
        path: the video.
        choose: frame numbers, rising, for a number of frames.
        short_side: [pixels].

    Raises:
        DecodeError: the file cannot be read.
    """
    with PyAVReader(path) as reader:
        index = reader.index
        if index.doubt is not None or not reader.trusts_index:
            return None
        indices = choose(reader.info.num_frames)
        key = index.packets[index.keys[index.starts[indices[0]]]]
        wanted = frozenset(index.pts[indices].tolist())
        return Sample(
            path=path,
            indices=indices,
            short_side=short_side,
            size=reader.info.scaled_size(short_side),
            key_pts=key.pts,
            wanted_pts=wanted,
            may_skip=index.codec in SKIPPABLE_CODECS,
            fps=reader.info.fps,
        )


def own_readers(packets: PacketStore) -> dict[str, Read]:
    """The limit, the default reader in both formats, plain and with a store of packets, and the other engines."""
    readers: dict[str, Read] = {
        LIMIT: decode_only,
        AUTO: _read_with("auto"),
        AUTO_INDEXED: _read_with("auto", packets=packets),
        YUV: _read_with("auto", "yuv420"),
        YUV_INDEXED: _read_with("auto", "yuv420", packets=packets),
    }
    return readers | {name: _read_with(name) for name in ("decord", "torchcodec")}


def filled_store(folder: Path, samples: Sequence[Sample]) -> PacketStore:
    """What ``vidtok data index`` would keep of the samples' files."""
    packets = PacketStore(folder / "packets.sqlite")
    for path in {sample.path for sample in samples}:
        with PyAVReader(path) as reader:
            if reader.known is not None:
                packets.add(path, reader.known)
    return packets


def is_installed(decoder: str, sample: Sample) -> bool:
    """Whether an engine loads on this machine."""
    try:
        open_video(sample.path, decoder=decoder).close()
    except EnvironmentFault:
        return False
    return True


def fallback_of(decoder: str, sample: Sample) -> str | None:
    """Why an engine hands the sample to PyAV, if it does."""
    with open_video(sample.path, decoder=decoder) as reader:
        reader.read(sample.indices, short_side=sample.short_side)
        return reader.fallback


def _read_with(decoder: str, pixel_format: PixelFormat = "rgb", packets: PacketStore | None = None) -> Read:
    return partial(_read, decoder=decoder, pixel_format=pixel_format, packets=packets)


def _read(sample: Sample, *, decoder: str, pixel_format: PixelFormat, packets: PacketStore | None) -> np.ndarray:
    decoded = decode_frames(
        sample.path,
        lambda info: sample.indices,
        decoder=decoder,
        short_side=sample.short_side,
        pixel_format=pixel_format,
        packets=packets,
    )
    return decoded.frames


def decode_only(sample: Sample) -> list[av.VideoFrame]:
    """Open, seek, decode what the wanted frames need and nothing more: no packet index, no picture leaves FFmpeg."""
    pending, frames = set(sample.wanted_pts), []
    with av.open(sample.path) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        container.seek(sample.key_pts, stream=stream)
        for packet in container.demux(stream):
            skips = sample.may_skip and packet.pts not in pending
            stream.codec_context.skip_frame = "NONREF" if skips else "DEFAULT"
            frames += [frame for frame in stream.codec_context.decode(packet) if frame.pts in sample.wanted_pts]
            pending.discard(packet.pts)
            if not pending:
                break
        if packet.size:
            frames += [frame for frame in stream.codec_context.decode(None) if frame.pts in sample.wanted_pts]
    return frames
