"""Mixup and CutMix: shares, boxes, and unreadable videos left alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidtok.config import AugmentConfig
from vidtok.data.mix import Mix, draw_mix, mix_batch

VALID = torch.ones(4, dtype=torch.bool)


def draw(seeds: int = 400, **config: float) -> list[Mix | None]:
    rng = np.random.default_rng(0)
    return [draw_mix(AugmentConfig(**config), size=32, rng=rng) for _ in range(seeds)]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Four clips [4, 3, 2, 8, 8] of one value each, 1 to 4, and their classes of 5."""
    clips = torch.arange(1.0, 5).view(4, 1, 1, 1, 1).expand(4, 3, 2, 8, 8).clone()
    return clips, torch.eye(5)[:4]


def test_nothing_is_mixed_unless_asked_for() -> None:
    assert draw(20) == [None] * 20
    assert draw(20, mixup=0.8, cutmix=1.0, mix_prob=0.0) == [None] * 20


def test_the_kind_of_mixing_and_its_probability_are_kept() -> None:
    assert all(mix is not None and mix.box is None for mix in draw(mixup=0.8))
    assert all(mix is not None and mix.box is not None for mix in draw(cutmix=1.0))
    both = draw(mixup=0.8, cutmix=1.0, mix_prob=0.5, mix_switch_prob=0.25)
    mixed = [mix for mix in both if mix is not None]
    assert 160 < len(mixed) < 240
    assert 0.12 < np.mean([mix.box is not None for mix in mixed]) < 0.38


def test_shares_follow_the_beta_distribution() -> None:
    even, peaked = ([mix.share for mix in draw(2000, mixup=alpha) if mix] for alpha in (1.0, 8.0))
    assert np.mean(even) == pytest.approx(0.5, abs=0.03)
    assert np.std(even) == pytest.approx(12**-0.5, abs=0.02) and np.std(peaked) == pytest.approx(68**-0.5, abs=0.01)


@given(st.integers(0, 999), st.floats(0.1, 4.0), st.integers(1, 64))
def test_a_cut_lies_in_the_picture_and_its_share_is_its_area(seed: int, alpha: float, size: int) -> None:
    mix = draw_mix(AugmentConfig(cutmix=alpha), size=size, rng=np.random.default_rng(seed))
    assert mix is not None and mix.box is not None
    top, left, height, width = mix.box
    assert top >= 0 and left >= 0 and top + height <= size and left + width <= size
    assert mix.share == pytest.approx(1 - height * width / size**2)


def test_mixup_is_a_weighted_sum_with_the_reversed_batch() -> None:
    clips, targets = mix_batch(*batch(), VALID, Mix(0.75))
    assert clips[:, 0, 0, 0, 0].tolist() == [1.75, 2.25, 2.75, 3.25]
    assert targets.tolist() == [
        [0.75, 0, 0, 0.25, 0],
        [0, 0.75, 0.25, 0, 0],
        [0, 0.25, 0.75, 0, 0],
        [0.25, 0, 0, 0.75, 0],
    ]


def test_cutmix_takes_the_same_box_of_every_frame_from_the_partner() -> None:
    clips, targets = mix_batch(*batch(), VALID, Mix(1 - 6 / 64, (2, 4, 3, 2)))
    for sample, partner in ((0, 4.0), (1, 3.0), (2, 2.0), (3, 1.0)):
        expected = torch.full((8, 8), sample + 1.0)
        expected[2:5, 4:6] = partner
        assert torch.equal(clips[sample], expected.expand(3, 2, 8, 8))
    assert targets[0].tolist() == pytest.approx([1 - 6 / 64, 0, 0, 6 / 64, 0])


@pytest.mark.parametrize("mix", [Mix(0.6), Mix(0.75, (0, 0, 4, 4))], ids=["mixup", "cutmix"])
def test_an_unreadable_video_and_its_partner_stay_as_they_are(mix: Mix) -> None:
    valid = torch.tensor([True, False, True, True])
    before, labels = batch()
    before[1] = 0
    clips, targets = mix_batch(before.clone(), labels, valid, mix)
    for sample in (1, 2):
        assert torch.equal(clips[sample], before[sample]) and torch.equal(targets[sample], labels[sample])
    for sample in (0, 3):
        assert not torch.equal(clips[sample], before[sample])
        assert targets[sample].sum() == pytest.approx(1)


@settings(deadline=None)  # the first call of an operation loads its kernel
@given(st.floats(0, 1), st.lists(st.booleans(), min_size=1, max_size=7))
def test_targets_always_sum_to_one(share: float, readable: list[bool]) -> None:
    size = len(readable)
    clips, targets = torch.rand(size, 3, 1, 4, 4), torch.eye(9)[:size]
    _, mixed = mix_batch(clips, targets, torch.tensor(readable), Mix(share))
    torch.testing.assert_close(mixed.sum(1), torch.ones(size))
