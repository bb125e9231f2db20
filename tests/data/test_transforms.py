"""Resize, crops and normalisation, against slow or hand-made answers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidtok.data.transforms import make_views, normalise, resize, resize_short_side, to_clip, view_boxes


def noise(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def coordinates(height: int, width: int, *, frames: int = 1) -> torch.Tensor:
    """Frames [T, H, W, 3] whose pixels say (row, column, frame)."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pictures = [torch.stack((rows, columns, torch.full_like(rows, frame)), -1) for frame in range(frames)]
    return torch.stack(pictures).to(torch.uint8)


def test_resize_of_uint8_agrees_with_float_to_one_grey_level() -> None:
    frames = noise(3, 40, 56, 3)
    ours = resize(frames, height=24, width=31)
    float_planes = torch.nn.functional.interpolate(
        frames.permute(0, 3, 1, 2).float(), size=(24, 31), mode="bilinear", antialias=True
    )
    assert ours.dtype == torch.uint8 and ours.shape == (3, 24, 31, 3)
    # uint8 weights have few bits and both passes round: at most one level off
    assert (ours.float() - float_planes.permute(0, 2, 3, 1)).abs().max() <= 1.01


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 60))
def test_the_short_side_is_exact_and_the_aspect_kept(height: int, width: int, short_side: int) -> None:
    out = resize_short_side(torch.zeros(1, height, width, 3, dtype=torch.uint8), short_side=short_side)
    scale = short_side / min(height, width)
    assert min(out.shape[1:3]) == short_side
    assert abs(out.shape[1] - height * scale) <= 0.5 + 1e-9 and abs(out.shape[2] - width * scale) <= 0.5 + 1e-9


def test_resizing_to_the_present_size_changes_no_pixel() -> None:
    frames = noise(2, 8, 12, 3)
    assert torch.equal(resize_short_side(frames, short_side=8), frames)


@pytest.mark.parametrize(
    ("height", "width", "corners"),
    [
        (256, 340, [(16, 0), (16, 58), (16, 116)]),
        (340, 256, [(0, 16), (58, 16), (116, 16)]),
        (224, 299, [(0, 0), (0, 38), (0, 75)]),  # centre rounded up
        (224, 224, [(0, 0)] * 3),
        (256, 256, [(16, 0), (16, 16), (16, 32)]),
    ],
)
def test_three_crops_lie_along_the_longer_side(height: int, width: int, corners: list[tuple[int, int]]) -> None:
    boxes = view_boxes(height, width, size=224, num_crops=3)
    assert [box[:2] for box in boxes] == corners
    assert {box[2:] for box in boxes} == {(224, 224)}
    assert view_boxes(height, width, size=224, num_crops=1) == [boxes[1]]


def test_views_are_clips_by_crops_of_the_right_pixels_and_frames() -> None:
    frames = coordinates(20, 32, frames=5)
    rows = torch.tensor([[0, 1, 2], [2, 4, 4]])
    views = make_views(frames, rows, short_side=20, size=16, num_crops=3)
    assert views.shape == (6, 3, 3, 16, 16) and views.dtype == torch.uint8 and views.is_contiguous()
    assert views[:, 0, 0, 0, 0].tolist() == [2] * 6  # top row of every crop
    assert views[:, 1, 0, 0, 0].tolist() == [0, 8, 16] * 2  # left column
    assert views[:, 2, :, 0, 0].tolist() == [[0, 1, 2]] * 3 + [[2, 4, 4]] * 3


def test_one_crop_is_the_middle_one_of_three() -> None:
    frames, rows = noise(4, 30, 50, 3), torch.tensor([[0, 1], [2, 3]])
    three = make_views(frames, rows, short_side=24, size=20, num_crops=3)
    one = make_views(frames, rows, short_side=24, size=20, num_crops=1)
    assert torch.equal(one, three[1::3])


def test_to_clip_puts_channels_first_and_time_second() -> None:
    frames = noise(2, 5, 6, 7, 3)
    clip = to_clip(frames)
    assert clip.shape == (2, 3, 5, 6, 7)
    assert clip[1, 2, 3, 4, 5] == frames[1, 3, 4, 5, 2]


def test_black_and_white_become_what_papers_feed() -> None:
    black, white = torch.zeros(3, 1, 1, 1, dtype=torch.uint8), torch.full((3, 1, 1, 1), 255, dtype=torch.uint8)
    vivit = [normalise(clip, (0.5,) * 3, (0.5,) * 3).flatten().tolist() for clip in (black, white)]
    assert vivit == [[-1.0] * 3, [1.0] * 3]
    timesformer = [normalise(clip, (0.45,) * 3, (0.225,) * 3)[0].item() for clip in (black, white)]
    assert timesformer == pytest.approx([-2.0, 2.444], abs=1e-3)


def test_every_channel_has_its_own_mean_and_deviation_and_the_input_stays() -> None:
    clips, mean, std = noise(2, 4, 3, 2, 5, 5), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    before = clips.clone()
    out = normalise(clips, mean, std)
    shaped = [torch.tensor(values).view(3, 1, 1, 1) for values in (mean, std)]
    torch.testing.assert_close(out, (before.float() / 255 - shaped[0]) / shaped[1])
    assert torch.equal(clips, before)
