"""Pixel operations against PIL's, and the same change for every frame."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from vidtok.data.pixels import CLIP_OPS, TABLE_OPS, ColorTwist, Op, apply_pixel_ops

OPS = [
    Op("autocontrast"),
    Op("equalize"),
    Op("invert"),
    Op("posterize", 3),
    Op("posterize", 1),
    Op("solarize", 100),
    Op("solarize", 256),
    Op("solarize_add", 77),
    Op("brightness", 1.6),
    Op("brightness", 0.4),
    Op("contrast", 1.6),
    Op("contrast", 0.4),
    Op("color", 1.6),
    Op("color", 0.4),
    Op("sharpness", 1.6),
    Op("sharpness", 0.4),
]
EXACT = {"autocontrast", "equalize", "invert", "posterize", "solarize", "solarize_add", "brightness"}


def picture(*, frames: int = 1, height: int = 40, width: int = 52) -> torch.Tensor:
    """Smooth coloured noise that does not reach 0 or 255, uint8 [3, T, H, W]."""
    coarse = np.random.default_rng(0).integers(20, 230, (frames, 5, 7, 3), dtype=np.uint8)
    fine = [np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC)) for frame in coarse]
    return torch.from_numpy(np.stack(fine)).permute(3, 0, 1, 2).contiguous()


def by_pil(clip: torch.Tensor, op: Op) -> torch.Tensor:
    """The operation on the only frame of a clip, by PIL."""
    image = Image.fromarray(clip[:, 0].permute(1, 2, 0).numpy())
    added = [min(level + int(op.amount), 255) if level < 128 else level for level in range(256)]
    out = {
        "autocontrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "invert": lambda: ImageOps.invert(image),
        "posterize": lambda: ImageOps.posterize(image, int(op.amount)),
        "solarize": lambda: ImageOps.solarize(image, op.amount),
        "solarize_add": lambda: image.point(added * 3),
        "brightness": lambda: ImageEnhance.Brightness(image).enhance(op.amount),
        "contrast": lambda: ImageEnhance.Contrast(image).enhance(op.amount),
        "color": lambda: ImageEnhance.Color(image).enhance(op.amount),
        "sharpness": lambda: ImageEnhance.Sharpness(image).enhance(op.amount),
    }[op.name]()
    return torch.from_numpy(np.array(out)).permute(2, 0, 1)[:, None]


def test_every_operation_is_compared() -> None:
    assert {op.name for op in OPS} == set(TABLE_OPS) | set(CLIP_OPS)


@pytest.mark.parametrize("op", OPS, ids=lambda op: f"{op.name}-{op.amount:g}")
def test_an_operation_on_one_frame_is_pils(op: Op) -> None:
    clip = picture()
    ours, theirs = apply_pixel_ops(clip, [op]), by_pil(clip, op)
    # PIL rounds the grey, or the smoothed picture, before it blends: up to half a level times |1 - factor|, cut off
    tolerance = 0 if op.name in EXACT else 1
    assert ours.dtype == torch.uint8 and ours.shape == clip.shape
    assert (ours.int() - theirs.int()).abs().max() <= tolerance
    assert torch.equal(clip, picture())


def test_a_chain_of_operations_is_applied_one_after_the_other() -> None:
    clip = picture(frames=3)
    chain = [OPS[8], OPS[1], OPS[3], OPS[12], OPS[10], OPS[0], OPS[7], OPS[14], OPS[2]]
    step_by_step = clip
    for op in chain:
        step_by_step = apply_pixel_ops(step_by_step, [op])
    assert torch.equal(apply_pixel_ops(clip, chain), step_by_step)
    assert torch.equal(apply_pixel_ops(clip, []), clip)


@pytest.mark.parametrize("op", OPS, ids=lambda op: f"{op.name}-{op.amount:g}")
def test_equal_frames_stay_equal_and_a_dark_frame_stays_darker(op: Op) -> None:
    still = picture().expand(3, 4, 40, 52).contiguous()
    out = apply_pixel_ops(still, [op])
    assert all(torch.equal(out[:, 0], out[:, frame]) for frame in range(1, 4))
    if op.name in ("autocontrast", "equalize", "contrast"):  # taken from each frame, these would hide the difference
        dim = torch.cat((still, still // 2), dim=1)
        changed = apply_pixel_ops(dim, [op]).float().mean((0, 2, 3))
        assert changed[:4].min() > changed[4:].max() + 20


@pytest.mark.parametrize("op", OPS, ids=lambda op: f"{op.name}-{op.amount:g}")
def test_a_plain_picture_breaks_nothing(op: Op) -> None:
    plain = torch.full((3, 2, 5, 5), 90, dtype=torch.uint8)
    out = apply_pixel_ops(plain, [op])
    assert out.unique().numel() == 1


def test_a_twist_that_does_nothing_changes_nothing() -> None:
    assert torch.equal(ColorTwist().apply(picture(frames=2)), picture(frames=2))


def test_a_twist_is_its_parts() -> None:
    clip = picture(frames=2)

    def close(first: torch.Tensor, second: torch.Tensor) -> bool:
        return bool((first.int() - second.int()).abs().max() <= 1)  # tables cut off where the twist rounds

    assert close(ColorTwist(brightness=0.7).apply(clip), apply_pixel_ops(clip, [Op("brightness", 0.7)]))
    assert close(ColorTwist(contrast=0.6).apply(clip), apply_pixel_ops(clip, [Op("contrast", 0.6)]))
    assert close(ColorTwist(saturation=0.5).apply(clip), apply_pixel_ops(clip, [Op("color", 0.5)]))


def test_hue_turns_colours_keeps_luma_and_comes_back_after_a_full_turn() -> None:
    clip = picture()
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1, 1)
    soft = ColorTwist(saturation=0.3).apply(clip)  # far from clipping
    turned = ColorTwist(hue=0.25).apply(soft)
    assert (turned.float() - soft.float()).abs().max() > 10
    assert ((turned - 0.0) * luma).sum(0).sub((soft.float() * luma).sum(0)).abs().max() < 1
    assert (ColorTwist(hue=1.0).apply(soft).int() - soft.int()).abs().max() <= 1
    red = torch.tensor([200, 90, 90], dtype=torch.uint8).view(3, 1, 1, 1)
    towards_green = ColorTwist(hue=0.1).apply(red).flatten().tolist()
    assert towards_green[1] > 90 and towards_green[0] < 200


def test_without_saturation_all_channels_are_the_grey() -> None:
    out = ColorTwist(saturation=0.0).apply(picture())
    assert (out.int() - out[:1].int()).abs().max() <= 1
