"""Laws of the motion classes, read off rendered pixels by a recogniser that shares no code with the renderer."""

from itertools import pairwise

import numpy as np
import pytest

from vidtok.data.motion import (
    CLASS_NAMES,
    CLASS_PAIRS,
    DIFFICULTIES,
    HFLIP_SWAPS,
    REVERSE_SWAPS,
    VFLIP_SWAPS,
    MotionOptions,
    render_clip,
)
from vidtok.errors import ConfigError

# Nothing moves but the actors, and the background is grey: what a clip shows can be measured.
BARE = MotionOptions(num_sprites=2, sprite_radius=(0.08, 0.1), background_contrast=0, background_drift=0, wobble=0)
SIZE = 96
NUM_CLIPS = 6


def swapped(name: str, swaps: tuple[tuple[str, str], ...]) -> str:
    return dict((*swaps, *(pair[::-1] for pair in swaps))).get(name, name)


def islands(mask: np.ndarray) -> np.ndarray:
    """Number the 4-connected parts of ``mask`` [S, S], which continues across its borders; 0 outside of it."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        spread = np.maximum.reduce([labels, *(np.roll(labels, step, axis) for axis in (0, 1) for step in (-1, 1))])
        spread[~mask] = 0
        if (spread == labels).all():
            return labels
        labels = spread


def actors(clip: np.ndarray) -> np.ndarray:
    """Mask [T, S, S] of the sprites that act, and of one at rest that they touch."""
    cover = np.abs(clip.astype(int) - 128).max(axis=-1) > 30
    parts = islands(cover.any(axis=0))
    changes = (clip.max(axis=0) - clip.min(axis=0)).max(axis=-1) > 30
    return cover & np.isin(parts, parts[changes & (parts > 0)])


def whole(clip: np.ndarray) -> np.ndarray:
    """The clip shifted so that its actors do not cross the frame's border, where an empty line lets it."""
    for axis in (1, 2):
        is_empty = ~actors(clip).any(axis=(0, 3 - axis))
        clip = np.roll(clip, -int(is_empty.argmax()), axis=axis)
    return clip


def clockwise_turn(clip: np.ndarray, place: np.ndarray, radius: float) -> float:
    """Turn [degrees] about ``place`` (x, y): the rotation that best maps the ring of each frame to the next one's."""
    angles = np.deg2rad(np.arange(0, 360, 3))
    rings = [
        place[:, None] + share * radius * np.array([np.cos(angles), np.sin(angles)]) for share in (0.35, 0.5, 0.65)
    ]
    x, y = np.rint(np.concatenate(rings, axis=1)).astype(int).clip(0, SIZE - 1)
    profiles = clip[:, y, x].reshape(len(clip), len(rings), len(angles), 3).astype(float)
    shifts = np.arange(-10, 11)
    errors = [
        [np.square(np.roll(now, shift, axis=1) - then).mean() for shift in shifts] for now, then in pairwise(profiles)
    ]
    return float(3 * shifts[np.argmin(errors, axis=1)].sum())


def recognise(clip: np.ndarray) -> str:
    """The class of a bare clip, uint8 [T, S, S, 3]."""
    clip = whole(clip)
    mask = actors(clip)
    area = mask.sum(axis=(1, 2))
    if min(area[0], area[-1]) == 0:
        return "appear" if area[0] == 0 else "vanish"
    grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)))
    place = np.array([[axis[frame].mean() for axis in grid] for frame in mask])  # [T, 2] (x, y)
    dx, dy = place[-1] - place[0]
    if max(abs(dx), abs(dy)) > 0.2 * SIZE:
        return (
            ("move_right" if dx > 0 else "move_left") if abs(dx) > abs(dy) else ("move_down" if dy > 0 else "move_up")
        )
    spread = [np.sqrt(sum(axis[frame].var() for axis in grid)) for frame in (mask[0], mask[-1])]
    growth, widening = area[-1] / area[0], spread[-1] / spread[0]
    if max(growth, 1 / growth) > 2.5:
        return "approach" if growth > 1 else "recede"
    if max(widening, 1 / widening) > 1.9:
        return "part" if widening > 1 else "meet"
    turn = clockwise_turn(clip, place.mean(axis=0), float(np.sqrt(area.mean() / np.pi)))
    return "rotate_clockwise" if turn > 0 else "rotate_counterclockwise"


