"""Accuracy from scores."""

import numpy as np
import pytest

from vidtok.engine.metrics import (
    average_precision,
    class_accuracy,
    confused_pairs,
    confusion_matrix,
    majority,
    mean_class_accuracy,
    pair_hits,
    share,
    standard_error,
    top_k_hits,
)


def random_case(num_videos: int = 50, num_classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((num_videos, num_classes)), rng.integers(0, num_classes, num_videos)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_a_hit_is_a_label_among_the_k_best(k: int) -> None:
    scores, labels = random_case()
    expected = [label in np.argsort(-row)[:k] for row, label in zip(scores, labels, strict=True)]
    assert top_k_hits(scores, labels, k).tolist() == expected


def test_as_many_guesses_as_classes_always_hit_and_top_1_is_the_largest_score() -> None:
    scores, labels = random_case()
    assert top_k_hits(scores, labels, 7).all() and top_k_hits(scores, labels, 9).all()
    assert np.array_equal(top_k_hits(scores, labels, 1), scores.argmax(1) == labels)


def test_equal_scores_rank_by_class_index_so_that_a_constant_model_is_not_right_everywhere() -> None:
    hits = top_k_hits(np.zeros((3, 3)), np.arange(3), 1)
    assert hits.tolist() == [True, False, False]


def test_within_a_pair_only_the_two_scores_count() -> None:
    scores = np.array([[0.1, 0.2, 0.7], [0.1, 0.2, 0.7], [0.5, 0.4, 0.1]])
    labels = np.array([1, 0, 2])
    assert pair_hits(scores, labels, [(0, 1)]).tolist() == [True, False]  # the third class has no partner
    assert pair_hits(scores, labels, [(1, 0)]).tolist() == [True, False]
    assert pair_hits(scores, labels, []).size == 0


def test_the_confusion_matrix_counts_every_video_once() -> None:
    scores, labels = random_case()
    confusion = confusion_matrix(scores, labels)
    assert confusion.sum() == 50
    assert np.array_equal(confusion.sum(1), np.bincount(labels, minlength=7))
    assert confusion.trace() == top_k_hits(scores, labels, 1).sum()


def test_class_accuracies_weighted_by_their_videos_are_the_accuracy() -> None:
    scores, labels = random_case()
    hits = top_k_hits(scores, labels, 1)
    accuracy = class_accuracy(hits, labels, 8)
    assert np.isnan(accuracy[7])
    counts = np.bincount(labels, minlength=7)
    assert np.isclose((accuracy[:7] * counts).sum() / 50, hits.mean())


def test_the_standard_error_is_the_binomial_one() -> None:
    assert standard_error(np.array([True] * 75 + [False] * 25)) == pytest.approx(0.0433, abs=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_never_a_hit(bad: float) -> None:
    scores, labels = random_case()
    scores[3, labels[3]] = bad
    scores[4, (labels[4] + 1) % 7] = bad
    for k in (1, 5, 7):
        assert not top_k_hits(scores, labels, k)[3:5].any()
    pairs = [(index, index + 1) for index in range(0, 6, 2)]
    paired = np.flatnonzero(labels != 6)
    hits = dict(zip(paired.tolist(), pair_hits(scores, labels, pairs).tolist(), strict=True))
    assert not hits.get(3) and not hits.get(4)
    assert confusion_matrix(scores, labels).sum() == 48


def test_a_video_whose_scores_are_not_finite_is_found_last() -> None:
    targets = np.array([[1, 0], [0, 1], [0, 1]])
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.6]])
    assert average_precision(scores, targets).tolist() == [1, 1]
    scores[0, 0] = np.inf
    assert average_precision(scores, targets)[0] == pytest.approx(1 / 3)


def test_a_constant_answer_has_the_share_of_its_class_and_no_more_than_chance_per_class() -> None:
    labels = np.array([0] * 18 + [2] * 3)
    hits = top_k_hits(np.tile([1.0, 0.0, 0.0], (21, 1)), labels, 1)
    assert majority(labels) == (0, pytest.approx(18 / 21)) and share(hits) == pytest.approx(18 / 21)
    assert mean_class_accuracy(hits, labels) == 0.5  # class 1 has no video and does not count


def test_of_nothing_there_is_no_figure() -> None:
    hits, labels = np.zeros(0, bool), np.zeros(0, int)
    assert share(hits) is standard_error(hits) is mean_class_accuracy(hits, labels) is majority(labels) is None


def test_the_most_frequent_mistakes_come_first_and_equal_ones_by_their_share() -> None:
    confusion = np.array([[10, 2, 0], [0, 1, 2], [5, 0, 5]])
    assert confused_pairs(confusion, 2) == [(2, 0, 5), (1, 2, 2)]
    assert confused_pairs(np.eye(3, dtype=int), 5) == []
