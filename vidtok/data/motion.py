"""Clips whose class is a motion: textured sprites over a drifting, cluttered background.

Why one frame, or the unordered frames, cannot tell the two classes of a pair apart: only the first class of
a pair is ever drawn; a clip of the second class is a clip of the first, played backwards. Everything that is
not the class (looks, places, background, drift, wobble) is drawn before the class is looked at and has a
distribution that does not change when the clip is mirrored or played backwards.

Letters: T frames, S side of the square frame in pixels, Q side of the square patch around one sprite.
Places are (x, y) with x to the right and y down, so a growing angle turns clockwise on the screen. Lengths
are shares of the frame's side; ``tau`` runs from -1 in the first frame to 1 in the last.
"""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.random import Generator

from vidtok.errors import ConfigError

Array = np.ndarray

CLASS_PAIRS: tuple[tuple[str, str], ...] = (
    ("move_left", "move_right"),
    ("move_up", "move_down"),
    ("rotate_clockwise", "rotate_counterclockwise"),
    ("approach", "recede"),
    ("part", "meet"),
    ("appear", "vanish"),
)
CLASS_NAMES: tuple[str, ...] = tuple(name for pair in CLASS_PAIRS for name in pair)

# Classes that a change of the whole clip exchanges; classes that are not listed keep their label.
HFLIP_SWAPS = (("move_left", "move_right"), ("rotate_clockwise", "rotate_counterclockwise"))
VFLIP_SWAPS = (("move_up", "move_down"), ("rotate_clockwise", "rotate_counterclockwise"))
REVERSE_SWAPS = CLASS_PAIRS


@dataclass(frozen=True, kw_only=True)
class MotionOptions:
    """What makes a clip easy or hard. Raises ConfigError for a value outside the stated range."""

    num_sprites: int = 3
    """Sprites in every clip, at least 2. One acts (in part and meet two); the others are distractors."""
    sprite_radius: tuple[float, float] = (0.12, 0.18)
    """Smallest and largest radius at rest, share of the side, in (0, 0.25]."""
    sprite_contrast: float = 1.0
    """Strength of the sprites' colours, in [0, 1]; 0 is plain grey."""
    light_share: float = 0.8
    """Share of light sprites, in [0, 1]. At 1 a mean frame difference tells many classes; 0.5 is slow to learn."""
    background_contrast: float = 0.5
    """Strength of the background's clutter, in [0, 1]; 0 is plain grey."""
    background_drift: float = 0.15
    """Largest way of the background from the first to the last frame, share of the side, in [0, 1]."""
    wobble: float = 1.0
    """Strength of the aimless swaying, turning and breathing of every sprite, in [0, 3]."""

    def __post_init__(self) -> None:
        ranges = {"num_sprites": (2, 16), "wobble": (0, 3)}
        for name in (field.name for field in fields(self) if field.name != "sprite_radius"):
            low, high = ranges.get(name, (0, 1))
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"motion option {name} is {getattr(self, name)}: give a value in [{low}, {high}]")
        smallest, largest = self.sprite_radius
        if not 0 < smallest <= largest <= 0.25:
            raise ConfigError(
                f"motion option sprite_radius is {self.sprite_radius}: give 0 < smallest <= largest <= 0.25"
            )


DIFFICULTIES: dict[str, MotionOptions] = {
    "easy": MotionOptions(
        num_sprites=2, sprite_radius=(0.15, 0.2), background_contrast=0.25, background_drift=0.1, wobble=0.3
    ),
    "normal": MotionOptions(),
    "hard": MotionOptions(
        num_sprites=6,
        sprite_radius=(0.09, 0.15),
        sprite_contrast=0.6,
        light_share=0.5,
        background_contrast=1.0,
        background_drift=0.3,
        wobble=1.5,
    ),
}


