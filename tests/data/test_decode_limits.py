"""A file that would take more memory or time than allowed is refused before it does."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.test_decode_folder import write_frames
from tests.data.video_files import ENCODINGS, Encoding, need_engine, write, x264
from vidtok.config import AugmentConfig, ClipConfig, DataConfig
from vidtok.data.dataset import TrainDataset, ViewDataset, load_views
from vidtok.data.decode import DEFAULT_LIMITS, DecodeLimits, VideoInfo, decode_frames, open_video, probe
from vidtok.data.decode.convert import Converter
from vidtok.data.decode.info import ORDINARY_RATIO, Deadline, Orientation, frame_times
from vidtok.data.manifest import Item
from vidtok.data.swaps import LabelSwaps
from vidtok.errors import DecodeError

DECODERS = ("pyav", "pyav-isolated", "decord", "torchcodec")
FEW_PIXELS = DecodeLimits(frame_pixels=96 * 80 - 1)


def everything(info: VideoInfo) -> np.ndarray:
    return np.arange(info.num_frames)


def write_strip(path: Path, width: int, height: int, *, frames: int = 6) -> Path:
    """A GIF whose columns, or rows, count from dark to light."""
    ramp = np.linspace(0, 200, max(width, height)).astype(np.uint8)
    picture = np.broadcast_to(ramp if width > height else ramp[:, None], (height, width))
    pictures = [Image.fromarray(picture + np.uint8(number)) for number in range(frames)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)
    return path


def test_a_recipe_without_words_on_limits_has_the_usual_ones() -> None:
    assert DecodeLimits.of(DataConfig()) == DEFAULT_LIMITS
    assert DecodeLimits.of(DataConfig(max_clip_mb=3, max_pixels=5)) == DecodeLimits(read_bytes=3 << 20, frame_pixels=5)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", ["closed_gop.mp4", "clip.gif", "frames"])
def test_a_read_of_more_bytes_than_allowed_is_refused_with_the_numbers(
    videos: Path, tmp_path: Path, name: str, decoder: str
) -> None:
    need_engine(decoder)
    path = {
        "closed_gop.mp4": lambda: videos / name,
        "clip.gif": lambda: write(tmp_path / name, Encoding("gif", pixel_format="rgb8")),
        "frames": lambda: write_frames(tmp_path / name),
    }[name]()
    info = probe(path)
    needed = info.num_frames * info.width * info.height * 3
    with pytest.raises(DecodeError, match=rf"{info.num_frames} frames of {info.width}x{info.height}.*max_clip_mb=0"):
        decode_frames(path, everything, decoder=decoder, limits=DecodeLimits(read_bytes=needed - 1))
    fitting = DecodeLimits(read_bytes=needed)
    assert decode_frames(path, everything, decoder=decoder, limits=fitting).frames.nbytes == needed


def test_repeats_of_one_frame_count_as_the_memory_that_they_take(videos: Path) -> None:
    limits = DecodeLimits(read_bytes=99 * 96 * 80 * 3)
    with pytest.raises(DecodeError, match="100 frames"):
        decode_frames(videos / "closed_gop.mp4", lambda info: [0] * 100, limits=limits)


def test_an_engine_that_decodes_at_stored_size_leaves_to_pyav_what_would_not_fit(videos: Path) -> None:
    need_engine("decord")
    limits = DecodeLimits(read_bytes=10 * 96 * 80 * 3)
    decoded = decode_frames(videos / "closed_gop.mp4", everything, decoder="decord", short_side=16, limits=limits)
    assert decoded.decoder == "pyav" and "stored size" in decoded.fallback


@pytest.mark.parametrize("decoder", DECODERS)
def test_pictures_of_more_pixels_than_allowed_are_refused_before_one_is_decoded(videos: Path, decoder: str) -> None:
    need_engine(decoder)
    with pytest.raises(DecodeError, match=r"closed_gop\.mp4: its pictures would take 96x80 pixels.*max_pixels=7679"):
        open_video(videos / "closed_gop.mp4", decoder=decoder, limits=FEW_PIXELS)


@pytest.mark.parametrize("size", [(112, 80), (2304, 2000)])
def test_pictures_that_grow_later_are_left_out_as_damage(tmp_path: Path, size: tuple[int, int]) -> None:
    small = write(tmp_path / "small.h264", ENCODINGS["elementary.h264"])
    large = write(tmp_path / "large.h264", Encoding(options=x264(), size=size, numbers=range(2), format="h264"))
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    alone = decode_frames(small, everything)
    bounded = decode_frames(both, everything, verify=True, limits=DecodeLimits(frame_pixels=96 * 80))
    assert bounded.info.num_frames == alone.info.num_frames < probe(both).num_frames
    np.testing.assert_array_equal(bounded.frames, alone.frames)


def test_a_canvas_that_a_header_enlarges_is_refused_by_the_decoder(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.gif", Encoding("gif", pixel_format="rgb8"))
    content = bytearray(path.read_bytes())
    struct.pack_into("<HH", content, 6, 65535, 65535)
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=r"data\.max_pixels"):
        probe(path)


def test_an_image_that_unpacks_to_gigabytes_is_refused_by_its_header(tmp_path: Path) -> None:
    write_frames(tmp_path / "clip", "{}.png")
    with Image.open(tmp_path / "clip" / "1.png") as picture:
        plain = io.BytesIO()
        picture.save(plain, "PNG")
    bomb = bytearray(plain.getvalue())
    struct.pack_into(">II", bomb, 16, 12000, 9000)  # in the range of Pillow's warning, not of its error
    (tmp_path / "clip" / "1.png").write_bytes(bomb)
    with pytest.raises(DecodeError, match=r"1\.png"):
        probe(tmp_path / "clip")


def test_training_and_test_views_obey_the_limits_of_the_recipe(videos: Path) -> None:
    clip = ClipConfig(frames=8, stride=1, size=32)
    items, limits = (Item(str(videos / "closed_gop.mp4"), 0),), DecodeLimits(read_bytes=7 * 96 * 80 * 3)
    swaps = LabelSwaps({}, {}, {})
    test = ViewDataset(items, clip=clip, num_clips=1, num_crops=1, limits=DecodeLimits(read_bytes=1000))[0]
    train = TrainDataset(items, clip=clip, augment=AugmentConfig(), swaps=swaps, seed=0, limits=limits)
    for sample in (test, train[0, 0]):
        assert not sample["valid"] and "data.max_clip_mb" in sample["error"]


# ----------------------------------------------------------------------------------------- strips


@pytest.mark.parametrize(("width", "height"), [(6000, 2), (2, 6000), (4001, 16)])
def test_a_strip_is_never_enlarged_and_its_crops_are_those_of_the_enlarged_one(
    tmp_path: Path, width: int, height: int
) -> None:
    path = write_strip(tmp_path / "strip.gif", width, height)
    decoded = decode_frames(path, everything, short_side=64)
    assert decoded.frames.shape[1:3] == (height, width)
    views = load_views(str(path), ClipConfig(frames=2, size=64), num_clips=1, num_crops=3).views
    assert views.shape == (3, 3, 2, 64, 64)
    levels = views[:, 0, 0].float().mean((1, 2))  # start, centre and end of the ramp
    assert levels[0] < 10 and abs(levels[1] - 100) < 10 and levels[2] > 190


def test_an_ordinary_picture_is_enlarged_as_ever(tmp_path: Path) -> None:
    path = write_strip(tmp_path / "wide.gif", 16 * ORDINARY_RATIO, 16)
    assert decode_frames(path, everything, short_side=64).frames.shape[1:3] == (64, 64 * ORDINARY_RATIO)
    path = write_strip(tmp_path / "wider.gif", 16 * ORDINARY_RATIO + 1, 16)
    assert decode_frames(path, everything, short_side=64).frames.shape[1:3] == (16, 16 * ORDINARY_RATIO + 1)


def test_a_strip_trains_without_being_enlarged_too(tmp_path: Path) -> None:
    info = probe(write_strip(tmp_path / "strip.gif", 5000, 3))
    assert info.scaled_size(256) == (5000, 3)
    assert info.picture_shape(256, "yuv420") == (6, 5000)
    assert VideoInfo("v", 1, np.zeros(1), 1.0, 20000, 1000, 0, "h264").scaled_size(256) == (5120, 256)


# -------------------------------------------------------------------------------- time, and its lies


def test_conversion_stops_at_the_deadline(videos: Path) -> None:
    converter = Converter(Orientation(), Deadline("v.mp4", -1).check)
    with open_video(videos / "closed_gop.mp4") as reader:
        frame = next(reader._frames_in_order())
    with pytest.raises(DecodeError, match="deadline"):
        converter.store(frame, np.empty((80, 96, 3), np.uint8), "rgb")


def test_a_folder_of_frames_has_a_deadline_too(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="deadline"):
        decode_frames(write_frames(tmp_path / "clip"), everything, short_side=24, deadline_seconds=0)


def test_times_further_apart_than_a_number_can_say_still_rise() -> None:
    seconds, fps = frame_times([-(2**62) - 5, 0, 2**62 + 2**61], 1e-6, 25.0)
    assert np.all(np.diff(seconds) > 0) and fps > 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_among_the_images_of_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip", "{}.png")
    (folder / "1.png").unlink()
    os.mkfifo(folder / "1.png")
    with pytest.raises(DecodeError, match=r"1\.png is not a regular file"):
        probe(folder)


def test_what_only_calls_itself_an_image_is_not_handed_to_an_interpreter(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip", "{}.png")
    Image.new("RGB", (64, 48)).save(folder / "1.png", format="EPS")
    with pytest.raises(DecodeError, match=r"1\.png cannot be read \(no image\)"):
        probe(folder)
