"""Warps against PIL's, and the crop that goes with them."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from vidtok.data.pixels import Op
from vidtok.data.transforms import Box, crop_and_resize
from vidtok.data.warp import FILL, WARP_OPS, warp_crop_and_resize

SIDE = 64
WHOLE = (0, 0, SIDE, SIDE)


def smooth(*, frames: int = 1, height: int = SIDE, width: int = SIDE) -> torch.Tensor:
    """uint8 [T, H, W, 3] without sharp edges."""
    coarse = np.random.default_rng(1).integers(40, 220, (frames, 5, 6, 3), dtype=np.uint8)
    fine = [np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC)) for frame in coarse]
    return torch.from_numpy(np.stack(fine))


def warp(frames: torch.Tensor, *ops: Op, box: Box = WHOLE, size: int = SIDE) -> torch.Tensor:
    return warp_crop_and_resize(frames, ops, box, size=size)


def by_pil(frames: torch.Tensor, op: Op) -> torch.Tensor:
    image, fill = Image.fromarray(frames[0].numpy()), (FILL, FILL, FILL)
    width, height = image.size
    coefficients = {
        "shear_x": (1, op.amount, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, op.amount, 1, 0),
        "translate_x": (1, 0, op.amount * width, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, op.amount * height),
    }
    bilinear = Image.Resampling.BILINEAR
    if op.name == "rotate":
        out = image.rotate(op.amount, resample=bilinear, fillcolor=fill)
    else:
        out = image.transform(
            image.size, Image.Transform.AFFINE, coefficients[op.name], resample=bilinear, fillcolor=fill
        )
    return torch.from_numpy(np.array(out))[None]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("name", "amount"), [("rotate", 25.0), *((name, 0.2) for name in WARP_OPS if name != "rotate")]
)
def test_a_warp_is_pils(name: str, amount: float, sign: int) -> None:
    frames, op = smooth(), Op(name, sign * amount)
    ours, theirs = warp(frames, op), by_pil(frames, op)
    difference = (ours.int() - theirs.int()).abs()
    # PIL truncates in fixed point, and does not blend with what lies outside: borders differ
    assert (difference > 2).float().mean() < 0.06
    assert difference[:, 24:40, 24:40].max() <= 2
    outside = (theirs == FILL).all(-1)
    assert 0.05 < outside.float().mean() < 0.4
    assert (ours[outside] == FILL).float().mean() > 0.9


def test_without_operations_only_the_box_is_cut() -> None:
    frames = smooth(frames=3, height=50, width=70)
    out = warp(frames, box=(10, 20, 32, 32), size=32)
    assert torch.equal(out, frames[:, 10:42, 20:52])


def test_a_shift_by_whole_pixels_moves_the_box() -> None:
    frames = smooth(frames=2, height=40, width=80)
    out = warp(frames, Op("translate_x", 0.25), Op("translate_y", -0.1), box=(4, 0, 30, 30), size=30)
    assert torch.equal(out, frames[:, 0:30, 20:50])


def test_operations_are_applied_in_order() -> None:
    frames = smooth()
    first, second = Op("rotate", 20.0), Op("translate_x", 0.2)
    stepwise = warp(warp(frames, first), second)
    other_order = warp(warp(frames, second), first)
    together = warp(frames, first, second)
    middle = slice(8, -24)
    assert (together - stepwise.float())[:, middle, middle].abs().mean() < 2
    assert (together - other_order.float())[:, middle, middle].abs().mean() > 5


def test_a_warp_and_its_inverse_cancel_in_one_sampling() -> None:
    frames = smooth(frames=2)
    out = warp(frames, Op("rotate", 30.0), Op("shear_x", 0.3), Op("shear_x", -0.3), Op("rotate", -30.0))
    assert (out.int() - frames.int()).abs().max() <= 1


@pytest.mark.parametrize("box", [(0, 0, 240, 320), (20, 10, 200, 300), (3, 5, 40, 50)])
def test_a_tiny_warp_is_the_plain_crop_at_every_scale(box: Box) -> None:
    frames = smooth(frames=2, height=240, width=320)
    warped = warp(frames, Op("rotate", 1e-6), box=box, size=48)
    plain = crop_and_resize(frames, box, size=48)
    assert (warped.float() - plain.float()).abs().mean() < 3  # two filters, one scene


def test_much_larger_boxes_are_not_sampled_with_holes() -> None:
    frames = torch.zeros(1, 256, 256, 3, dtype=torch.uint8)
    frames[:, :, ::2] = 200  # stripes of one pixel must become grey, not a pattern
    out = warp(frames, Op("rotate", 1e-6), box=(0, 0, 256, 256), size=32)
    assert (out.float() - 100).abs().max() < 12


def test_all_frames_get_the_same_warp_and_far_places_are_filled() -> None:
    still = smooth().expand(4, SIDE, SIDE, 3)
    out = warp(still, Op("rotate", 17.0), Op("shear_y", 0.1))
    assert all(torch.equal(out[0], out[frame]) for frame in range(1, 4))
    gone = warp(still, Op("translate_x", 3.0))
    assert torch.equal(gone, torch.full_like(gone, FILL))


def test_a_rotation_is_by_degrees_about_the_centre() -> None:
    frames = torch.full((1, SIDE, SIDE, 3), 50, dtype=torch.uint8)
    frames[:, 8:12, 30:34] = 250  # 22 pixels above the centre
    out = warp(frames, Op("rotate", 30.0)).float().mean(-1)[0]
    out[out <= FILL] = 0
    rows, columns = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    spot = [float((out * axis).sum() / out.sum()) for axis in (rows, columns)]
    assert spot == pytest.approx([32 - 22 * math.cos(math.pi / 6), 32 - 22 * math.sin(math.pi / 6)], abs=0.3)
