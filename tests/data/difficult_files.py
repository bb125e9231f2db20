"""A small file of each kind that real collections hold, damaged and unreadable ones too, written with PyAV.

Adds to the encodings of :mod:`tests.data.video_files` what needs more than an encoder: sound, subtitles, wrong
headers, damage. TWINS says which file stands for which of the real files that the repository does not contain.
"""

import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.subtitles.stream import SubtitleStream

from tests.data.video_files import (
    ENCODINGS,
    NUM_FRAMES,
    RATE,
    VFR_TIMES,
    Encoding,
    break_packets,
    cut_start,
    picture,
    truncate,
    write,
    write_audio,
    write_cover_music,
    write_two_streams,
    x264,
)

_FAST_VP9 = {"crf": "8", "b": "0", "g": "8", "cpu-used": "8", "deadline": "realtime"}
_SUBTITLE_HEADER = b"""[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,16
[Events]
Format: Layer, Start, End, Style, Text
"""

_LONG = 1200
"""Frames of the long file: more than a reader decodes to look for damage."""


def _written(encoding: Encoding) -> Callable[[Path], None]:
    return lambda path: write(path, encoding) and None


def _made_from(name: str, damage: Callable[[Path], None]) -> Callable[[Path], None]:
    """A file of ENCODINGS, then damaged."""

    def make(path: Path) -> None:
        write(path, ENCODINGS[name])
        damage(path)

    return make


def write_with(
    path: Path, *, sound: bool = False, subtitles: bool = False, times: tuple[int, ...] | None = None
) -> None:
    """Video beside silence and subtitles, in one file."""
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=RATE, options=x264())
        video.width, video.height, video.pix_fmt = 96, 80, "yuv420p"
        text = _add_subtitles(container, "subrip") if subtitles else None
        audio = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for number, time in enumerate(times or range(NUM_FRAMES)):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), dtype=np.float32), format="fltp", layout="mono")
            silence.rate = 8000
            container.mux(audio.encode(silence))
            container.mux(audio.encode(None))
        if text is not None:
            container.mux(_subtitle(text))


def write_subtitles(path: Path) -> None:
    """An mp4 with a text track and no video."""
    with av.open(path, "w") as container:
        container.mux(_subtitle(_add_subtitles(container, "mov_text")))


def _add_subtitles(container: OutputContainer, codec: str) -> SubtitleStream:
    stream = container.add_stream(codec)
    stream.codec_context.subtitle_header = _SUBTITLE_HEADER
    stream.time_base = Fraction(1, 1000)
    return stream


def _subtitle(stream: SubtitleStream) -> av.Packet:
    """Half a second of text."""
    text = b"a line of text"
    packet = av.Packet(struct.pack(">H", len(text)) + text if stream.codec_context.name == "mov_text" else text)
    packet.stream, packet.time_base = stream, stream.time_base
    packet.pts, packet.dts, packet.duration = 0, 0, 500
    return packet


