"""Small, difficult video files whose frame numbers can be read off the picture, written with PyAV.

Every picture is WIDTH x HEIGHT: a red square in the stored top left corner, noise along the bottom edge so that no
packet is tiny, and a grey field whose brightness is the frame's number (:func:`frame_number`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidtok.data.decode.torchcodec import import_torchcodec
from vidtok.errors import EnvironmentFault

WIDTH, HEIGHT = 96, 80
NUM_FRAMES = 30
RATE = 25
NUM_HIDDEN = 10
"""Frames at the start of edit_list.mp4 that its edit list hides."""

_DARKEST, _STEP = 20, 7
_SCALER_BIAS = 1
"""FFmpeg's scaler gives pictures 0 to 2.3 levels too dark, depending on the sizes."""

_CORNER, _NOISE = 16, 16


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Frame ``number`` (below NUM_FRAMES) as uint8 RGB [height, width, 3]."""
    pixels = np.full((height, width, 3), _DARKEST + _STEP * number, dtype=np.uint8)
    pixels[:_CORNER, :_CORNER] = 200, 0, 0
    noise = np.random.default_rng(number).integers(0, 256, (_NOISE, width, 1), dtype=np.uint8)
    pixels[-_NOISE:] = noise
    return pixels


def frame_number(pixels: np.ndarray) -> int:
    """The number that a decoded picture [H, W, 3], of any scale or rotation, shows."""
    height, width = pixels.shape[:2]
    centre = pixels[height * 3 // 8 : height * 5 // 8, width * 3 // 8 : width * 5 // 8]
    return round((centre.mean() + _SCALER_BIAS - _DARKEST) / _STEP)


def frame_numbers(frames: np.ndarray) -> list[int]:
    """The numbers that pictures [T, H, W, 3] show."""
    return [frame_number(pixels) for pixels in frames]


@dataclass(frozen=True)
class Encoding:
    """How to write one file; the defaults give H.264 with B frames and closed groups of 8 in an mp4."""

    codec: str = "libx264"
    options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    format: str | None = None
    pixel_format: str = "yuv420p"
    size: tuple[int, int] = (WIDTH, HEIGHT)
    rate: int = RATE
    times: Sequence[int] | None = None
    """Presentation times in 1 / rate seconds; None: one after the other from 0."""
    numbers: Sequence[int] = range(NUM_FRAMES)
    rotation: int = 0
    hflip: bool = False
    title: str = ""


def x264(parameters: str = "", **options: str) -> dict[str, str]:
    """Options of libx264 for groups of 8 pictures with three B frames; ``parameters`` override."""
    base = "keyint=8:min-keyint=8:scenecut=0:bframes=3:b-adapt=0:open-gop=0"
    return {"preset": "veryfast", "crf": "12", "x264-params": f"{base}:{parameters}".rstrip(":")} | options


def write(path: Path, encoding: Encoding) -> Path:
    """Encode the file that ``encoding`` describes."""
    width, height = encoding.size
    times = range(len(encoding.numbers)) if encoding.times is None else encoding.times
    with av.open(path, "w", format=encoding.format, container_options=encoding.container_options) as container:
        if encoding.title:
            container.metadata["title"] = encoding.title
        stream = container.add_stream(encoding.codec, rate=encoding.rate, options=dict(encoding.options))
        stream.width, stream.height, stream.pix_fmt = width, height, encoding.pixel_format
        stream.codec_context.time_base = Fraction(1, encoding.rate)
        if encoding.rotation or encoding.hflip:
            stream.set_display_rotation(encoding.rotation, hflip=encoding.hflip)
        for number, time in zip(encoding.numbers, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture(number, width, height), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, encoding.rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_audio(path: Path) -> Path:
    """A tenth of a second of silence and no video."""
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_cover_music(path: Path) -> Path:
    """A second of silence with a cover picture, which FFmpeg lists as a video stream."""
    with av.open(path, "w") as container:
        sound = container.add_stream("libmp3lame", rate=8000, layout="mono")
        cover = container.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        container.mux(cover.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), dtype=np.int16), format="s16p", layout="mono")
        silence.rate = 8000
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    return path


def write_two_streams(path: Path) -> Path:
    """Two video streams, the second one in better quality, which some readers prefer, and counting backwards."""
    with av.open(path, "w") as container:
        streams = [container.add_stream("libx264", rate=RATE, options=x264(crf=crf)) for crf in ("24", "4")]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(NUM_FRAMES):
            for stream, shown in zip(streams, (number, NUM_FRAMES - 1 - number), strict=True):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(shown), format="rgb24")))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def break_packets(path: Path, places: Sequence[int]) -> None:
    """Overwrite the first bytes of packets, given by place in the file, so that a decoder refuses them."""
    with av.open(path) as container:
        positions = [packet.pos for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for place in places:
        content[positions[place] : positions[place] + 12] = b"\xff" * 12
    path.write_bytes(content)


def truncate(path: Path, share: float) -> None:
    """Keep the first ``share`` of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def cut_start(path: Path, place: int) -> None:
    """Drop everything before a packet of a transport stream, so that it starts there."""
    with av.open(path) as container:
        positions = [packet.pos for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[positions[place] :])


def reference_frames(path: Path, wanted: Collection[int] | None = None) -> tuple[int, dict[int, np.ndarray]]:
    """Decode the first video stream by the plainest loop: from the start, refused packets passed over.

    Returns:
        The number of frames, and by number those wanted (None: all), uint8 RGB [H, W, 3] as stored.
    """
    count, frames = 0, {}
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        for packet in container.demux(stream):
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                continue
            for frame in decoded:
                if wanted is None or count in wanted:
                    frames[count] = frame.to_ndarray(format="rgb24")
                count += 1
    return count, frames


