"""Accuracy from class scores, in NumPy. Shapes: N videos, C classes, M videos of paired classes.

A video with a score that is not finite is never a hit, whatever is asked.
"""

from collections.abc import Sequence

import numpy as np

Pair = tuple[int, int]


def finite_rows(scores: np.ndarray) -> np.ndarray:
    """bool [N]: is every score of [N, C] finite?"""
    return np.isfinite(scores).all(1)


def top_k_hits(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """bool [N]: is the label among the k best of [N, C]? Equal scores rank by class index; k > C means C."""
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    is_before = np.arange(scores.shape[1]) < labels[:, None]
    rank = (scores > own).sum(1) + ((scores == own) & is_before).sum(1)
    return (rank < k) & finite_rows(scores)


def pair_hits(scores: np.ndarray, labels: np.ndarray, pairs: Sequence[Pair]) -> np.ndarray:
    """bool [M]: for each video of a paired class, does the true class score higher than its partner?"""
    partner = dict(pairs) | {second: first for first, second in pairs}
    rows = np.array([row for row, label in enumerate(labels) if int(label) in partner], dtype=np.int64)
    others = np.array([partner[int(labels[row])] for row in rows], dtype=np.int64)
    return (scores[rows, labels[rows]] > scores[rows, others]) & finite_rows(scores)[rows]


def average_precision(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Average precision of each class [C], from scores and 0/1 targets [N, C]; NaN for a class without videos.

    The mean, over the videos of a class, of the precision among all that score at least as high as that video. A video
    whose scores are not finite comes after all others.
    """
    scores = np.where(finite_rows(scores)[:, None], scores, -np.inf)
    return np.array([_average_precision(*columns) for columns in zip(scores.T, targets.T, strict=True)])


def mean_average_precision(scores: np.ndarray, targets: np.ndarray) -> float:
    """Mean of :func:`average_precision` over the classes that have videos; 0 when none has."""
    precisions = average_precision(scores, targets)
    return float(precisions[targets.any(0)].mean()) if targets.any() else 0.0


def _average_precision(scores: np.ndarray, targets: np.ndarray) -> float:
    """The same of one class, [N] and [N]."""
    if not targets.any():
        return float("nan")
    order = np.argsort(-scores)
    ordered, found = -scores[order], targets[order]
    num_before = np.searchsorted(ordered, ordered, side="right")  # [N] videos that score at least as high, itself too
    return float((found * np.cumsum(found)[num_before - 1] / num_before).sum() / found.sum())


def share(hits: np.ndarray) -> float | None:
    """Share of hits; None of nothing."""
    return float(hits.mean()) if len(hits) else None


def standard_error(hits: np.ndarray) -> float | None:
    """Binomial standard error of a share of hits; None of nothing."""
    if not len(hits):
        return None
    mean = hits.mean()
    return float(np.sqrt(mean * (1 - mean) / len(hits)))


def confusion_matrix(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[N, C] and [N] -> counts [C, C]; rows are the truth, columns the answer. Scores that are not finite are none."""
    num_classes, is_answer = scores.shape[1], finite_rows(scores)
    cells = labels[is_answer] * num_classes + scores[is_answer].argmax(1)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_accuracy(hits: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Share of hits per class [C]; NaN for a class without videos."""
    counts = np.bincount(labels, minlength=num_classes)
    with np.errstate(invalid="ignore"):
        return np.bincount(labels, weights=hits, minlength=num_classes) / counts


def mean_class_accuracy(hits: np.ndarray, labels: np.ndarray) -> float | None:
    """Mean over the classes that have videos of their share of hits: what a constant answer cannot raise.

    Args:
        hits: bool [N].
        labels: int [N].

    Returns:
        A share; None where there is no video.
    """
    counts = np.bincount(labels)
    occurs = counts > 0
    return share(np.bincount(labels, weights=hits)[occurs] / counts[occurs])


def majority(labels: np.ndarray) -> tuple[int, float] | None:
    """The largest class of [N] and its share, which is the top-1 of always answering it; None of no video."""
    if not len(labels):
        return None
    counts = np.bincount(labels)
    return int(counts.argmax()), float(counts.max() / len(labels))


def confused_pairs(confusion: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """The most frequent mistakes in counts [C, C]: (truth, answer, times), most often first."""
    wrong = confusion - np.diag(np.diag(confusion))
    shares = wrong / np.maximum(confusion.sum(1, keepdims=True), 1)
    truth, answer = np.nonzero(wrong)
    order = np.lexsort((-shares[truth, answer], -wrong[truth, answer]))[:most]
    return [(int(truth[place]), int(answer[place]), int(wrong[truth[place], answer[place]])) for place in order]
