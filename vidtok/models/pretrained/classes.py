"""Which rows of a trained classifier serve the classes that are wanted. Deciding only; ``start`` applies it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from vidtok.config import brief, spelling

HEADS = ("head.", "lookup_head.")


class Rows(NamedTuple):
    """What becomes of a classifier."""

    rows: tuple[int, ...] | None
    """For every wanted class the row of the trained classifier; None: it starts anew."""
    told: str


def match_classes(theirs: Sequence[str] | None, count: int, ours: Sequence[str] | None, wanted: int) -> Rows:
    """Match ``wanted`` classes called ``ours`` with the ``count`` classes called ``theirs``; None: names are unknown.

    The same names in another order reorder the rows, other names begin anew. Where names are unknown on one side,
    equal numbers of classes are taken for the same classes, and that is said.
    """
    if count != wanted:
        return Rows(None, f"new: {wanted} classes instead of {count}")
    kept = tuple(range(count))
    if theirs is None or ours is None:
        silent = "the checkpoint" if theirs is None else "the data"
        return Rows(kept, f"kept by number: {silent} does not name its classes, so check that their order is the same")
    if list(theirs) == list(ours):
        return Rows(kept, f"kept: the same {count} classes")
    places = [_rows_by_name(theirs, ours), _rows_by_name([*map(spelling, theirs)], [*map(spelling, ours)])]
    rows = next((rows for rows in places if sorted(set(rows)) == list(kept)), None)
    if rows is None:
        absent = [name for name, row in zip(ours, places[1], strict=True) if row < 0]
        first = f", such as {brief(absent[0])}" if absent else ""
        return Rows(None, f"new: {len(absent)} of {wanted} classes are not the checkpoint's{first}")
    moved = sum(row != place for place, row in enumerate(rows))
    how = f"reordered by name: {moved} of {count} classes had another number" if moved else "kept: the same classes"
    return Rows(tuple(rows), how)


def _rows_by_name(theirs: Sequence[str], ours: Sequence[str]) -> list[int]:
    """Place of each of our names in theirs; -1 where it is not."""
    place = {name: row for row, name in enumerate(theirs)}
    return [place.get(name, -1) for name in ours]


def fit_heads(
    weights: Mapping[str, Tensor], fresh: Mapping[str, Tensor], rows: tuple[int, ...] | None
) -> dict[str, Tensor]:
    """``weights`` with the rows of all classifiers put in order, or with those of ``fresh``, a new model's weights."""
    out = dict(weights)
    for name in weights:
        if name.startswith(HEADS):
            out[name] = fresh[name] if rows is None else weights[name][list(rows)]
    return out