def write_pixel(path: Path) -> None:
    """Five pictures of one pixel, one a second."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=1, options=x264())
        stream.width, stream.height, stream.pix_fmt = 1, 1, "yuv444p"
        for number in range(5):
            pixel = np.full((1, 1, 3), 40 * number, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixel, format="rgb24")))
        container.mux(stream.encode(None))


def write_other_pixels(path: Path) -> None:
    """H.264 with B frames among references and pixels that are not square."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=x264("b-pyramid=normal:bframes=5"))
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(64, 45)
        for number in range(NUM_FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.mux(stream.encode(None))


def overstate_duration(path: Path) -> None:
    """Let the header of an mp4 promise a day."""
    content = bytearray(path.read_bytes())
    header = content.index(b"mvhd") + 4
    (scale,) = struct.unpack_from(">I", content, header + 12)
    struct.pack_into(">I", content, header + 16, 86400 * scale)
    path.write_bytes(content)


def _fragmented(path: Path) -> None:
    write(path, ENCODINGS["fragmented.mp4"])
    overstate_duration(path)


DIFFICULT: dict[str, Callable[[Path], object]] = {
    "b_frames.mov": _written(ENCODINGS["closed_gop.mp4"]),
    "three_frames.mov": _written(Encoding(options=x264(), numbers=(3, 7, 11))),
    "rotated_90.mov": _written(ENCODINGS["rotated_90.mp4"]),
    "rotated_180.mov": _written(ENCODINGS["rotated_180.mp4"]),
    "rotated_270.mov": _written(ENCODINGS["rotated_270.mp4"]),
    "rotated_90.mp4": _written(ENCODINGS["rotated_90.mp4"]),
    "portrait.mp4": lambda path: write(path, Encoding(options=x264(), size=(80, 96))),
    "refused_packet.mp4": _made_from("index_in_front.mp4", lambda path: break_packets(path, [10])),
    "refused_packets.mp4": _made_from("no_b_frames.mp4", lambda path: break_packets(path, [4, 21])),
    "cut_off.mp4": _made_from("index_in_front.mp4", lambda path: truncate(path, 0.6)),
    "cut_off.mkv": _made_from("closed_gop.mkv", lambda path: truncate(path, 0.6)),
    "cut_off.avi": _made_from("mpeg4.avi", lambda path: truncate(path, 0.6)),
    "no_tables.mp4": _made_from("closed_gop.mp4", lambda path: truncate(path, 0.6)),
    "with_sound.mp4": lambda path: write_with(path, sound=True),
    "with_subtitles.mkv": lambda path: write_with(path, sound=True, subtitles=True, times=VFR_TIMES),
    "vfr.mp4": _written(replace(ENCODINGS["vfr.mp4"], pixel_format="yuvj420p")),
    "sound.wav": write_audio,
    "cover.mp3": write_cover_music,
    "subtitles.mp4": write_subtitles,
    "empty.webm": lambda path: path.touch(),
    "noise.mp4": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "two_streams.mp4": write_two_streams,
    "hevc.mp4": _written(ENCODINGS["hevc.mp4"]),
    "hevc_ten_bits.mp4": _written(replace(ENCODINGS["hevc.mp4"], pixel_format="yuv420p10le")),
    "ten_bits.mp4": _written(ENCODINGS["ten_bits.mp4"]),
    "full_range.mp4": _written(Encoding(options=x264(), pixel_format="yuvj420p")),
    "av1.mp4": _written(ENCODINGS["av1.mp4"]),
    "av1.mkv": _written(ENCODINGS["av1.mp4"]),
    "vp9.webm": _written(ENCODINGS["vp9.webm"]),
    "vp9_odd.webm": _written(ENCODINGS["vp9_odd.webm"]),
    "vp9_alpha.webm": _written(Encoding("libvpx-vp9", _FAST_VP9, pixel_format="yuva420p")),
    "vp8.webm": _written(ENCODINGS["vp8_alt_ref.webm"]),
    "edit_list.mp4": _written(ENCODINGS["edit_list.mp4"]),
    "late_start.mp4": lambda path: write(path, Encoding(options=x264(), times=range(RATE, RATE + NUM_FRAMES))),
    "other_pixels.mp4": write_other_pixels,
    "transport.ts": _written(ENCODINGS["transport.ts"]),
    "middle_of_stream.ts": _made_from("open_gop.ts", lambda path: cut_start(path, 3)),
    "gaps.ts": _written(replace(ENCODINGS["transport.ts"], times=VFR_TIMES)),
    "gaps.avi": _written(replace(ENCODINGS["mpeg4.avi"], times=[*range(10), *range(11, NUM_FRAMES + 1)])),
    "programme.mpg": _written(ENCODINGS["programme.mpg"]),
    "animation.gif": _written(Encoding("gif", pixel_format="rgb8", size=(96, 81))),
    "mpeg4.avi": _written(ENCODINGS["mpeg4.avi"]),
    "mpeg4_b_frames.avi": _written(ENCODINGS["mpeg4_b_frames.avi"]),
    "flash.flv": _written(ENCODINGS["b_frames.flv"]),
    "h263.3gp": _written(Encoding("h263", {"g": "8", "b": "4000k"}, size=(176, 144))),
    "pixel.mp4": write_pixel,
    "wrong_duration.mp4": _fragmented,
    "long.mp4": _written(Encoding(options=x264("keyint=250:min-keyint=250"), numbers=[i % 30 for i in range(_LONG)])),
}
"""How each file is written, by name."""

UNREADABLE = {
    "no_tables.mp4": "cut off",
    "sound.wav": "no video stream (streams: audio)",
    "cover.mp3": "no video stream",
    "subtitles.mp4": "no video stream (streams: subtitle)",
    "empty.webm": "0 bytes",
    "noise.mp4": "is not a video",
}
"""A part of the cause, by name."""

DAMAGED = {"refused_packet.mp4", "refused_packets.mp4", "cut_off.mp4", "cut_off.mkv", "cut_off.avi"}
"""Readable, but not all that is promised comes."""

TWINS = {
    "decord_video_0.mov": "three_frames.mov",
    "decord_video_90.mov": "rotated_270.mov",
    "decord_video_180.mov": "rotated_180.mov",
    "decord_video_270.mov": "rotated_90.mov",
    "rot270_h264_720p.mp4": "rotated_90.mp4",
    "decord_unordered.mov": "b_frames.mov",
    "decord_corrupted.mp4": "refused_packet.mp4",
    "failing_audio.mp4": "with_sound.mp4",
    "invalid_nalu_h264.mp4": "refused_packets.mp4",
    "empty_0_bytes.webm": "empty.webm",
    "vfr_slow_motion_h264.mp4": "vfr.mp4",
    "vfr_subtitles_h264.mkv": "with_subtitles.mkv",
    "hevc_8bit_128.mp4": "hevc.mp4",
    "hevc_10bit_200.mp4": "hevc_ten_bits.mp4",
    "h264_10bit_200.mp4": "ten_bits.mp4",
    "hevc_bframes.mp4": "hevc.mp4",
    "av1_360p.mkv": "av1.mkv",
    "av1_720p.mp4": "av1.mp4",
    "vp9_bear_320x240.webm": "vp9.webm",
    "vp9_odd_161x121.webm": "vp9_odd.webm",
    "vp8_720p_24f.webm": "vp8.webm",
    "vp9_alpha_200.webm": "vp9_alpha.webm",
    "h264_full_range_bt709.mp4": "full_range.mp4",
    "nasa_multi_stream.mp4": "two_streams.mp4",
    "audio_only.mp3": "sound.wav",
    "no_video_ttml.mp4": "subtitles.mp4",
    "editlist_negative_pts_h264.mp4": "edit_list.mp4",
    "editlist_start_1s_h264.mp4": "late_start.mp4",
    "h264_bpyramid_sar64_45.mp4": "other_pixels.mp4",
    "h264.ts": "transport.ts",
    "hls_segment_h264.ts": "gaps.ts",
    "mpeg2_program_stream.ps": "programme.mpg",
    "anim_314x273.gif": "animation.gif",
    "mpeg4_960x400.avi": "gaps.avi",
    "h264_1080x720.flv": "flash.flv",
    "h263_176x144.3gp": "h263.3gp",
    "h264_1x1_yuv444.mp4": "pixel.mp4",
    "fragmented_wrong_duration.mp4": "wrong_duration.mp4",
    "long_1080p_10883f.mp4": "long.mp4",
    "timestamps_burnt_in_60fps.mp4": "full_range.mp4",
    "portrait_720x1080.mp4": "portrait.mp4",
}
"""The file here that stands for each real one."""
