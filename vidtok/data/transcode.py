"""One video written anew: H.264 in mp4, small, with key frames close together, and compared with the original."""

import os
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidtok.data.decode import VideoInfo, decode_frames
from vidtok.data.decode.convert import Converter
from vidtok.data.decode.info import Orientation, frame_times
from vidtok.data.decode.pyav import PyAVReader
from vidtok.data.segment import Segment, segment_frames
from vidtok.data.sweep import Record
from vidtok.data.verify import check_video, frames_in_order, is_cut_off
from vidtok.errors import DataError

_MIN_PSNR_DB = 20.0
"""How alike three pictures of the old and the new video must be, averaged over blocks so that coding noise cancels.
Other frames, other colours and torn pictures are below."""

_BLOCK = 4
"""Side of those blocks [pixels]."""

_FINEST_TICK = 1_000_000
"""Times are kept in the unit of the original, but in no shorter one than a microsecond."""

_FULL_RANGE, _LIMITED_RANGE = 2, 1
"""FFmpeg's AVCOL_RANGE_JPEG and AVCOL_RANGE_MPEG."""

_UNSPECIFIED = 2
"""FFmpeg's AVCOL_SPC_UNSPECIFIED, which readers take for BT.601."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How videos are written."""

    short_side: int = 256
    """Shorter side of the pictures as displayed [pixels]; smaller videos keep their size."""
    gop: int = 12
    """A key frame every so many frames."""
    crf: int = 20
    """Constant quality of x264: 0 is lossless, 18 looks the same, 51 is the worst."""


def transcode(
    path: str, target: Path, *, encoding: Encoding, deadline_seconds: float, segment: Segment | None = None
) -> Record:
    """Write ``path`` anew as ``target``, which appears when it is complete and was found right.

    The frames are those that a reader gives: in presentation order, after the edit list, turned for display, with
    what cannot be decoded left out. Their times stay, from 0. Sound is left out.

    Args:
        path: the video, which is only read.
        target: the new file, .mp4; its folder is made when needed.
        encoding: size, key frames and quality.
        deadline_seconds: longest time for each pass over the video.
        segment: the part that is written, its times from 0; None: the whole video.

    Returns:
        frames, width, height, fps: of the new video; bytes: its size; source_bytes: that of the original;
        damaged: the original was; psnr_db: how alike the worst of three pictures is.

    Raises:
        DataError: the video cannot be read or written, or the new one is not right.
    """
    if os.path.isdir(path):
        raise DataError(f"{path}: is a folder; give video files")
    part = part_of(target)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with PyAVReader(path, deadline_seconds=deadline_seconds) as reader:
            taken = _rewrite(reader, part, encoding, deadline_seconds, segment)
        record = _compare(path, part, taken, deadline_seconds)
        os.replace(part, target)
    except (OSError, av.FFmpegError) as error:
        raise DataError(f"{path}: cannot be written as {target} ({error.strerror})") from error
    finally:
        if part.exists():
            part.unlink()
    return record | {"source_bytes": os.path.getsize(path), "damaged": taken.is_damaged}


def part_of(target: Path) -> Path:
    """Where a video is written until it is complete; left behind only when the process dies."""
    return target.with_name(f".{target.name}.part")


@dataclass(slots=True)
class _Taken:
    """What was taken from the original."""

    seconds: np.ndarray
    """float64 [F]: times that were promised, then used, of the frames that are written."""
    first: int = 0
    """The first frame that is written."""
    is_damaged: bool = False
    pts: list[int | None] = field(default_factory=list)
    """Of the frames that came, all of the video."""
    num_written: int = 0
    spots: dict[int, np.ndarray] = field(default_factory=dict)
    """The first, a middle and the last picture at the new size, uint8 [H, W, 3], by number in the new video."""

    @classmethod
    def of(cls, info: VideoInfo, segment: Segment | None) -> "_Taken":
        """The frames of a segment. Raises DecodeError."""
        start, end = segment_frames(segment, info)
        return cls(info.pts_seconds[start:end] - info.pts_seconds[start], start)


def _rewrite(
    reader: PyAVReader, part: Path, encoding: Encoding, deadline_seconds: float, segment: Segment | None
) -> _Taken:
    """Write all frames; a second time with their true times when the file has others than its packets promise."""
    taken = _Taken.of(reader.info, segment)
    _encode(reader, part, taken, encoding, deadline_seconds)
    if reader.trusts_index and not reader.index.is_confirmed_by(taken.pts):
        seconds, fps = frame_times(taken.pts, reader.source.time_base, reader.source.stated_rate)
        info = replace(reader.info, num_frames=len(seconds), pts_seconds=seconds, fps=fps)
        taken = _Taken.of(info, segment)
        _encode(reader, part, taken, encoding, deadline_seconds)
    taken.is_damaged = reader.source.is_damaged or is_cut_off(reader.info.path)
    return taken


