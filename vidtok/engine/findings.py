"""What a reader of an evaluation must not overlook, in words: classes never answered, pairs not told apart."""

from collections.abc import Sequence

import numpy as np

from vidtok.engine.metrics import Pair, confused_pairs, confusion_matrix

_MOST = 5
"""Sentences of each kind; the rest is counted."""
_FEWEST = 10
"""Videos of two classes below which a coin cannot be excluded anyway."""


def findings(scores: np.ndarray, labels: np.ndarray, names: Sequence[str], pairs: Sequence[Pair] = ()) -> list[str]:
    """Sentences about what was not learnt; [] when there is nothing to say.

    Args:
        scores: [N, C].
        labels: int [N].
        names: of the classes [C].
        pairs: mirrored classes; those most often confused are looked at anyway.
    """
    confusion = confusion_matrix(scores, labels)
    answers, occurring = np.flatnonzero(confusion.sum(0)), np.flatnonzero(confusion.sum(1))
    if len(answers) == 1 and len(occurring) > 1:
        return [f"every answer is '{names[answers[0]]}': the model tells nothing apart"]
    return [*_never_right(confusion, names), *_not_told_apart(confusion, names, pairs)]


def _never_right(confusion: np.ndarray, names: Sequence[str]) -> list[str]:
    counts, lines = confusion.sum(1), []
    for index in np.flatnonzero((counts > 0) & (np.diag(confusion) == 0)):
        answer = confusion[index].argmax()
        rival = f"{confusion[index, answer]} are taken for '{names[answer]}'"
        lines.append((-counts[index], f"'{names[index]}' is never right: of {counts[index]} videos {rival}"))
    shown = [line for _, line in sorted(lines)[:_MOST]]
    rest = len(lines) - len(shown)
    return [*shown, f"{rest} more classes are never right; per_class.csv has them"] if rest else shown


def _not_told_apart(confusion: np.ndarray, names: Sequence[str], pairs: Sequence[Pair]) -> list[str]:
    """Two classes of which, among the videos answered with either, no more are right than a coin gives (2 sigma)."""
    confused = [(truth, answer) for truth, answer, _ in confused_pairs(confusion, 4 * _MOST)]
    lines = []
    for first, second in sorted({(min(pair), max(pair)) for pair in (*confused, *pairs)}):
        block = confusion[np.ix_((first, second), (first, second))]
        counts, right, total = block.sum(1), np.diag(block), block.sum()
        if total >= _FEWEST and counts.all() and right.sum() <= total / 2 + np.sqrt(total):
            shares = f"{right[0]} of {counts[0]} and {right[1]} of {counts[1]} videos are right, no better than a coin"
            lines.append((-total, f"'{names[first]}' and '{names[second]}' are not told apart: {shares}"))
    return [line for _, line in sorted(lines)[:_MOST]]
