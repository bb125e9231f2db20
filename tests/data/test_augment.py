"""One policy per clip, and labels that stay right."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidtok.config import AugmentConfig
from vidtok.data.augment import Augmentation, augment_clip, draw_augmentation, draw_box, resolve_swaps
from vidtok.errors import ConfigError

NAMES = ("left", "right", "up", "down", "still")


def clip_of_noise() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8))


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
    config, rng = AugmentConfig(hflip=0.5, vflip=0.0, reverse=1.0), np.random.default_rng(0)
    drawn = [draw_augmentation(config, height=32, width=48, rng=rng) for _ in range(400)]
    assert 160 < sum(choice.hflip for choice in drawn) < 240  # 4 deviations of a fair coin
    assert not any(choice.vflip for choice in drawn) and all(choice.reverse for choice in drawn)


def test_labels_follow_the_changes_and_two_changes_may_cancel() -> None:
    config = AugmentConfig(
        hflip_swaps=(("left", "right"),), vflip_swaps=((2, 3),), reverse_swaps=(("left", "right"), (2, "down"))
    )
    swaps = resolve_swaps(config, NAMES, len(NAMES))
    box = (0, 0, 1, 1)

    def after(**changes: bool) -> list[str]:
        return [NAMES[swaps.label_after(label, Augmentation(box, **changes))] for label in range(5)]

    assert after() == list(NAMES)
    assert after(hflip=True) == ["right", "left", "up", "down", "still"]
    assert after(vflip=True) == ["left", "right", "down", "up", "still"]
    assert after(reverse=True) == ["right", "left", "down", "up", "still"]
    assert after(hflip=True, reverse=True) == ["left", "right", "down", "up", "still"]


@pytest.mark.parametrize(
    ("pairs", "names", "message"),
    [
        (
            (("lefft", "right"),),
            NAMES,
            r"augment.hflip_swaps: 'lefft' is not one of the class names \(did you mean 'left'",
        ),
        ((("left", "right"),), None, "'left' is a name, but the data has none"),
        (((0, 5),), NAMES, r"label 5, but there are 5 classes \(0-4\)"),
        ((("left", "right"), ("up", 0)), NAMES, r"pair \['up', 0\] names a class that is already in a pair"),
        (((1, "right"),), NAMES, "already in a pair"),
    ],
)
def test_swaps_of_classes_that_do_not_exist_are_refused(
    pairs: tuple[tuple[str | int, str | int], ...], names: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_swaps(AugmentConfig(hflip_swaps=pairs), names, 5)


def test_the_flip_labels_of_something_something_can_be_given_by_index() -> None:
    swaps = resolve_swaps(AugmentConfig(hflip_swaps=((86, 87), (93, 94), (166, 167))), None, 174)
    flipped = Augmentation((0, 0, 1, 1), hflip=True)
    assert [swaps.label_after(label, flipped) for label in (86, 87, 93, 94, 166, 167, 0)] == [
        87,
        86,
        94,
        93,
        167,
        166,
        0,
    ]
