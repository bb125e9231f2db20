"""Charts of an evaluation: confusion, classes, budgets."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vidtok.engine.metrics import confused_pairs
from vidtok.engine.visualize import ACCENT, FAINT, INK, new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FEW_CLASSES = 20
MATRIX_CLASSES = 30
"""With more classes a matrix shows nothing to the eye: the most confused pairs are listed instead."""
MOST_PAIRS = 25


def confusion_picture(confusion: np.ndarray, labels: Sequence[str]) -> "Figure":
    """Counts [C, C] (rows: truth; columns: answer): a matrix in shares of each row, or a table of the worst pairs."""
    return (_matrix if len(labels) <= MATRIX_CLASSES else _pairs_table)(confusion, labels)


def _matrix(confusion: np.ndarray, labels: Sequence[str]) -> "Figure":
    num_classes = len(labels)
    side = float(np.clip(2.6 + 0.3 * num_classes, 4.2, 13))
    figure = new_figure(side + 0.9, side)
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set(xlabel="answer", ylabel="truth")
    names = [shorten(label, 26) for label in labels]
    axes.set_xticks(range(num_classes), names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(num_classes), names, parse_math=False)
    for row, column in zip(*np.nonzero(confusion), strict=True) if num_classes <= _FEW_CLASSES else ():
        colour = "white" if shares[row, column] > 0.55 else INK
        axes.text(column, row, confusion[row, column], ha="center", va="center", color=colour, fontsize=9)
    _plain(axes)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, format=lambda share, _: f"{100 * share:.0f} %")
    bar.outline.set_visible(False)
    return figure


def _pairs_table(confusion: np.ndarray, labels: Sequence[str]) -> "Figure":
    """One line for each of the most frequent mistakes, with its share of the true class as a bar."""
    rows, counts = confused_pairs(confusion, MOST_PAIRS), confusion.sum(1)
    height = 1.3 + 0.28 * max(len(rows), 1)
    figure = new_figure(9.6, height, layout="none")
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, 9.6), ylim=(height, 0))
    page.axis("off")
    head = f"The {len(rows)} most frequent mistakes of {len(labels)} classes" if rows else "No mistakes"
    style: dict[str, Any] = {"va": "center", "parse_math": False}
    page.text(0.3, 0.4, head, fontsize=13, weight="bold", color=INK, **style)
    for x, title in ((0.3, "truth"), (3.6, "answer"), (6.9, "of the class's videos")):
        page.text(x, 0.85, title, fontsize=9, color=FAINT, **style)
    for place, (truth, answer, times) in enumerate(rows):
        y = 1.15 + 0.28 * place
        page.text(0.3, y, shorten(labels[truth], 38), fontsize=9.5, color=INK, **style)
        page.text(3.6, y, shorten(labels[answer], 38), fontsize=9.5, color=INK, **style)
        for share, colour in ((1.0, "#eef0f4"), (times / counts[truth], ACCENT)):
            page.plot([6.9, 6.9 + 1.5 * share], [y, y], color=colour, linewidth=5, solid_capstyle="butt")
        page.text(8.55, y, f"{times} of {counts[truth]}", fontsize=9.5, color=FAINT, **style)
    return figure


def class_bars(accuracy: np.ndarray, labels: Sequence[str], *, most: int = 40) -> "Figure":
    """Top-1 of each class, best first; with many classes only the ``most`` worst. NaN (no videos) is left out."""
    order = [int(index) for index in np.argsort(accuracy, kind="stable") if not np.isnan(accuracy[index])][:most][::-1]
    figure = new_figure(5.0, 1.0 + 0.3 * max(len(order), 3))
    axes = figure.subplots()
    places = np.arange(len(order))
    values = 100 * accuracy[order]
    axes.barh(places, np.full(len(order), 100.0), color="#eef0f4", height=0.62)
    axes.barh(places, values, color=ACCENT, height=0.62)
    axes.set_yticks(places, [shorten(labels[index], 30) for index in order], parse_math=False)
    for place, value in zip(places, values, strict=True):
        axes.text(102, place, f"{value:.0f}", va="center", fontsize=9, color=FAINT)
    axes.set(xlim=(0, 108), ylim=(len(order) - 0.4, -0.6), xlabel="top-1 [%]")
    _plain(axes)
    return figure


def budget_chart(rows: Sequence[dict[str, Any]]) -> "Figure":
    """Accuracy against cost of one checkpoint at several budgets; bars are one standard error."""
    rows = sorted(rows, key=lambda row: row["gmacs_per_view"])
    figure = new_figure(6.4, 3.8)
    axes = figure.subplots()
    cost = [row["gmacs_per_view"] for row in rows]
    top1 = [100 * row["top1"] for row in rows]
    errors = [100 * row["top1_se"] for row in rows]
    axes.errorbar(cost, top1, yerr=errors, color=ACCENT, marker="o", capsize=3, linewidth=1.8)
    for row, x, y in zip(rows, cost, top1, strict=True):
        axes.annotate(row["budget"], (x, y), xytext=(7, -12), textcoords="offset points", fontsize=9, color=FAINT)
    axes.set(xlabel="GMACs per view", ylabel="top-1 [%]")
    axes.margins(x=0.12, y=0.2)
    axes.grid(color="#eef0f4")
    axes.set_axisbelow(True)
    _plain(axes)
    return figure


def _plain(axes: "Axes") -> None:
    """No frame, no tick marks, quiet labels."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, colors=INK, labelsize=9)
