"""Labels that stay right after flips and reversal."""

import pytest

from vidtok.config import AugmentConfig
from vidtok.data.augment import Augmentation
from vidtok.data.labels import find_class_names
from vidtok.data.swaps import left_right_pairs, resolve_swaps
from vidtok.errors import ConfigError

NAMES = ("left", "right", "up", "down", "still")
BOX = (0, 0, 1, 1)
FLIPPED = Augmentation(BOX, hflip=True)


def test_labels_follow_the_changes_and_two_changes_may_cancel() -> None:
    config = AugmentConfig(
        hflip_swaps=(("left", "right"),), vflip_swaps=((2, 3),), reverse_swaps=(("left", "right"), (2, "down"))
    )
    swaps = resolve_swaps(config, NAMES, len(NAMES))

    def after(**changes: bool) -> list[str]:
        return [NAMES[swaps.label_after(label, Augmentation(BOX, **changes))] for label in range(5)]

    assert after() == list(NAMES)
    assert after(hflip=True) == ["right", "left", "up", "down", "still"]
    assert after(vflip=True) == ["left", "right", "down", "up", "still"]
    assert after(reverse=True) == ["right", "left", "down", "up", "still"]
    assert after(hflip=True, reverse=True) == ["left", "right", "down", "up", "still"]


def test_all_labels_of_a_multi_label_clip_follow_and_an_unknown_one_stays_unknown() -> None:
    swaps = resolve_swaps(AugmentConfig(hflip_swaps=((0, 1),)), NAMES, 5)
    assert swaps.label_after((0, 3), FLIPPED) == (1, 3)
    assert swaps.label_after((1, 0), FLIPPED) == (0, 1)
    assert swaps.label_after((), FLIPPED) == ()
    assert swaps.label_after(None, FLIPPED) is None
    assert swaps.allowed(None, FLIPPED) == FLIPPED


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
        ("left_right", None, "left_right needs class names; set data.classes or list index pairs"),
    ],
)
def test_swaps_of_classes_that_do_not_exist_are_refused(
    pairs: tuple[tuple[str | int, str | int], ...] | str, names: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_swaps(AugmentConfig(hflip_swaps=pairs), names, 5)


def test_the_flip_rule_of_something_something_comes_from_its_class_names() -> None:
    names = find_class_names("ssv2")
    by_name = resolve_swaps(AugmentConfig(hflip_swaps="left_right"), names, 174)
    by_index = resolve_swaps(AugmentConfig(hflip_swaps=((86, 87), (93, 94), (166, 167))), None, 174)
    assert by_name.hflip == by_index.hflip == {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}
    assert [by_name.label_after(label, FLIPPED) for label in (86, 94, 166, 0)] == [87, 93, 167, 0]
    assert by_name.never_hflip == {50} and "right out" in names[50]


def test_a_class_whose_mirror_image_is_no_class_is_not_flipped() -> None:
    names = ("Turn LEFT", "turn right", "leftover food", "look left", "left hand, right foot", "right hand, left foot")
    assert left_right_pairs(names) == ([(0, 1), (4, 5)], {3})
    swaps = resolve_swaps(AugmentConfig(hflip_swaps="left_right"), names, 6)
    lively = Augmentation(BOX, hflip=True, reverse=True)
    assert swaps.allowed(3, lively) == Augmentation(BOX, reverse=True)
    assert swaps.allowed((2, 3), lively) == Augmentation(BOX, reverse=True)
    assert [swaps.allowed(label, lively) for label in (0, 2, 5)] == [lively] * 3


def test_flips_that_would_leave_wrong_labels_are_refused() -> None:
    flips = AugmentConfig(hflip=0.5)
    with pytest.raises(ConfigError, match=r"from right to left' of 'Pulling .*; set augment.hflip=0 or"):
        resolve_swaps(flips, find_class_names("ssv2"), 174)
    assert resolve_swaps(flips, find_class_names("kinetics400"), 400).hflip == {}
    assert resolve_swaps(flips, None, 174).hflip == {}
    assert resolve_swaps(AugmentConfig(hflip=0.5, hflip_swaps=((0, 1),)), NAMES, 5).hflip == {0: 1, 1: 0}