@pytest.fixture(scope="module")
def clips() -> dict[str, list[np.ndarray]]:
    return {
        name: [render_clip(name, np.random.default_rng(seed), size=SIZE, options=BARE) for seed in range(NUM_CLIPS)]
        for name in CLASS_NAMES
    }


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_a_clip_shows_the_motion_that_its_class_is_called_after(clips, name):
    assert {recognise(clip) for clip in clips[name]} == {name}


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_a_left_right_flip_exchanges_the_classes_it_is_said_to(clips, name):
    assert {recognise(clip[:, :, ::-1]) for clip in clips[name]} == {swapped(name, HFLIP_SWAPS)}


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_an_upside_down_flip_exchanges_the_classes_it_is_said_to(clips, name):
    assert {recognise(clip[:, ::-1]) for clip in clips[name]} == {swapped(name, VFLIP_SWAPS)}


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_playing_backwards_exchanges_the_classes_it_is_said_to(clips, name):
    assert {recognise(clip[::-1]) for clip in clips[name]} == {swapped(name, REVERSE_SWAPS)}


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize(("first", "second"), CLASS_PAIRS)
def test_the_second_class_of_a_pair_is_the_first_one_reversed(first, second, difficulty):
    forwards, backwards = (
        render_clip(name, np.random.default_rng(3), size=32, frames=9, options=DIFFICULTIES[difficulty])
        for name in (first, second)
    )
    np.testing.assert_array_equal(backwards, forwards[::-1])


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_everything_but_the_actors_is_the_same_in_every_class(name):
    """With equal seeds two classes differ only where actors are: the background tells nothing about the class."""
    plain, other = (
        render_clip(each, np.random.default_rng(5), options=DIFFICULTIES["normal"]) for each in ("appear", name)
    )
    if name in {second for _, second in CLASS_PAIRS}:
        other = other[::-1]
    assert (plain == other).all(axis=-1).mean() > 0.6


def test_all_sprites_of_a_clip_are_seen_in_its_middle():
    """Else the number of sprites in a frame would give part and meet away."""
    for name in ("move_left", "rotate_clockwise", "approach", "part"):
        cover = [
            (np.abs(render_clip(name, np.random.default_rng(seed), options=BARE)[12].astype(int) - 128) > 30).any(-1)
            for seed in range(40)
        ]
        assert np.mean(cover) == pytest.approx(2 * np.pi * 0.09**2, rel=0.2), name


def test_clips_have_the_asked_shape_and_repeat_for_the_same_seed():
    shape = {"size": 40, "frames": 11, "options": DIFFICULTIES["hard"]}
    one, same, other = (render_clip("part", np.random.default_rng(seed), **shape) for seed in (1, 1, 2))
    assert one.shape == (11, 40, 40, 3) and one.dtype == np.uint8
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_every_class_is_in_exactly_one_pair_and_swaps_name_classes():
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) >= 12
    for swaps in (HFLIP_SWAPS, VFLIP_SWAPS, REVERSE_SWAPS):
        names = [name for pair in swaps for name in pair]
        assert len(names) == len(set(names)) and set(names) <= set(CLASS_NAMES)


def test_a_class_that_does_not_exist_is_refused_with_the_names():
    with pytest.raises(ConfigError, match="'jump' is not a motion class.*move_left"):
        render_clip("jump", np.random.default_rng(0), options=BARE)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("num_sprites", 1),
        ("sprite_radius", (0.2, 0.1)),
        ("sprite_radius", (0.1, 0.3)),
        ("sprite_contrast", 1.5),
        ("light_share", -0.5),
        ("background_contrast", -0.1),
        ("background_drift", 2.0),
        ("wobble", float("nan")),
    ],
)
def test_an_option_outside_its_range_is_refused(option, value):
    with pytest.raises(ConfigError, match=option):
        MotionOptions(**{option: value})
