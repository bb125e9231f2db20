"""Planes turned into RGB against FFmpeg's scaler, which reads the same colours from the file."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.data.video_files import ENCODINGS, psnr
from vidtok.data.decode import VideoInfo, decode_frames
from vidtok.data.decode.convert import split_planes
from vidtok.data.yuv import rgb_matrix, yuv420_to_rgb

EIGHT_BITS = [
    name for name in ENCODINGS if name not in ("ten_bits.mp4", "odd_444.mp4", "vp9_odd.webm", "animation.gif")
]


def spread(info: VideoInfo) -> np.ndarray:
    return np.linspace(0, info.num_frames - 1, 3).astype(int)


def info(matrix: str, is_full_range: bool) -> VideoInfo:
    return VideoInfo("x", 1, np.zeros(1), 25.0, 4, 4, 0, "h264", matrix, is_full_range)


def in_rgb(path: Path, short_side: int | None) -> np.ndarray:
    """Frames [T, H, W, 3] by way of their planes."""
    decoded = decode_frames(path, spread, short_side=short_side, pixel_format="yuv420")
    rgb = yuv420_to_rgb(torch.from_numpy(decoded.frames), rgb_matrix(decoded.info))
    return rgb.permute(1, 2, 3, 0).numpy()


@pytest.mark.parametrize("name", EIGHT_BITS)
def test_planes_become_the_rgb_of_the_decoder(videos: Path, name: str) -> None:
    assert psnr(decode_frames(videos / name, spread).frames, in_rgb(videos / name, None)) >= 42


@pytest.mark.parametrize("name", ["closed_gop.mp4", "rotated_90.mp4", "motion_jpeg.avi", "vp8_alt_ref.webm"])
@pytest.mark.parametrize("short_side", [60, 120])
def test_scaled_planes_become_about_the_scaled_rgb(videos: Path, name: str, short_side: int) -> None:
    theirs = decode_frames(videos / name, spread, short_side=short_side).frames
    # The pictures' hard edges between saturated red and grey are the worst case for chroma of half the size.
    assert psnr(theirs, in_rgb(videos / name, short_side)) >= 28


def test_odd_sides_are_rounded_up(videos: Path) -> None:
    decoded = decode_frames(videos / "vp9_odd.webm", spread, pixel_format="yuv420")
    assert decoded.frames.shape == (3, 82 * 3 // 2, 98)


@pytest.mark.parametrize("is_full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
def test_matrices_are_those_of_ffmpeg(matrix: str, is_full_range: bool) -> None:
    spaces, ranges = {"bt601": 5, "bt709": 1, "bt2020": 9}, (1, 2)
    planes = np.random.default_rng(0).integers(16, 236, (6, 4), dtype=np.uint8)
    planes[4:] = 118 + planes[4:] // 12
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.colorspace, frame.color_range = spaces[matrix], ranges[is_full_range]
    ours = yuv420_to_rgb(torch.from_numpy(planes)[None], rgb_matrix(info(matrix, is_full_range)))
    theirs = frame.to_ndarray(format="rgb24")
    np.testing.assert_allclose(ours[:, 0].permute(1, 2, 0), theirs, atol=4)  # FFmpeg's tables truncate


def test_black_and_white_are_the_ends_of_the_range() -> None:
    for is_full_range, (black, white) in ((False, (16, 235)), (True, (0, 255))):
        for luma, expected in ((black, 0.0), (white, 255.0)):
            planes = torch.full((1, 6, 4), 128, dtype=torch.uint8)
            planes[:, :4] = luma
            rgb = yuv420_to_rgb(planes, rgb_matrix(info("bt709", is_full_range)))
            torch.testing.assert_close(rgb, torch.full((3, 1, 4, 4), expected), atol=1e-3, rtol=0)


def test_each_clip_of_a_batch_has_its_own_matrix() -> None:
    planes = torch.randint(0, 256, (2, 3, 12, 8), dtype=torch.uint8)
    matrices = torch.stack([rgb_matrix(info("bt601", False)), rgb_matrix(info("bt709", True))])
    together = yuv420_to_rgb(planes, matrices)
    assert together.shape == (2, 3, 3, 8, 8)
    for place in range(2):
        torch.testing.assert_close(together[place], yuv420_to_rgb(planes[place], matrices[place]))


def test_planes_are_views_of_one_picture() -> None:
    picture = np.zeros((9, 4), np.uint8)
    for number, plane in enumerate(split_planes(picture), 1):
        plane[:] = number
    assert picture.ravel().tolist() == [1] * 24 + [2] * 6 + [3] * 6