def _encode(reader: PyAVReader, part: Path, taken: _Taken, encoding: Encoding, deadline_seconds: float) -> None:
    """Write the frames of a video at the times in ``taken``; fills its other fields."""
    width, height = target_size(reader.info, encoding.short_side)
    converter, tick = Converter(reader.orientation), _tick(reader.source.time_base)
    ticks = _rising_ticks(taken.seconds, tick)
    taken.seconds = ticks * float(tick)
    spots = {0, len(ticks) // 2, len(ticks) - 1}
    picture = np.empty((height * 3 // 2, width), dtype=np.uint8)
    stream: VideoStream | None = None
    with av.open(part, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        for number, frame in enumerate(frames_in_order(reader, deadline_seconds), -taken.first):
            taken.pts.append(frame.pts)
            if not 0 <= number < len(ticks):
                continue
            taken.num_written += 1
            stream = stream or _add_stream(container, frame, (width, height), tick, reader.info.fps, encoding)
            converter.store(frame, picture, "yuv420")
            if number in spots:
                taken.spots[number] = _rgb(frame, reader.orientation, height=height, width=width)
            out = VideoFrame.from_ndarray(picture, format="yuv420p")
            out.pts, out.time_base = int(ticks[number]), tick
            container.mux(stream.encode(out))
        if stream is not None:
            container.mux(stream.encode(None))


def _rgb(frame: VideoFrame, orientation: Orientation, *, height: int, width: int) -> np.ndarray:
    """A picture as displayed and scaled, uint8 [height, width, 3]."""
    height, width = (width, height) if orientation.transpose else (height, width)
    return orientation.apply(frame.reformat(width=width, height=height, format="rgb24", threads=1).to_ndarray())


def target_size(info: VideoInfo, short_side: int) -> tuple[int, int]:
    """(width, height): both even, the shorter one ``short_side`` but never more than the video has."""
    scaled = info.scaled_size(min(short_side, info.width, info.height))
    width, height = (max(2, side // 2 * 2) for side in scaled)
    return width, height


def _add_stream(
    container: OutputContainer,
    frame: VideoFrame,
    size: tuple[int, int],
    tick: Fraction,
    fps: float,
    encoding: Encoding,
) -> VideoStream:
    """A stream for pictures in the colours of ``frame``."""
    options = {"crf": str(encoding.crf), "g": str(encoding.gop), "sc_threshold": "0", "preset": "fast"}
    stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=options)
    stream.width, stream.height = size
    stream.pix_fmt, stream.time_base = "yuv420p", tick
    context = stream.codec_context
    context.time_base, context.thread_count = tick, 1
    context.color_range = _FULL_RANGE if frame.color_range == _FULL_RANGE else _LIMITED_RANGE
    context.colorspace = _UNSPECIFIED if frame.format.is_rgb else frame.colorspace
    return stream


def _tick(time_base: float) -> Fraction:
    """The unit of time [s]."""
    return max(Fraction(time_base).limit_denominator(_FINEST_TICK), Fraction(1, _FINEST_TICK))


def _rising_ticks(seconds: np.ndarray, tick: Fraction) -> np.ndarray:
    """int64 [F], strictly rising: frames that share a time follow one another by a tick."""
    ticks = np.rint(seconds / float(tick)).astype(np.int64)
    steps = np.arange(len(ticks))
    return np.maximum.accumulate(ticks - steps) + steps


def _compare(path: str, part: Path, taken: _Taken, deadline_seconds: float) -> Record:
    """Decode the new video wholly and compare frames, times and three pictures. Raises DataError."""
    found = check_video(str(part), deadline_seconds=deadline_seconds)
    numbers = np.array(sorted(taken.spots))
    decoded = decode_frames(part, lambda info: np.minimum(numbers, info.num_frames - 1))
    likeness = min(map(_psnr, decoded.frames, (taken.spots[number] for number in numbers.tolist())))
    is_same = (
        taken.num_written == len(taken.seconds) == found["frames"] == found["promised"]
        and not found["damaged"]
        and np.allclose(decoded.info.pts_seconds, taken.seconds, atol=1e-4)
    )
    if not is_same or likeness < _MIN_PSNR_DB:
        raise DataError(
            f"{path}: what was written is not the same: {found['frames']} of {len(taken.seconds)} frames, "
            f"{likeness:.0f} dB; prepare it again, and report it if that happens twice"
        )
    return {
        "frames": found["frames"],
        "width": found["width"],
        "height": found["height"],
        "fps": found["fps"],
        "bytes": part.stat().st_size,
        "psnr_db": round(likeness, 1),
    }


def _psnr(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Peak signal-to-noise ratio [dB] of two pictures, uint8 [H, W, 3], averaged over blocks."""
    error = float(((_blocks(ours) - _blocks(theirs)) ** 2).mean())
    return float(10 * np.log10(255**2 / max(error, 1e-6)))


def _blocks(picture: np.ndarray) -> np.ndarray:
    """float64 [H / b, W / b, 3]: means of b x b pixels; what is left at the edges is not looked at."""
    side = min(_BLOCK, *picture.shape[:2])
    height, width = (length // side for length in picture.shape[:2])
    whole = picture[: height * side, : width * side]
    return whole.reshape(height, side, width, side, 3).mean(axis=(1, 3))