def render_clip(name: str, rng: Generator, *, size: int = 64, frames: int = 24, options: MotionOptions) -> Array:
    """Draw one clip of the class ``name``: uint8 RGB [T, S, S, 3].

    With the same state of ``rng`` the second class of a pair gives exactly the frames of the first, reversed.

    Raises:
        ConfigError: ``name`` is not one of CLASS_NAMES.
    """
    if name not in CLASS_NAMES:
        raise ConfigError(f"'{name}' is not a motion class: choose one of {', '.join(CLASS_NAMES)}")
    first = next(pair[0] for pair in CLASS_PAIRS if name in pair)
    tau = np.linspace(-1, 1, frames, dtype=np.float32)
    canvas = _drifting(_clutter(rng, size), rng, tau, options)
    sprites = [_random_sprite(rng, options) for _ in range(options.num_sprites)]
    resting = [_rest(rng, tau, place, options) for place in _spread_places(rng, options.num_sprites)]
    # The actors are painted last: nothing may hide the motion that is the label.
    tracks = [*resting[2:], *reversed(_MOTIONS[first](rng, tau, resting[0], resting[1]))]
    for sprite, track in zip(sprites, tracks, strict=True):
        _paint(canvas, sprite, track)
    clip = np.rint(canvas * 255).clip(0, 255).astype(np.uint8)
    return clip if name == first else clip[::-1]


# ------------------------------------------------------------------------------------------ motions


@dataclass(frozen=True, slots=True)
class _Track:
    """Where one sprite is in every frame."""

    place: Array  # [T, 2] (x, y)
    radius: Array  # [T]
    angle: Array  # [T] radians
    opacity: Array  # [T] in [0, 1]


def _spread_places(rng: Generator, count: int) -> list[Array]:
    """``count`` places [2] in the frame's middle, each the one of ten that is farthest from those before."""
    places = [rng.uniform(0.3, 0.7, 2)]
    while len(places) < count:
        tries = rng.uniform(0.15, 0.85, (10, 2))
        gaps = np.linalg.norm(tries[:, None] - np.array(places), axis=-1).min(axis=1)
        places.append(tries[gaps.argmax()])
    return places


def _rest(rng: Generator, tau: Array, place: Array, options: MotionOptions) -> _Track:
    """A sprite that only wobbles. Random phases make a wobble as likely as the same one backwards."""
    cycles, phases = rng.uniform(0.35, 0.75, (4, 1)), rng.uniform(0, 2 * np.pi, (4, 1))
    sway_x, sway_y, turn, breath = options.wobble * np.sin(2 * np.pi * cycles * tau + phases)
    radius = rng.uniform(*options.sprite_radius)
    return _Track(
        place=place + 0.025 * np.stack([sway_x, sway_y], axis=1),
        radius=radius * np.exp(0.06 * breath),
        angle=rng.uniform(0, 2 * np.pi) + 0.2 * turn,
        opacity=np.ones_like(tau),
    )


_Motion = Callable[[Generator, Array, _Track, _Track], tuple[_Track, _Track]]


def _translate(heading: float) -> _Motion:
    """The actor goes in the direction ``heading`` [radians], a little off at random, from anywhere.

    As the frame wraps around, first and last places are spread alike: where a sprite is says nothing.
    """

    def motion(rng: Generator, tau: Array, actor: _Track, other: _Track) -> tuple[_Track, _Track]:
        angle = heading + rng.uniform(-0.25, 0.25)
        way = rng.uniform(0.45, 0.65) / 2 * tau[:, None] * np.array([np.cos(angle), np.sin(angle)])
        return replace(actor, place=actor.place + rng.uniform(0, 1, 2) + way), other

    return motion


def _rotate(rng: Generator, tau: Array, actor: _Track, other: _Track) -> tuple[_Track, _Track]:
    """The actor turns clockwise by 200 to 320 degrees."""
    return replace(actor, angle=actor.angle + np.deg2rad(rng.uniform(200, 320)) / 2 * tau), other


