"""Pictures of results, drawn by matplotlib without a display and without global state.

Functions return a Figure; ``save`` and ``to_png`` turn it into a file or bytes.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch.nn import functional as F

from vidtok.data.dataset import VideoViews
from vidtok.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, RULE, ACCENT = "#1a1c23", "#6b7280", "#d8dbe2", "#2457d6"
CLIP_COLOURS = ("#2457d6", "#d9480f", "#0c8599", "#9c36b5", "#5c940d", "#e8a200", "#c2255c", "#495057")

_FEW_CLASSES = 20
_NAMED_CLASSES = 60
_THUMB, _GAP, _CAPTION, _MARGIN, _PANEL = 112, 8, 20, 32, 300
_MAX_COLUMNS = 8
_SHEET_DPI = 144
_POINTS_PER_UNIT = 0.72  # a sheet is laid out in units of 1/100 inch


def new_figure(width: float, height: float, *, layout: Literal["constrained", "none"] = "constrained") -> "Figure":
    """An empty white figure; sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white", layout=layout)


def to_png(figure: "Figure", *, dpi: int = 110) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def save(figure: "Figure", out: str | Path, *, dpi: int = 110) -> None:
    """Write a PNG. Raises ConfigError when ``out`` has another ending or its folder cannot be written."""
    out = Path(out)
    if out.suffix.lower() != ".png":
        raise ConfigError(f"picture '{out}' must end with .png")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(to_png(figure, dpi=dpi))
    except OSError as error:
        raise ConfigError(f"picture '{out}' cannot be written: {error.strerror}") from None


# ------------------------------------------------------------------------------- sampled frames