def need_engine(decoder: str) -> None:
    """Skip the test unless the decoder can be loaded here."""
    try:
        if decoder == "decord":
            pytest.importorskip("decord")
        elif decoder == "torchcodec":
            import_torchcodec()
    except EnvironmentFault as fault:
        pytest.skip(str(fault))


def psnr(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Peak signal-to-noise ratio [dB] of the worst pair of pictures [T, H, W, 3]."""
    error = ((ours.astype(np.float32) - theirs) ** 2).mean(axis=(1, 2, 3)).max()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


VFR_TIMES = tuple(np.cumsum([0, *[1, 1, 7, 2, 1, 30, 1, 3, 3, 12] * 3])[:NUM_FRAMES].tolist())
"""Uneven presentation times in 1 / RATE seconds."""

ENCODINGS: dict[str, Encoding] = {
    "closed_gop.mp4": Encoding(options=x264()),
    "closed_gop.mkv": Encoding(options=x264()),
    "no_b_frames.mp4": Encoding(options=x264("bframes=0")),
    "no_b_frames.flv": Encoding(options=x264("bframes=0")),
    "b_frames.flv": Encoding(options=x264()),
    "b_frames_h264.avi": Encoding(options=x264()),
    "b_pyramid.mp4": Encoding(options=x264("b-pyramid=normal:bframes=5")),
    "one_gop.mp4": Encoding(options=x264("keyint=250:min-keyint=250")),
    "open_gop.mp4": Encoding(options=x264("open-gop=1")),
    "open_gop.mkv": Encoding(options=x264("open-gop=1")),
    "open_gop.ts": Encoding(options=x264("open-gop=1")),
    "intra_refresh.mp4": Encoding(options=x264("intra-refresh=1:bframes=0")),
    "vfr.mp4": Encoding(options=x264(), times=VFR_TIMES),
    "vfr.mkv": Encoding(options=x264(), times=VFR_TIMES),
    "transport.ts": Encoding(options=x264()),
    "programme.mpg": Encoding(
        "mpeg2video", {"g": "8", "bf": "2", "b": "4000k", "sc_threshold": "1000000000"}, format="vob"
    ),
    "elementary.h264": Encoding(options=x264()),
    "fragmented.mp4": Encoding(
        options=x264(), container_options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    ),
    "hevc.mp4": Encoding(
        "libx265", {"crf": "10", "x265-params": "log-level=none:keyint=8:min-keyint=8:open-gop=1:bframes=3"}
    ),
    "mpeg4_b_frames.avi": Encoding("mpeg4", {"g": "8", "bf": "2", "b": "4000k", "sc_threshold": "1000000000"}),
    "mpeg4_b_frames.mp4": Encoding("mpeg4", {"g": "8", "bf": "2", "b": "4000k", "sc_threshold": "1000000000"}),
    "mpeg4_closed_gop.mp4": Encoding(
        "mpeg4", {"g": "8", "bf": "2", "b": "4000k", "sc_threshold": "1000000000", "flags": "+cgop"}
    ),
    "mpeg4.avi": Encoding("mpeg4", {"g": "8", "bf": "0", "b": "4000k", "sc_threshold": "1000000000"}),
    "mpeg2_b_frames.mkv": Encoding("mpeg2video", {"g": "8", "bf": "2", "b": "4000k", "sc_threshold": "1000000000"}),
    "motion_jpeg.avi": Encoding("mjpeg", {"b": "8000k"}, pixel_format="yuvj420p"),
    "vp9.webm": Encoding("libvpx-vp9", {"crf": "8", "b": "0", "g": "8", "cpu-used": "8", "deadline": "realtime"}),
    "vp9_odd.webm": Encoding(
        "libvpx-vp9", {"crf": "8", "b": "0", "g": "8", "cpu-used": "8", "deadline": "realtime"}, size=(97, 81)
    ),
    "vp9_alt_ref.webm": Encoding(
        "libvpx-vp9", {"crf": "8", "b": "0", "g": "20", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "10"}
    ),
    "vp8_alt_ref.webm": Encoding(
        "libvpx", {"crf": "4", "b": "2M", "g": "20", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "10"}
    ),
    "av1.mp4": Encoding("libsvtav1", {"preset": "12", "crf": "10", "g": "8", "svtav1-params": "lp=1"}),
    "animation.gif": Encoding("gif", pixel_format="gray"),
    "odd_444.mp4": Encoding(options=x264(), pixel_format="yuv444p", size=(97, 81)),
    "ten_bits.mp4": Encoding(options=x264(), pixel_format="yuv420p10le"),
    "rotated_90.mp4": Encoding(options=x264(), rotation=90),
    "rotated_180.mp4": Encoding(options=x264(), rotation=180),
    "rotated_270.mp4": Encoding(options=x264(), rotation=-90),
    "mirrored.mp4": Encoding(options=x264(), hflip=True),
    "one_frame.mp4": Encoding(options=x264(), numbers=(7,)),
    "edit_list.mp4": Encoding(
        options=x264(),
        times=range(-NUM_HIDDEN, NUM_FRAMES - NUM_HIDDEN),
        container_options={"avoid_negative_ts": "disabled"},
    ),
    "index_in_front.mp4": Encoding(options=x264(), container_options={"movflags": "faststart"}),
    "late_start.mkv": Encoding(options=x264(), times=range(100, 100 + NUM_FRAMES)),
    "equal_times.mkv": Encoding(options=x264(), rate=3000),
}
