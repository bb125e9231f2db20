"""Divide a list into training, validation and test lists, so that clips of one source stay together."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from vidtok.data.manifest import Listing
from vidtok.data.manifest.entries import Entry, class_names_of, entries_of, write_class_names, write_list
from vidtok.errors import ConfigError, DataError

BY_FOLDER, BY_COLUMN = "folder", "column"

_UNLABELLED = ""


def group_of(entry: Entry, group: str | None) -> str:
    """Name of the group that a video belongs to.

    Args:
        entry: the video.
        group: ``folder``: the folder it is in; ``column``: the column ``group`` of the list; another text: a regular
            expression that is searched in the path, where its groups, else all that it matches, name the group;
            None: each video is its own group, with all parts of it that the list means.

    Raises:
        DataError: the list or the expression gives no group for the video.
        ConfigError: not a regular expression.
    """
    if group is None:
        return entry.path
    if group == BY_FOLDER:
        return str(PurePosixPath(entry.path).parent)
    if group == BY_COLUMN:
        name = entry.group
    else:
        try:
            match = re.search(group, entry.path)
        except re.error as error:
            raise ConfigError(f"--group '{group}' is not a regular expression: {error}") from None
        name = match and "/".join(part or "" for part in match.groups() or (match[0],))
    if not name:
        source = "column 'group' of the list" if group == BY_COLUMN else f"expression '{group}'"
        raise DataError(f"{entry.path}: the {source} gives it no group; every video needs one, else groups may leak")
    return name


def divide(entries: Sequence[Entry], groups: Sequence[str], shares: Mapping[str, float], *, seed: int) -> list[str]:
    """Choose a split for every video, such that each group is in one split.

    The largest groups are placed first, each where it brings the numbers of videos of its classes, and of all
    videos, closest to the shares wanted; groups of equal size come in random order.

    Args:
        entries: the videos. Neither their order nor their folder changes the result.
        groups: the group of each.
        shares: share of each split; they add up to 1.
        seed: of the random order.

    Returns:
        Names of splits, one for each video.

    Raises:
        DataError: fewer groups than splits.
    """
    members: defaultdict[str, Counter[str]] = defaultdict(Counter)
    sizes: Counter[str] = Counter(groups)
    for entry, group in zip(entries, groups, strict=True):
        members[group].update(entry.labels or (_UNLABELLED,))
    if len(sizes) < len(shares):
        raise DataError(f"{len(sizes)} groups cannot fill {len(shares)} splits; choose another --group")
    names = sorted(sizes)
    order = np.random.default_rng(seed).permutation(len(names))
    ranked = sorted((names[place] for place in order), key=lambda name: -sizes[name])
    chosen = _place(ranked, sizes, members, shares)
    return [chosen[group] for group in groups]


def _place(
    ranked: Sequence[str], sizes: Counter[str], members: Mapping[str, Counter[str]], shares: Mapping[str, float]
) -> dict[str, str]:
    """Split of each group."""
    in_class = sum(members.values(), Counter())
    total = sizes.total()
    have: dict[str, Counter[str]] = {split: Counter() for split in shares}
    videos: Counter[str] = Counter()
    chosen = {}
    for number, group in enumerate(ranked):
        empty = [split for split in shares if not videos[split]]
        must_fill = len(ranked) - number <= len(empty)

        def cost(split: str, group: str = group) -> float:
            share = shares[split]
            rise = _rise(videos[split], sizes[group], share * total) / total
            return rise + sum(
                _rise(have[split][label], count, share * in_class[label]) / in_class[label]
                for label, count in members[group].items()
            )

        split = min(empty if must_fill else shares, key=cost)
        chosen[group] = split
        videos[split] += sizes[group]
        have[split].update(members[group])
    return chosen


def _rise(have: int, more: int, wanted: float) -> float:
    """By how much the squared distance from what is wanted grows."""
    return (have + more - wanted) ** 2 - (have - wanted) ** 2


def write_split(
    listing: Listing, out: Path, *, val: float, test: float, group: str | None = None, seed: int = 0
) -> dict[str, list[Entry]]:
    """Divide a list and write ``train.csv``, ``val.csv`` and ``test.csv``, and ``classes.txt`` where names are known.

    Args:
        listing: the list.
        out: folder to write to; it may not hold lists of these names.
        val, test: shares of the videos, in [0, 1); 0 leaves the split out.
        group: see :func:`group_of`.
        seed: another seed gives another division.

    Returns:
        The videos of each split, in the order of the list.

    Raises:
        ConfigError: shares that leave nothing to train on, lists that exist already.
        DataError: videos without a group, fewer groups than splits.
    """
    shares = {name: share for name, share in (("train", 1 - val - test), ("val", val), ("test", test)) if share > 0}
    if "train" not in shares or min(val, test) < 0 or len(shares) == 1:
        raise ConfigError(f"shares val={val:g} and test={test:g} must be at least 0, not both 0, and below 1 together")
    files = {name: out / f"{name}.csv" for name in shares}
    taken = next((file for file in files.values() if file.exists()), None)
    if taken is not None:
        raise ConfigError(f"'{taken}' exists already; name another folder")
    entries = entries_of(listing)
    chosen = divide(entries, [group_of(entry, group) for entry in entries], shares, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    parts = {name: [e for e, split in zip(entries, chosen, strict=True) if split == name] for name in shares}
    for name, part in parts.items():
        write_list(files[name], part, listing.base)
    names = class_names_of(listing)
    if names is not None:
        write_class_names(out, names)
    return parts
