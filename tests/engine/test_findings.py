"""What an evaluation says in words."""

import numpy as np

from vidtok.engine.findings import findings

NAMES = [f"c{index}" for index in range(12)]


def case(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels that have this confusion."""
    truth, answer = (np.repeat(place, confusion.ravel()) for place in map(np.ravel, np.indices(confusion.shape)))
    return np.eye(len(confusion))[answer], truth


def confusion_of(*changes: tuple[int, int, int]) -> np.ndarray:
    """Fifty right answers of each class, then (truth, answer, times) moved away from them."""
    confusion = 50 * np.eye(12, dtype=int)
    for truth, answer, times in changes:
        confusion[truth, truth] -= times
        confusion[truth, answer] += times
    return confusion


def test_nothing_is_said_of_a_model_that_is_mostly_right():
    assert findings(*case(confusion_of((0, 1, 10), (4, 5, 3))), NAMES, [(0, 1)]) == []


def test_a_pair_that_is_not_told_apart_is_named_even_when_it_is_no_declared_pair():
    confusion = confusion_of((4, 5, 1), (5, 4, 49))
    for pairs in ([], [(4, 5)]):
        [line] = findings(*case(confusion), NAMES, pairs)
        assert line == "'c4' and 'c5' are not told apart: 49 of 50 and 1 of 50 videos are right, no better than a coin"


def test_a_class_that_is_never_right_is_named_with_what_it_is_taken_for():
    lines = findings(*case(confusion_of((2, 7, 30), (2, 8, 20))), NAMES)
    assert lines[0] == "'c2' is never right: of 50 videos 30 are taken for 'c7'"


def test_a_constant_answer_is_one_sentence():
    confusion = np.zeros((12, 12), dtype=int)
    confusion[:, 3] = 5
    assert findings(*case(confusion), NAMES) == ["every answer is 'c3': the model tells nothing apart"]


def test_long_lists_end_with_a_count():
    confusion = np.roll(np.eye(12, dtype=int), 1, axis=1)
    lines = findings(*case(confusion), NAMES)
    assert len(lines) == 6 and lines[-1] == "7 more classes are never right; per_class.csv has them"
