"""Accuracy from class scores, in NumPy. Shapes: N videos, C classes, M videos of paired classes."""

from collections.abc import Sequence

import numpy as np

Pair = tuple[int, int]


def top_k_hits(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """bool [N]: is the label among the k best of [N, C]? Equal scores rank by class index; k > C means C."""
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    is_before = np.arange(scores.shape[1]) < labels[:, None]
    rank = (scores > own).sum(1) + ((scores == own) & is_before).sum(1)
    return rank < k


def pair_hits(scores: np.ndarray, labels: np.ndarray, pairs: Sequence[Pair]) -> np.ndarray:
    """bool [M]: for each video of a paired class, does the true class score higher than its partner?"""
    partner = dict(pairs) | {second: first for first, second in pairs}
    rows = np.array([row for row, label in enumerate(labels) if int(label) in partner], dtype=np.int64)
    others = np.array([partner[int(labels[row])] for row in rows], dtype=np.int64)
    return scores[rows, labels[rows]] > scores[rows, others]


def average_precision(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Average precision of each class [C], from scores and 0/1 targets [N, C]; NaN for a class without videos.

    The mean, over the videos of a class, of the precision among all that score at least as high as that video.
    """
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


def standard_error(hits: np.ndarray) -> float:
    """Binomial standard error of a share of hits."""
    share = hits.mean()
    return float(np.sqrt(share * (1 - share) / len(hits)))


def confusion_matrix(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[N, C] and [N] -> counts [C, C]; rows are the truth, columns the answer."""
    num_classes = scores.shape[1]
    cells = labels * num_classes + scores.argmax(1)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_accuracy(hits: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Share of hits per class [C]; NaN for a class without videos."""
    counts = np.bincount(labels, minlength=num_classes)
    with np.errstate(invalid="ignore"):
        return np.bincount(labels, weights=hits, minlength=num_classes) / counts
