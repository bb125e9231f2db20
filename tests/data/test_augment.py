"""One policy per clip: boxes, flips, colours, noise."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vidtok.config import AugmentConfig, ClipConfig
from vidtok.data.augment import (
    Augmentation,
    Erasure,
    augment_clip,
    check_crop,
    draw_augmentation,
    draw_box,
    draw_jittered_box,
)
from vidtok.data.pixels import ColorTwist, Op
from vidtok.errors import ConfigError

CLIP = ClipConfig(size=32)


def clip_of_noise() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8))


def draw(config: AugmentConfig, *, seeds: int = 400, height: int = 48, width: int = 64) -> list[Augmentation]:
    rng = np.random.default_rng(0)
    return [draw_augmentation(config, CLIP, height=height, width=width, rng=rng) for _ in range(seeds)]


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from([(0.08, 1.0), (0.5, 1.0), (1.0, 1.0), (1e-4, 1e-3)]),
    st.sampled_from([(0.75, 4 / 3), (1.0, 1.0), (0.01, 0.02), (50.0, 60.0)]),
    st.integers(0, 999),
)
def test_a_box_is_inside_the_picture(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    top, left, box_height, box_width = draw_box(height, width, scale=scale, ratio=ratio, rng=rng)
    assert top >= 0 and left >= 0 and box_height >= 1 and box_width >= 1
    assert top + box_height <= height and left + box_width <= width


def test_boxes_have_the_asked_area_and_aspect_and_reach_every_border() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([draw_box(200, 300, scale=(0.2, 0.6), ratio=(0.75, 4 / 3), rng=rng) for _ in range(3000)])
    shares = boxes[:, 2] * boxes[:, 3] / (200 * 300)
    aspects = boxes[:, 3] / boxes[:, 2]
    assert 0.19 < shares.min() < 0.22 and 0.55 < shares.max() < 0.61
    assert 0.73 < aspects.min() < 0.78 and 1.28 < aspects.max() < 1.36
    assert boxes[:, :2].min(axis=0).tolist() == [0, 0]
    assert (boxes[:, :2] + boxes[:, 2:]).max(axis=0).tolist() == [200, 300]


def test_a_box_that_never_fits_becomes_the_largest_centred_one() -> None:
    rng = np.random.default_rng(0)
    assert draw_box(100, 300, scale=(1.0, 1.0), ratio=(1.0, 1.0), rng=rng) == (0, 100, 100, 100)
    assert draw_box(300, 100, scale=(1.0, 1.0), ratio=(1.0, 1.0), rng=rng) == (100, 0, 100, 100)


def test_flips_and_reversal_act_on_their_axis_alone() -> None:
    frames, box = clip_of_noise(), (0, 0, 8, 8)
    plain = augment_clip(frames, Augmentation(box), size=8)
    assert torch.equal(plain, frames.permute(3, 0, 1, 2))
    for choice, dims in (
        (Augmentation(box, hflip=True), [3]),
        (Augmentation(box, vflip=True), [2]),
        (Augmentation(box, reverse=True), [1]),
        (Augmentation(box, hflip=True, vflip=True, reverse=True), [1, 2, 3]),
    ):
        assert torch.equal(augment_clip(frames, choice, size=8), plain.flip(dims))


def test_a_box_is_cut_from_all_frames_alike() -> None:
    frames = clip_of_noise()
    out = augment_clip(frames, Augmentation((2, 1, 4, 4)), size=4)
    assert torch.equal(out, frames[:, 2:6, 1:5].permute(3, 0, 1, 2)) and out.is_contiguous()
    still = frames[:1].expand(4, 8, 8, 3)
    resized = augment_clip(still, Augmentation((2, 1, 5, 6)), size=4)
    assert all(torch.equal(resized[:, 0], resized[:, frame]) for frame in range(1, 4))


def test_probabilities_are_kept() -> None:
    drawn = draw(AugmentConfig(hflip=0.5, reverse=1.0, color_jitter=0.5, erase=0.5))
    for happened in ("hflip", "color", "erasure"):
        assert 160 < sum(bool(getattr(choice, happened)) for choice in drawn) < 240  # 4 deviations of a fair coin
    assert not any(choice.vflip or choice.ops for choice in drawn) and all(choice.reverse for choice in drawn)


def test_a_policy_that_is_off_draws_nothing_and_changes_no_other_draw() -> None:
    plain = draw(AugmentConfig(hflip=0.5), seeds=1)[0]
    assert (plain.color, plain.ops, plain.erasure) == (None, (), None)
    everything = AugmentConfig(hflip=0.5, color_jitter=1, grayscale=1, randaugment="rand-p1-inc1", erase=1)
    lively = draw(everything, seeds=1)[0]
    assert (lively.box, lively.hflip) == (plain.box, plain.hflip)
    assert lively.color is not None and len(lively.ops) == 2 and lively.erasure is not None


# ------------------------------------------------------------------------------------- scale jitter


def test_a_jittered_box_is_what_a_crop_sees_after_the_resize() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array(
        [draw_jittered_box(240, 320, size=224, sides=(256, 320), stretch=False, rng=rng) for _ in range(500)]
    )
    assert np.all(boxes[:, 2] == boxes[:, 3])  # squares of 224 out of a short side of 256 to 320
    assert boxes[:, 2].min() == 168 and boxes[:, 2].max() == 210
    assert boxes[:, :2].min(axis=0).tolist() == [0, 0]
    assert (boxes[:, :2] + boxes[:, 2:]).max(axis=0).tolist() == [240, 320]


def test_a_stretched_box_has_sides_of_its_own() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array(
        [draw_jittered_box(256, 340, size=224, sides=(230, 340), stretch=True, rng=rng)[2:] for _ in range(500)]
    )
    assert boxes.min() >= 168 and boxes.max() <= 250
    assert abs(np.corrcoef(boxes.T)[0, 1]) < 0.15


def test_a_jitter_smaller_than_the_crop_is_refused() -> None:
    check_crop(AugmentConfig(jitter_scales=(32, 40)), CLIP)
    with pytest.raises(ConfigError, match=r"augment\.jitter_scales begins at 30 pixels, less than clip\.size 32"):
        check_crop(AugmentConfig(jitter_scales=(30, 40)), CLIP)


# ---------------------------------------------------------------------------------- colours, erasing


def test_colour_strengths_bound_the_draws_and_grey_is_drawn_apart() -> None:
    config = AugmentConfig(color_jitter=1.0, color_strength=(0.1, 0.2, 0.3, 0.05), grayscale=0.5)
    twists = [choice.color for choice in draw(config)]
    amounts = np.array([(twist.brightness, twist.contrast, twist.hue) for twist in twists if twist])
    assert np.abs(amounts - (1, 1, 0)).max(axis=0) == pytest.approx([0.1, 0.2, 0.05], rel=0.05)
    grey = [twist.saturation == 0 for twist in twists if twist]
    assert 160 < sum(grey) < 240
    colourful = [twist.saturation for twist in twists if twist and twist.saturation]
    assert min(colourful) == pytest.approx(0.7, abs=0.02) and max(colourful) == pytest.approx(1.3, abs=0.02)


def test_an_erased_box_lies_in_the_clip_with_the_published_area_and_shape() -> None:
    boxes = np.array([choice.erasure.box for choice in draw(AugmentConfig(erase=1.0)) if choice.erasure])
    assert boxes.min() >= 0 and (boxes[:, :2] + boxes[:, 2:]).max() <= 32
    shares, aspects = boxes[:, 2] * boxes[:, 3] / 32**2, boxes[:, 3] / boxes[:, 2]
    assert shares.min() < 0.04 and 0.25 < shares.max() <= 0.37  # sides are rounded to pixels
    assert aspects.min() < 0.5 and aspects.max() > 2


def test_erasing_puts_the_same_box_of_new_noise_in_every_frame() -> None:
    frames = torch.full((4, 64, 64, 3), 100, dtype=torch.uint8)
    erasure = Erasure((10, 4, 40, 50), seed=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.1, 0.05))
    clip = augment_clip(frames, Augmentation((0, 0, 64, 64), erasure=erasure), size=64)
    inside = clip[:, :, 10:50, 4:54].float()
    assert inside.mean((1, 2, 3)).tolist() == pytest.approx([127.5, 102, 76.5], abs=1.5)
    assert inside.std((1, 2, 3)).tolist() == pytest.approx([51, 25.5, 12.75], rel=0.05)
    assert not torch.equal(inside[:, 0], inside[:, 1])
    clip[:, :, 10:50, 4:54] = 100
    assert torch.equal(clip, torch.full_like(clip, 100))


def test_everything_at_once_is_the_same_for_all_frames() -> None:
    ops = (Op("rotate", 12.0), Op("equalize"), Op("sharpness", 1.5), Op("translate_x", 0.1), Op("solarize", 120))
    still = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 40, 60, 3), dtype=np.uint8))
    choice = Augmentation((3, 5, 30, 40), hflip=True, color=ColorTwist(1.1, 0.8, 1.3, 0.1), ops=ops)
    clip = augment_clip(still.expand(4, -1, -1, -1), choice, size=24)
    assert clip.shape == (3, 4, 24, 24) and clip.dtype == torch.uint8 and clip.is_contiguous()
    assert all(torch.equal(clip[:, 0], clip[:, frame]) for frame in range(1, 4))


def test_augmenting_leaves_the_frames_as_they_were() -> None:
    frames = clip_of_noise()
    for choice in draw(
        AugmentConfig(hflip=0.5, reverse=0.5, color_jitter=0.5, randaugment="rand-n4-inc1", erase=0.5),
        seeds=30, height=8, width=8,
    ):  # fmt: skip
        augment_clip(frames, choice, size=32)
    assert torch.equal(frames, clip_of_noise())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop_scale": (1.0, 0.08)}, "crop_scale\n.*two numbers above 0, the smaller one first"),
        ({"crop_ratio": (1.33, 0.75)}, "two numbers above 0, the smaller one first"),
        ({"crop_scale": (0.0, 1.0)}, "two numbers above 0"),
        ({"crop_scale": (0.5, 1.5)}, "must be at most 1"),
        ({"jitter_scales": (320, 256)}, "the smaller one first"),
        ({"color_strength": (0.1, 0.2, 0.3, 0.6)}, r"the last one \(hue\) at most 0.5"),
        ({"color_strength": (0.1, -0.2, 0.3, 0.1)}, "numbers from 0 to 1"),
        ({"randaugment": "rand-m7"}, "lacks inc1"),
        ({"hflip_swaps": "ssv2"}, "must be left_right, or pairs of class names or indices"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AugmentConfig(**settings)
