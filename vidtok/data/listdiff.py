"""What changed between two lists: videos that came, went, were renamed or relabelled, or have another content."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidtok.data.fileindex import default_index, read_fingerprints
from vidtok.data.manifest import Listing, read_listing
from vidtok.data.manifest.entries import Entry, class_names_of, entries_of
from vidtok.data.manifest.items import segment_name

SCHEMA = "vidtok.diff/1"

Fingerprints = Mapping[str, str]
"""Absolute path of a video -> fingerprint of its content."""


@dataclass(frozen=True, slots=True)
class ListDiff:
    """Differences from list A to list B; paths count from each list's base folder, and name the part that is meant."""

    added: tuple[str, ...]
    """Only in B."""
    removed: tuple[str, ...]
    """Only in A."""
    renamed: tuple[tuple[str, str], ...]
    """(path in A, path in B) of the same content; these are not among the added and removed ones."""
    relabelled: tuple[tuple[str, str, str], ...]
    """(path in B, labels in A, labels in B), of renamed videos too."""
    changed: tuple[str, ...]
    """In both, with another content."""
    common: int
    """Videos in both under one path."""
    compared: int
    """Those of them whose content is known in both."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for one JSON document."""
        pairs = [{"from": before, "to": after} for before, after in self.renamed]
        relabelled = [{"path": path, "from": before, "to": after} for path, before, after in self.relabelled]
        return {"schema": SCHEMA} | asdict(self) | {"renamed": pairs, "relabelled": relabelled}


def find_fingerprints(source: str | Path, *, root: str | Path | None = None) -> dict[str, str]:
    """Fingerprints of a list's videos, from the list itself when it is an index, else from the index beside it.

    Returns:
        Fingerprint by absolute path; {} when there is no index.
    """
    for index in (Path(source), default_index(source)):
        known = read_fingerprints(index)
        if known:
            listing = read_listing(index, root=root)
            files = (os.path.abspath(os.path.join(listing.base, row.path)) for row in listing.rows)
            return {file: value for file, value in zip(files, known, strict=True) if value is not None}
    return {}


def compare_lists(a: Listing, b: Listing, *, known_a: Fingerprints, known_b: Fingerprints) -> ListDiff:
    """Compare two lists; labels by name where both have names, else by index.

    Args:
        a, b: the lists. A video that a list names twice counts once, with its last labels.
        known_a, known_b: fingerprints, as far as they are known.

    Raises:
        DataError: an unknown class name or an index out of range.
    """
    with_names = class_names_of(a) is not None and class_names_of(b) is not None
    old, new = ({entry.name: entry for entry in entries_of(one, with_names=with_names)} for one in (a, b))
    removed, added = ([path for path in one if path not in other] for one, other in ((old, new), (new, old)))
    renamed = _renamed([old[path] for path in removed], [new[path] for path in added], known_a, known_b)
    common = [path for path in old if path in new]
    contents = [(path, _content(old[path], known_a), _content(new[path], known_b)) for path in common]
    compared = [(path, before, after) for path, before, after in contents if before and after]
    labels = [
        (after, old[before].label_text, new[after].label_text)
        for before, after in [*zip(common, common, strict=True), *renamed]
    ]
    gone, come = {before for before, _ in renamed}, {after for _, after in renamed}
    return ListDiff(
        added=tuple(path for path in added if path not in come),
        removed=tuple(path for path in removed if path not in gone),
        renamed=tuple(renamed),
        relabelled=tuple((path, before, after) for path, before, after in labels if before != after),
        changed=tuple(path for path, before, after in compared if before != after),
        common=len(common),
        compared=len(compared),
    )


def _renamed(
    removed: list[Entry], added: list[Entry], known_a: Fingerprints, known_b: Fingerprints
) -> list[tuple[str, str]]:
    """Pairs of paths with the same content; copies are paired in the order of the lists."""
    places: dict[str, list[str]] = {}
    for entry in added:
        places.setdefault(_content(entry, known_b), []).append(entry.name)
    places.pop("", None)
    pairs = []
    for entry in removed:
        same = places.get(_content(entry, known_a))
        if same:
            pairs.append((entry.name, same.pop(0)))
    return pairs


def _content(entry: Entry, known: Fingerprints) -> str:
    """Fingerprint of a video, with the part that is meant; empty where it is not known."""
    content = known.get(os.path.abspath(entry.file), "")
    return content and segment_name(content, entry.segment)
