"""A folder of numbered images is a video like any other; a gap or a broken image is told, never bridged."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vidtok.data.decode import decode_frames, open_video, probe
from vidtok.data.decode.folder import FRAME_RATE, image_files
from vidtok.errors import DecodeError

LEVELS = [20 * number for number in range(12)]


def write_frames(folder: Path, template: str = "img_{:05d}.jpg", *, first: int = 1, levels: list[int] = LEVELS) -> Path:
    """Write one 64 x 48 image per level, red stronger than blue."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, level in enumerate(levels, first):
        picture = np.full((48, 64, 3), level, dtype=np.uint8)
        picture[..., 0] += 15
        Image.fromarray(picture).save(folder / template.format(number))
    return folder


def blue_levels(frames: np.ndarray) -> list[int]:
    return [round(float(frame[..., 2].mean()) / 20) * 20 for frame in frames]


@pytest.mark.parametrize(
    ("template", "first"),
    [
        ("img_{:05d}.jpg", 1), ("{:06d}.jpg", 0), ("{}.png", 95), ("v2_12_{:03d}.JPG", 1), ("frame{:d}.webp", 7),
        ("image-{:05d}.bmp", 0),
    ],
)  # fmt: skip
def test_every_numbering_is_found_and_read_in_order(tmp_path: Path, template: str, first: int) -> None:
    folder = write_frames(tmp_path / "clip", template, first=first)
    (folder / ".img_00000.jpg").touch()
    (folder / "notes.txt").touch()
    decoded = decode_frames(folder, lambda info: np.arange(info.num_frames))
    assert blue_levels(decoded.frames) == LEVELS
    assert (decoded.decoder, decoded.fallback, decoded.info.fps) == ("images", None, FRAME_RATE)
    assert (decoded.info.width, decoded.info.height, decoded.info.num_frames) == (64, 48, 12)


def test_frames_come_as_asked_repeats_and_scaling_included(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip", "{:03d}.png")
    with open_video(folder, decoder="decord") as reader:
        frames = reader.read(np.array([7, 0, 7, 3]), short_side=24)
        assert frames.shape == (4, 24, 32, 3)
        assert blue_levels(frames) == [140, 0, 140, 60]
        assert np.all(frames[..., 0].astype(int) - frames[..., 2] > 10)
        exact = reader.read(np.array([5]))
        np.testing.assert_array_equal(exact[0, 0, 0], [115, 100, 100])
        assert reader.read(np.arange(0)).shape == (0, 48, 64, 3)
        assert reader.read(np.array([1]), short_side=24, pixel_format="yuv420").shape == (1, 36, 32)


def test_pictures_of_optical_flow_are_left_out(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip")
    for template in ("flow_x_{:05d}.jpg", "x_{:05d}.jpg", "y_{:05d}.jpg"):
        write_frames(folder, template, levels=[0, 0])
    assert image_files(str(folder)) == [f"img_{number:05d}.jpg" for number in range(1, 13)]


def test_grey_palette_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    for number, mode in enumerate(("L", "P", "RGBA", "1")):
        Image.new("RGB", (64, 48), (255, 255, 255)).convert(mode).save(tmp_path / f"{number}.png")
    frames = decode_frames(tmp_path, lambda info: np.arange(info.num_frames)).frames
    assert frames.shape == (4, 48, 64, 3)
    assert frames.min() == 255


def test_missing_numbers_are_one_clear_error(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip")
    for number in (3, 4, 9):
        (folder / f"img_{number:05d}.jpg").unlink()
    message = r"clip: 3 images missing between img_00001\.jpg and img_00012\.jpg, the first is number 3; extract"
    with pytest.raises(DecodeError, match=message):
        probe(folder)


def test_a_broken_image_is_named_when_it_is_read_and_by_verify(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip")
    os.truncate(folder / "img_00005.jpg", 300)
    with open_video(folder) as reader:
        assert blue_levels(reader.read(np.array([0, 1]))) == [0, 20]
        for arguments in ({"indices": np.array([4])}, {"indices": np.array([0]), "verify": True}):
            with pytest.raises(DecodeError, match=r"clip: img_00005\.jpg cannot be read \(.+\); extract") as error:
                reader.read(**arguments)
            assert "\n" not in str(error.value)


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip")
    Image.new("RGB", (32, 48)).save(folder / "img_00002.jpg")
    with open_video(folder) as reader, pytest.raises(DecodeError, match=r"img_00002.jpg is 32x48, .* is 64x48"):
        reader.read(np.array([1]))


def test_folders_that_are_no_video_say_why(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="is a folder without numbered images; give a video file or a folder"):
        probe(tmp_path)
    write_frames(tmp_path / "two", "a_{}.jpg")
    with pytest.raises(DecodeError, match=r"holds several series of images \(a_\*\.jpg, b_\*\.jpg\)"):
        probe(write_frames(tmp_path / "two", "b_{}.jpg"))
    write_frames(tmp_path / "twice", "{:03d}.jpg")
    with pytest.raises(DecodeError, match="two images have the same number between 001.jpg and 012.jpg"):
        probe(write_frames(tmp_path / "twice", "{:02d}.jpg", levels=[0, 0]))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "1.jpg").touch()
    with pytest.raises(DecodeError, match=r"1\.jpg cannot be read \(no image\)"):
        probe(tmp_path / "empty")


def test_no_mutated_image_raises_anything_else_than_a_decode_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    outcomes = {"read": 0, "refused": 0}
    for suffix in ("jpg", "png", "bmp", "webp"):
        folder = write_frames(tmp_path / suffix, f"{{}}.{suffix}", levels=[100])
        whole = np.frombuffer((folder / f"1.{suffix}").read_bytes(), np.uint8)
        for _ in range(60):
            mutated = whole[: rng.integers(1, len(whole) + 1) if rng.random() < 0.3 else None].copy()
            mutated[rng.integers(0, len(mutated), 3)] = rng.integers(0, 256, 3)
            (folder / f"1.{suffix}").write_bytes(mutated.tobytes())
            try:
                decode_frames(folder, lambda info: np.arange(info.num_frames), short_side=16)
                outcomes["read"] += 1
            except DecodeError:
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 0