def _approach(rng: Generator, tau: Array, actor: _Track, other: _Track) -> tuple[_Track, _Track]:
    """The actor grows to 2.2 to 3 times its first radius."""
    return replace(actor, radius=actor.radius * np.sqrt(rng.uniform(2.2, 3.0)) ** tau), other


def _part(rng: Generator, tau: Array, actor: _Track, other: _Track) -> tuple[_Track, _Track]:
    """Two actors start side by side and move apart along one line.

    They start near the frame's middle, so that no centre leaves the frame: wrapped around, it would come near again.
    """
    middle = 0.5 + 0.3 * (actor.place.mean(axis=0) - 0.5)
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.33, 0.4)
    gap = 0.1 + (far - 0.1) * (1 + tau[:, None]) / 2
    offset = gap * np.array([np.cos(angle), np.sin(angle)])
    wobbles = (track.place - track.place.mean(axis=0) for track in (actor, other))
    here, there = (middle + wobble + sign * offset for wobble, sign in zip(wobbles, (1, -1), strict=True))
    return replace(actor, place=here), replace(other, place=there)


def _appear(rng: Generator, tau: Array, actor: _Track, other: _Track) -> tuple[_Track, _Track]:
    """The actor fades in around the middle of the clip, within a sixth of its length."""
    return replace(actor, opacity=np.clip((tau - rng.uniform(-0.25, 0.25)) * 3 + 0.5, 0, 1)), other


_MOTIONS: dict[str, _Motion] = {
    "move_left": _translate(np.pi),
    "move_up": _translate(-np.pi / 2),
    "rotate_clockwise": _rotate,
    "approach": _approach,
    "part": _part,
    "appear": _appear,
}

# ------------------------------------------------------------------------------------------ sprites


@dataclass(frozen=True, slots=True)
class _Sprite:
    """The looks of one sprite: a rimmed disc or polygon in two colours with a dot that shows how it is turned."""

    sides: int  # 0: a disc
    pattern: int  # 0: two halves, 1: stripes, 2: quarters
    colors: Array  # [4, 3] RGB in [0, 1]: first colour, second colour, dot, rim


