"""Frames are asserted by the number that each picture shows, and bit by bit against a plain loop over the file."""

from pathlib import Path

import numpy as np
import pytest

from tests.data.video_files import (
    ENCODINGS,
    HEIGHT,
    NUM_FRAMES,
    NUM_HIDDEN,
    RATE,
    VFR_TIMES,
    WIDTH,
    Encoding,
    frame_numbers,
    need_engine,
    psnr,
    reference_frames,
    write_two_streams,
)
from vidtok.data.decode import VideoInfo, decode_frames, open_video, probe

CHOICES = [
    *([number] for number in range(NUM_FRAMES)),
    list(range(0, NUM_FRAMES, 3)),
    list(range(NUM_FRAMES))[::-1],
    [NUM_FRAMES - 1, 0, NUM_FRAMES // 2, 0],
    [7, 8, 9, 16, 17],
]
"""Frame numbers in presentation order; 8, 16 and 24 start groups of pictures."""

REFUSED_BY_DECORD = {
    "no_b_frames.flv": "flv",
    "b_frames.flv": "flv",
    "b_frames_h264.avi": "presentation times",
    "open_gop.mp4": "refer to earlier",
    "open_gop.mkv": "refer to earlier",
    "open_gop.ts": "mpegts",
    "intra_refresh.mp4": "refer to earlier",
    "transport.ts": "mpegts",
    "programme.mpg": "mpeg",
    "elementary.h264": "presentation times",
    "hevc.mp4": "hevc",
    "mpeg4_b_frames.avi": "presentation times",
    "mpeg4_b_frames.mp4": "refer to earlier",
    "mpeg4_closed_gop.mp4": "B frames",
    "mpeg2_b_frames.mkv": "mpeg2video",
    "av1.mp4": "av1",
    "animation.gif": "gif",
    "odd_444.mp4": "yuv444p",
    "ten_bits.mp4": "yuv420p10le",
    "mirrored.mp4": "mirrored",
    "edit_list.mp4": "edit list",
    "equal_times.mkv": "share presentation times",
}

REFUSED_BY_TORCHCODEC = {
    "b_frames_h264.avi": "presentation times",
    "open_gop.mp4": "refer to earlier",
    "open_gop.mkv": "refer to earlier",
    "open_gop.ts": "mpegts",
    "intra_refresh.mp4": "refer to earlier",
    "transport.ts": "mpegts",
    "programme.mpg": "mpeg",
    "elementary.h264": "presentation times",
    "mpeg4_b_frames.avi": "presentation times",
    "mpeg2_b_frames.mkv": "mpeg2video",
    "animation.gif": "gif",
    "odd_444.mp4": "yuv444p",
    "ten_bits.mp4": "yuv420p10le",
    "mirrored.mp4": "mirrored",
    "equal_times.mkv": "share presentation times",
}


def displayed(stored: np.ndarray, encoding: Encoding) -> np.ndarray:
    """A stored picture [H, W, 3] as the file asks to show it."""
    turned = np.rot90(stored, encoding.rotation // 90)
    return turned[:, ::-1] if encoding.hflip else turned


def everything(info: VideoInfo) -> np.ndarray:
    return np.arange(info.num_frames)


# ------------------------------------------------------------------------------------ intact files


@pytest.mark.parametrize("name", ENCODINGS)
def test_frames_show_the_numbers_that_were_written(videos: Path, name: str) -> None:
    shown = list(ENCODINGS[name].numbers)[NUM_HIDDEN if name == "edit_list.mp4" else 0 :]
    decoded = decode_frames(videos / name, everything)
    assert frame_numbers(decoded.frames) == shown
    assert decoded.info.num_frames == probe(videos / name).num_frames == len(shown)


@pytest.mark.parametrize("name", ENCODINGS)
def test_any_choice_of_frames_equals_the_decode_of_the_whole_file(videos: Path, name: str) -> None:
    count, stored = reference_frames(videos / name)
    theirs = {number: displayed(frame, ENCODINGS[name]) for number, frame in stored.items()}
    with open_video(videos / name) as reader:
        for choice in CHOICES:
            numbers = [number % count for number in choice]
            ours = reader.read(np.array(numbers))
            np.testing.assert_array_equal(ours, np.stack([theirs[number] for number in numbers]))


@pytest.mark.parametrize(("decoder", "refused"), [("decord", REFUSED_BY_DECORD), ("torchcodec", REFUSED_BY_TORCHCODEC)])
@pytest.mark.parametrize("name", ENCODINGS)
def test_other_engines_give_the_frames_of_pyav_or_hand_the_file_over(
    videos: Path, name: str, decoder: str, refused: dict[str, str]
) -> None:
    need_engine(decoder)
    theirs = decode_frames(videos / name, everything).frames
    with open_video(videos / name, decoder=decoder) as reader:
        sequential = reader.read(np.arange(len(theirs)))
        for choice in CHOICES:
            numbers = np.array(choice) % len(theirs)
            np.testing.assert_array_equal(reader.read(numbers), sequential[numbers])
        if name in refused:
            assert reader.name == "pyav" and refused[name] in reader.fallback
        else:
            assert reader.name == decoder and reader.fallback is None
        assert psnr(sequential, theirs) >= 38


def test_auto_is_pyav(videos: Path) -> None:
    decoded = decode_frames(videos / "closed_gop.mp4", lambda info: [0])
    assert (decoded.decoder, decoded.fallback) == ("pyav", None)


def test_the_chosen_numbers_may_have_any_shape_and_repeat(videos: Path) -> None:
    chosen = np.array([[5, 2], [2, 29]])
    decoded = decode_frames(videos / "closed_gop.mp4", lambda info: chosen)
    assert decoded.indices.tolist() == frame_numbers(decoded.frames) == [5, 2, 2, 29]
    assert decoded.frames.shape == (4, HEIGHT, WIDTH, 3) and decoded.frames.dtype == np.uint8


@pytest.mark.parametrize("decoder", ["pyav", "decord", "torchcodec"])
def test_no_numbers_give_no_frames(videos: Path, decoder: str) -> None:
    need_engine(decoder)
    decoded = decode_frames(videos / "closed_gop.mp4", lambda info: [], decoder=decoder, short_side=40)
    assert decoded.frames.shape == (0, 40, 48, 3)


def test_numbers_outside_the_video_are_refused(videos: Path) -> None:
    with open_video(videos / "closed_gop.mp4") as reader:
        for numbers in ([NUM_FRAMES], [-1]):
            with pytest.raises(IndexError, match="closed_gop.mp4"):
                reader.read(np.array(numbers))
        with pytest.raises(ValueError, match="flatten"):
            reader.read(np.array([[0]]))


@pytest.mark.parametrize("decoder", ["pyav", "decord", "torchcodec"])
def test_only_the_first_video_stream_is_read(tmp_path: Path, decoder: str) -> None:
    need_engine(decoder)
    decoded = decode_frames(write_two_streams(tmp_path / "two.mp4"), everything, decoder=decoder)
    assert frame_numbers(decoded.frames) == list(range(NUM_FRAMES))
    assert decoded.frames.shape[1:] == (HEIGHT, WIDTH, 3)


# ------------------------------------------------------------------------------ what is known of a video


def test_times_and_rate_of_a_constant_rate_start_at_zero(videos: Path) -> None:
    for name in ("closed_gop.mp4", "late_start.mkv", "transport.ts"):
        info = probe(videos / name)
        np.testing.assert_allclose(info.pts_seconds, np.arange(NUM_FRAMES) / RATE, atol=1e-3)
        assert info.fps == pytest.approx(RATE, rel=1e-3)
        assert info.duration_seconds == pytest.approx(NUM_FRAMES / RATE, rel=1e-3)


def test_times_of_a_variable_rate_are_kept(videos: Path) -> None:
    for name in ("vfr.mp4", "vfr.mkv"):
        info = probe(videos / name)
        np.testing.assert_allclose(info.pts_seconds, np.array(VFR_TIMES) / RATE, atol=1e-3)
        assert info.fps == pytest.approx((NUM_FRAMES - 1) * RATE / VFR_TIMES[-1])


def test_one_frame_has_the_rate_of_its_container(videos: Path) -> None:
    info = probe(videos / "one_frame.mp4")
    assert (info.num_frames, info.pts_seconds.tolist(), info.fps) == (1, [0.0], RATE)


@pytest.mark.parametrize(
    ("name", "rotation", "size", "corner"),
    [
        ("closed_gop.mp4", 0, (WIDTH, HEIGHT), (0, 0)),
        ("rotated_90.mp4", 90, (HEIGHT, WIDTH), (-1, 0)),
        ("rotated_180.mp4", 180, (WIDTH, HEIGHT), (-1, -1)),
        ("rotated_270.mp4", 270, (HEIGHT, WIDTH), (0, -1)),
        ("mirrored.mp4", 0, (WIDTH, HEIGHT), (0, -1)),
    ],
)
def test_the_stored_corner_is_where_the_display_matrix_puts_it(
    videos: Path, name: str, rotation: int, size: tuple[int, int], corner: tuple[int, int]
) -> None:
    decoded = decode_frames(videos / name, everything, short_side=40)
    assert (decoded.info.rotation, decoded.info.width, decoded.info.height) == (rotation, *size)
    red, green, _ = decoded.frames[-1][tuple(4 * side if side == 0 else -4 for side in corner)]
    assert red > 150 and green < 60


@pytest.mark.parametrize("decoder", ["pyav", "decord", "torchcodec"])
@pytest.mark.parametrize("name", ["closed_gop.mp4", "rotated_90.mp4", "vp9_odd.webm"])
@pytest.mark.parametrize("short_side", [33, 80, 121])
def test_scaling_brings_the_short_side_to_its_size_and_keeps_the_frames(
    videos: Path, decoder: str, name: str, short_side: int
) -> None:
    need_engine(decoder)
    decoded = decode_frames(videos / name, everything, decoder=decoder, short_side=short_side)
    info, (height, width) = decoded.info, decoded.frames.shape[1:3]
    assert decoded.decoder == decoder
    assert min(height, width) == short_side
    assert abs(max(height, width) - short_side * max(info.width, info.height) / min(info.width, info.height)) <= 0.5
    assert frame_numbers(decoded.frames) == list(range(NUM_FRAMES))