def contact_sheet(video: VideoViews, result: dict[str, Any], *, num_crops: int = 1) -> "Figure":
    """The frames that the model looked at, with their times, where they lie in the video, and the answer.

    Args:
        video: all views; the centre crop of each clip is shown.
        result: the entry of ``infer`` for this video.
        num_crops: crops per clip in ``video``.
    """
    clips = video.views[num_crops // 2 :: num_crops]  # [clips, 3, T, S, S]
    num_clips, _, frames = clips.shape[:3]
    columns = min(frames, _MAX_COLUMNS)
    rows = -(-frames // columns)
    grid_width = columns * (_THUMB + _GAP) - _GAP
    clip_height = rows * (_THUMB + _CAPTION) + _GAP
    top = 4 * _MARGIN
    width = 2 * _MARGIN + grid_width + _MARGIN + _PANEL
    height = max(top + num_clips * clip_height + _MARGIN // 2, top + 44 * len(result["top"]) + 2 * _MARGIN)
    figure = new_figure(width / 100, height / 100, layout="none")
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    page.axis("off")
    _draw_heading(page, video, result)
    _draw_timeline(page, video, x=_MARGIN, width=grid_width, y=3 * _MARGIN)
    thumbs = _thumbnails(clips)
    times = video.info.pts_seconds[video.indices]
    for clip in range(num_clips):
        for frame in range(frames):
            x = _MARGIN + frame % columns * (_THUMB + _GAP)
            y = top + clip * clip_height + frame // columns * (_THUMB + _CAPTION)
            colour = CLIP_COLOURS[clip % len(CLIP_COLOURS)]
            _draw_thumb(page, thumbs[clip, frame], x, y, f"{times[clip, frame]:.2f} s", colour)
    _draw_answer(page, result, x=2 * _MARGIN + grid_width, y=top)
    return figure


def save_contact_sheet(video: VideoViews, result: dict[str, Any], out: str | Path, *, num_crops: int = 1) -> None:
    """Write :func:`contact_sheet` as PNG. Raises ConfigError."""
    save(contact_sheet(video, result, num_crops=num_crops), out, dpi=_SHEET_DPI)


def _thumbnails(clips: Any) -> np.ndarray:
    """uint8 [clips, 3, T, S, S] -> uint8 [clips, T, H, W, 3] at the sheet's resolution."""
    side = round(_THUMB * _SHEET_DPI / 100)
    planes = clips.movedim(2, 1).flatten(0, 1)  # [clips * T, 3, S, S]
    planes = F.interpolate(planes.float(), size=(side, side), mode="bicubic", antialias=True).round().clamp(0, 255)
    return planes.unflatten(0, (len(clips), -1)).movedim(2, -1).byte().numpy()


def _text(page: "Axes", x: float, y: float, text: str, *, size: float = 14, **style: Any) -> None:
    """Text whose size is given in units of the sheet; dollar signs are not mathematics."""
    page.text(x, y, text, fontsize=size * _POINTS_PER_UNIT, parse_math=False, **({"color": INK} | style))


def _draw_heading(page: "Axes", video: VideoViews, result: dict[str, Any]) -> None:
    info, (num_clips, frames) = video.info, video.indices.shape
    clips = f"{num_clips} clip{'s' if num_clips > 1 else ''} of {frames} frames"
    facts = (
        f"{info.num_frames} frames, {info.fps:.4g} fps, {info.width}x{info.height} {info.codec}; the model sees {clips}"
    )
    _text(page, _MARGIN, 38, Path(result["path"]).name, size=22, weight="bold", va="center")
    _text(page, _MARGIN, 63, facts, size=13, color=FAINT, va="center")


def _draw_timeline(page: "Axes", video: VideoViews, *, x: float, width: float, y: float) -> None:
    """Where the sampled frames lie between the first and the last moment of the video."""
    duration = video.info.duration_seconds
    page.plot([x, x + width], [y, y], color=RULE, linewidth=3, solid_capstyle="round", zorder=1)
    for clip, indices in enumerate(video.indices):
        places = x + width * video.info.pts_seconds[indices] / duration
        page.scatter(places, np.full(len(places), y), s=22, color=CLIP_COLOURS[clip % len(CLIP_COLOURS)], zorder=2)
    _text(page, x, y + 15, "0 s", size=11, color=FAINT, va="center")
    _text(page, x + width, y + 15, f"{duration:.1f} s", size=11, color=FAINT, va="center", ha="right")


def _draw_thumb(page: "Axes", picture: np.ndarray, x: float, y: float, caption: str, colour: str) -> None:
    extent = (x, x + _THUMB, y + _THUMB, y)
    page.imshow(picture, extent=extent, interpolation="none", aspect="auto", zorder=1)
    page.plot([x, x + _THUMB], [y + _THUMB + 1.5] * 2, color=colour, linewidth=2, solid_capstyle="butt", zorder=2)
    _text(page, x + _THUMB / 2, y + _THUMB + 11, caption, size=10.5, color=FAINT, ha="center", va="center")


def _draw_answer(page: "Axes", result: dict[str, Any], *, x: float, y: float) -> None:
    """Bars of the best classes."""
    from matplotlib.patches import FancyBboxPatch

    for rank, row in enumerate(result["top"]):
        line = y + 44 * rank
        colour = ACCENT if rank == 0 else "#a9b4cc"
        _text(
            page,
            x,
            line + 8,
            _shorten(row["label"], 30),
            size=15,
            weight="bold" if rank == 0 else "normal",
            va="center",
        )
        _text(page, x + _PANEL, line + 8, f"{100 * row['score']:.1f} %", size=13, color=FAINT, va="center", ha="right")
        for share, fill in ((1.0, "#eef0f4"), (max(row["score"], 0.012), colour)):
            bar = (x, line + 20), share * _PANEL, 7
            page.add_patch(FancyBboxPatch(*bar, boxstyle="round,pad=0,rounding_size=3", color=fill, linewidth=0))


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 2] + ".."


# --------------------------------------------------------------------------------- evaluation


def confusion_picture(confusion: np.ndarray, labels: Sequence[str]) -> "Figure":
    """Confusion matrix [C, C] (rows: truth; columns: answer) in shares of each row; numbers when classes are few."""
    num_classes = len(labels)
    side = float(np.clip(2.6 + 0.3 * num_classes, 4.2, 13))
    figure = new_figure(side + 0.9, side)
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set(xlabel="answer", ylabel="truth")
    if num_classes <= _NAMED_CLASSES:
        names = [_shorten(label, 26) for label in labels]
        axes.set_xticks(range(num_classes), names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
        axes.set_yticks(range(num_classes), names, parse_math=False)
    if num_classes <= _FEW_CLASSES:
        for row, column in zip(*np.nonzero(confusion), strict=True):
            colour = "white" if shares[row, column] > 0.55 else INK
            axes.text(column, row, confusion[row, column], ha="center", va="center", color=colour, fontsize=9)
    _plain(axes)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, format=lambda share, _: f"{100 * share:.0f} %")
    bar.outline.set_visible(False)
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
    axes.set_yticks(places, [_shorten(labels[index], 30) for index in order], parse_math=False)
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
