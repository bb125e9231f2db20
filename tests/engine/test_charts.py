"""Charts of an evaluation."""

import io

import numpy as np
import pytest
from PIL import Image

from vidtok.engine import charts, visualize


def pixels_of(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("num_classes", [2, 12, 30, 400])
def test_a_confusion_matrix_of_any_size_can_be_drawn(num_classes: int) -> None:
    confusion = np.random.default_rng(0).integers(0, 9, (num_classes, num_classes))
    confusion[0] = 0  # a class without videos
    labels = [f"class {index}" for index in range(num_classes)]
    figure = charts.confusion_picture(confusion, labels)
    texts = [text.get_text() for text in figure.axes[0].texts]
    if num_classes <= 30:
        assert texts == ([str(count) for count in confusion.ravel() if count] if num_classes <= 20 else [])
    else:  # a matrix would look blank: the worst pairs are named
        assert texts[0] == "The 25 most frequent mistakes of 400 classes"
        assert sum(text.startswith("class ") for text in texts) == 50
    assert pixels_of(visualize.to_png(figure, dpi=40)).std() > 0


def test_many_classes_without_a_mistake_are_said_to_have_none() -> None:
    figure = charts.confusion_picture(np.eye(31, dtype=int), [f"class {index}" for index in range(31)])
    assert figure.axes[0].texts[0].get_text() == "No mistakes"


def test_class_bars_leave_out_classes_without_videos_and_keep_the_worst() -> None:
    accuracy = np.array([0.5, np.nan, 1.0, 0.0])
    figure = charts.class_bars(accuracy, ["a", "b", "c", "d"], most=2)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "d"]
    visualize.to_png(figure, dpi=40)


def test_the_budget_chart_goes_from_cheap_to_dear() -> None:
    rows = [
        {"budget": "5x5", "gmacs_per_view": 9.0, "top1": 0.8, "top1_se": 0.01},
        {"budget": "3x3", "gmacs_per_view": 4.0, "top1": 0.7, "top1_se": 0.01},
    ]
    figure = charts.budget_chart(rows)
    line = figure.axes[0].lines[0]
    assert line.get_xdata().tolist() == [4.0, 9.0] and line.get_ydata().tolist() == [70.0, 80.0]
    visualize.to_png(figure, dpi=40)
