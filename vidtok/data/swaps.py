"""Which class a flipped or reversed clip belongs to."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vidtok.config import AugmentConfig, Swap
from vidtok.data.augment import Augmentation
from vidtok.errors import ConfigError, did_you_mean

LEFT_RIGHT = "left_right"
_SIDE = re.compile(r"(?<![a-z])(left|right)(?![a-z])", re.IGNORECASE)


Label = int | tuple[int, ...] | None
"""Class index, all of a multi-label clip, or None where it is not known"""


@dataclass(frozen=True, slots=True)
class LabelSwaps:
    """For each change, the classes that it turns into others; classes that are not named stay."""

    hflip: dict[int, int]
    vflip: dict[int, int]
    reverse: dict[int, int]
    never_hflip: frozenset[int] = frozenset()
    """Classes whose mirror image is no class: their clips are not flipped."""

    def allowed(self, label: Label, choice: Augmentation) -> Augmentation:
        """The changes, less those after which a clip of class ``label`` would have no class."""
        return replace(choice, hflip=False) if self.never_hflip.intersection(_classes(label)) else choice

    def label_after(self, label: Label, choice: Augmentation) -> Label:
        """The class of a clip of class ``label`` after the changes; several of a multi-label clip, in order."""
        swaps = [getattr(self, name) for name in ("hflip", "vflip", "reverse") if getattr(choice, name)]
        if label is None or not swaps:
            return label
        classes = _classes(label)
        for swap in swaps:
            classes = tuple(swap.get(index, index) for index in classes)
        return tuple(sorted(classes)) if isinstance(label, tuple) else classes[0]


def _classes(label: Label) -> tuple[int, ...]:
    if label is None:
        return ()
    return label if isinstance(label, tuple) else (label,)


def resolve_swaps(config: AugmentConfig, class_names: Sequence[str] | None, num_classes: int) -> LabelSwaps:
    """Turn the label pairs of a recipe, by name or index, into class indices.

    Raises:
        ConfigError: unknown name, index out of range, a class in two pairs of one change, ``left_right``
            without class names, or flips without pairs where names of classes tell left from right.
    """
    hflip, never = config.hflip_swaps, frozenset[int]()
    if hflip == LEFT_RIGHT:
        hflip, never = left_right_pairs(class_names)
    elif config.hflip and not hflip and class_names is not None:
        _check_sides(class_names)
    return LabelSwaps(
        hflip=_resolve(hflip, "hflip", class_names, num_classes),
        vflip=_resolve(config.vflip_swaps, "vflip", class_names, num_classes),
        reverse=_resolve(config.reverse_swaps, "reverse", class_names, num_classes),
        never_hflip=never,
    )


def _check_sides(class_names: Sequence[str]) -> None:
    """Raise ConfigError when a flip would turn clips of one class into those of another."""
    pairs, _ = left_right_pairs(class_names)
    if pairs:
        first, second = (class_names[index] for index in pairs[0])
        raise ConfigError(
            f"augment.hflip: a flip makes '{second}' of '{first}', but labels would stay; set augment.hflip=0 or "
            f"augment.hflip_swaps={LEFT_RIGHT}"
        )


def left_right_pairs(class_names: Sequence[str] | None) -> tuple[list[tuple[int, int]], frozenset[int]]:
    """Pairs of classes whose names become each other when the words left and right are exchanged.

    In Something-Something-V2 these are 86/87, 93/94 and 166/167. The second answer is the classes that name a side
    but have no such partner, there 50 ("pulling it right out"): nobody knows what their mirror image is.

    Raises:
        ConfigError: no names.
    """
    if class_names is None:
        raise ConfigError(f"augment.hflip_swaps: {LEFT_RIGHT} needs class names; set data.classes or list index pairs")
    places = {name.casefold(): index for index, name in enumerate(class_names)}
    partners = {index: places.get(_mirrored(name)) for index, name in enumerate(class_names) if _SIDE.search(name)}
    pairs = [(index, other) for index, other in partners.items() if other is not None and index < other]
    return pairs, frozenset(index for index, other in partners.items() if other is None)


def _mirrored(name: str) -> str:
    return _SIDE.sub(lambda side: "right" if side[0] == "left" else "left", name.casefold())


def _resolve(swaps: Sequence[Swap], change: str, class_names: Sequence[str] | None, num_classes: int) -> dict[int, int]:
    key = f"augment.{change}_swaps"
    out: dict[int, int] = {}
    for pair in swaps:
        first, second = (_class_index(label, key, class_names, num_classes) for label in pair)
        if first == second or first in out or second in out:
            raise ConfigError(f"{key}: pair {list(pair)} names a class that is already in a pair; name each class once")
        out |= {first: second, second: first}
    return out


def _class_index(label: str | int, key: str, class_names: Sequence[str] | None, num_classes: int) -> int:
    if isinstance(label, int):
        if not 0 <= label < num_classes:
            raise ConfigError(f"{key}: label {label}, but there are {num_classes} classes (0-{num_classes - 1})")
        return label
    if class_names is None:
        raise ConfigError(f"{key}: '{label}' is a name, but the data has none; set data.classes or use class indices")
    if label not in class_names:
        raise ConfigError(f"{key}: '{label}' is not one of the class names{did_you_mean(label, class_names)}")
    return list(class_names).index(label)