def _random_sprite(rng: Generator, options: MotionOptions) -> _Sprite:
    """Light or dark, so that appearing and growing are not simply a change of brightness."""
    first, second = rng.uniform(), rng.uniform(0.3, 0.7)
    if rng.uniform() < options.light_share:
        body = [colorsys.hsv_to_rgb((first + hue) % 1, rng.uniform(0.3, 0.6), 1.0) for hue in (0, second)]
        colors = (*body, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    else:
        body = [colorsys.hsv_to_rgb((first + hue) % 1, rng.uniform(0.8, 1.0), 0.35) for hue in (0, second)]
        colors = (*body, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    colors = 0.5 + options.sprite_contrast * (np.array(colors, dtype=np.float32) - 0.5)
    return _Sprite(sides=int(rng.choice((0, 3, 4, 5))), pattern=int(rng.integers(3)), colors=colors)


def _paint(canvas: Array, sprite: _Sprite, track: _Track) -> None:
    """Blend the sprite into ``canvas`` [T, S, S, 3], float in [0, 1], in place."""
    size = canvas.shape[1]
    radius = (track.radius * size).astype(np.float32)[:, None, None]
    # A triangle of a disc's area reaches 1.56 radii far. What leaves the frame on one side comes in on the other.
    side = min(size, 2 * int(np.ceil(1.56 * radius.max() + 1)) + 1)
    corner = np.rint(track.place * size).astype(int) - side // 2  # [T, 2] (x, y)
    cells = corner[:, :, None] + np.arange(side)  # [T, 2, Q]
    offset = (cells + 0.5 - track.place[:, :, None] * size).astype(np.float32) / radius
    dx, dy = offset[:, 0, None, :], offset[:, 1, :, None]
    cos, sin = (f(track.angle).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    color, cover = _shade(sprite, cos * dx + sin * dy, cos * dy - sin * dx, radius)
    cover = (cover * track.opacity.astype(np.float32)[:, None, None])[..., None]
    where = np.arange(len(canvas))[:, None, None], cells[:, 1, :, None] % size, cells[:, 0, None, :] % size
    below = canvas[where]  # [T, Q, Q, 3]
    canvas[where] = below + cover * (color - below)


def _shade(sprite: _Sprite, u: Array, v: Array, radius: Array) -> tuple[Array, Array]:
    """Colour [T, Q, Q, 3] and cover [T, Q, Q] of the sprite at its own coordinates, in radii [T, Q, Q].

    Edges are one pixel wide ramps, so that motion by parts of a pixel can be seen.
    """

    def inside(depth: Array) -> Array:
        return np.clip(depth * radius + 0.5, 0, 1)

    first, second, dot, rim = sprite.colors
    depth = _depth(sprite.sides, u, v)
    pattern = (v, np.sin(7 * v) / 7, np.minimum(np.abs(u), np.abs(v)) * np.sign(u * v))[sprite.pattern]
    color = first + inside(pattern)[..., None] * (second - first)
    color += inside(0.24 - np.hypot(u - 0.45, v))[..., None] * (dot - color)
    color += inside(0.14 - depth)[..., None] * (rim - color)
    return color, inside(depth)


def _depth(sides: int, u: Array, v: Array) -> Array:
    """Distance to the outline, positive inside, of a disc (``sides`` 0) or regular polygon with a unit disc's area."""
    if sides == 0:
        return 1 - np.hypot(u, v)
    angles = 2 * np.pi * np.arange(sides) / sides
    outward = [np.float32(np.cos(angle)) * u + np.float32(np.sin(angle)) * v for angle in angles]
    return np.float32(np.sqrt(np.pi / (sides * np.tan(np.pi / sides)))) - np.maximum.reduce(outward)


# --------------------------------------------------------------------------------------- background


def _clutter(rng: Generator, size: int) -> Array:
    """A texture [S, S, 3] around 0, about in [-0.5, 0.5], that continues across its borders."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]) * size
    falloff = np.where(frequency > 0, np.maximum(frequency, 1) ** -1.5, 0)
    phases = np.exp(2j * np.pi * rng.uniform(size=(3, *falloff.shape)))
    clouds = np.fft.irfft2(falloff * phases, s=(size, size)).transpose(1, 2, 0)
    texture = (0.17 / clouds.std() * clouds).astype(np.float32)
    cells = np.arange(size, dtype=np.float32)
    for _ in range(9):
        half = rng.uniform(0.03, 0.14, 2) * size
        dx, dy = (np.abs((cells - center + size / 2) % size - size / 2) for center in rng.uniform(0, size, 2))
        cover = np.clip(half[0] - dx + 0.5, 0, 1) * np.clip(half[1] - dy + 0.5, 0, 1)[:, None]
        texture += 0.8 * cover.astype(np.float32)[..., None] * (rng.uniform(-0.4, 0.4, 3) - texture)
    return texture


def _drifting(texture: Array, rng: Generator, tau: Array, options: MotionOptions) -> Array:
    """The background of every frame, [T, S, S, 3] in [0, 1]: the texture at a constant speed in any direction."""
    size = len(texture)
    angle, length = rng.uniform(0, 2 * np.pi), options.background_drift * size * np.sqrt(rng.uniform())
    shift = length / 2 * tau[:, None] * np.array([np.cos(angle), np.sin(angle)])  # [T, 2]
    whole = np.floor(shift).astype(int)
    part_x, part_y = (shift - whole).astype(np.float32).T[..., None, None, None]
    cells = (np.arange(size + 1) + whole[..., None]) % size  # [T, 2, S + 1]
    moved = texture[cells[:, 1, :, None], cells[:, 0, None, :]]
    moved = moved[:, :-1] + part_y * (moved[:, 1:] - moved[:, :-1])
    moved = moved[:, :, :-1] + part_x * (moved[:, :, 1:] - moved[:, :, :-1])
    return np.float32(0.5) + np.float32(options.background_contrast) * moved
