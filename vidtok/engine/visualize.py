"""Pictures of results, drawn by matplotlib without a display and without global state.

Functions return a Figure; ``save`` and ``to_png`` turn it into a file or bytes.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from vidtok.data.dataset import VideoViews
from vidtok.data.preview import Look
from vidtok.data.transforms import Box
from vidtok.errors import ConfigError
from vidtok.outputs import writing
from vidtok.text import counted, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, RULE, ACCENT = "#1a1c23", "#6b7280", "#d8dbe2", "#2457d6"
CLIP_COLOURS = ("#2457d6", "#d9480f", "#0c8599", "#9c36b5", "#5c940d", "#e8a200", "#c2255c", "#495057")

_THUMB, _GAP, _CAPTION, _MARGIN, _PANEL = 112, 8, 20, 32, 300
_MAX_COLUMNS = 8
_LOOK_THUMB, _LOOK_COLUMNS, _LOOK_MIN_WIDTH = 96, 16, 900
SHEET_DPI = 144
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
    """Write a PNG. Raises ConfigError when ``out`` has another ending, EnvironmentFault when it cannot be written."""
    out = Path(out)
    if out.suffix.lower() != ".png":
        raise ConfigError(f"picture '{out}' must end with .png")
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(to_png(figure, dpi=dpi))


# ------------------------------------------------------------------------------- sampled frames


def contact_sheet(
    video: VideoViews, result: dict[str, Any], *, num_crops: int = 1, place: str = "", seen: int | None = None
) -> "Figure":
    """The frames that the model looked at, with their times, where they lie in the video, and the answer.

    Args:
        video: all views; the centre crop of each clip is shown.
        result: the entry of ``infer`` for this video.
        num_crops: crops per clip in ``video``.
        place: which window of how many the result is of; empty: it is of the whole video.
        seen: side of the pictures that the model sees [pixels], where ``video`` has sharper ones for the eye.
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
    _draw_heading(page, video, result, place, seen or clips.shape[-1])
    span = (result["start_s"], result["end_s"]) if place else None
    _draw_timeline(page, video, x=_MARGIN, width=grid_width, y=3 * _MARGIN, span=span)
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


def save_contact_sheet(
    video: VideoViews,
    result: dict[str, Any],
    out: str | Path,
    *,
    num_crops: int = 1,
    place: str = "",
    seen: int | None = None,
) -> None:
    """Write :func:`contact_sheet` as PNG. Raises ConfigError."""
    save(contact_sheet(video, result, num_crops=num_crops, place=place, seen=seen), out, dpi=SHEET_DPI)


def _thumbnails(clips: Any) -> np.ndarray:
    """uint8 [clips, 3, T, S, S] -> uint8 [clips, T, H, W, 3] at the sheet's resolution."""
    side = round(_THUMB * SHEET_DPI / 100)
    planes = clips.movedim(2, 1).flatten(0, 1)  # [clips * T, 3, S, S]
    planes = F.interpolate(planes.float(), size=(side, side), mode="bicubic", antialias=True).round().clamp(0, 255)
    return planes.unflatten(0, (len(clips), -1)).movedim(2, -1).byte().numpy()


def _text(page: "Axes", x: float, y: float, text: str, *, size: float = 14, **style: Any) -> None:
    """Text whose size is given in units of the sheet; dollar signs are not mathematics."""
    page.text(x, y, text, fontsize=size * _POINTS_PER_UNIT, parse_math=False, **({"color": INK} | style))


def _draw_heading(page: "Axes", video: VideoViews, result: dict[str, Any], place: str, seen: int) -> None:
    info, (num_clips, frames) = video.info, video.indices.shape
    clips = f"{counted(num_clips, 'clip')} of {counted(frames, 'frame')} at {seen}x{seen}"
    file = f"{counted(info.num_frames, 'frame')}, {info.fps:.4g} fps, {info.width}x{info.height} {info.codec}"
    facts = "; ".join(filter(None, (file, place, f"the model sees {clips}")))
    _text(page, _MARGIN, 38, shorten(Path(result["path"]).name, 60), size=22, weight="bold", va="center")
    _text(page, _MARGIN, 63, facts, size=13, color=FAINT, va="center")


def _draw_timeline(
    page: "Axes", video: VideoViews, *, x: float, width: float, y: float, span: tuple[float, float] | None = None
) -> None:
    """Where the sampled frames, and the window, lie between the first and the last moment of the video."""
    duration = video.info.duration_seconds
    page.plot([x, x + width], [y, y], color=RULE, linewidth=3, solid_capstyle="round", zorder=1)
    if span is not None:
        ends = [x + width * min(second / duration, 1) for second in span]
        page.plot(ends, [y, y], color="#a9b4cc", linewidth=7, solid_capstyle="butt", zorder=1)
    for clip, indices in enumerate(video.indices):
        places = x + width * video.info.pts_seconds[indices] / duration
        page.scatter(places, np.full(len(places), y), s=22, color=CLIP_COLOURS[clip % len(CLIP_COLOURS)], zorder=2)
    _text(page, x, y + 15, "0 s", size=11, color=FAINT, va="center")
    _text(page, x + width, y + 15, f"{duration:.1f} s", size=11, color=FAINT, va="center", ha="right")


def _draw_thumb(page: "Axes", picture: np.ndarray, x: float, y: float, caption: str, colour: str) -> None:
    _picture(page, picture, x, y, _THUMB, _THUMB, colour=colour)
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
            shorten(row["label"], 30),
            size=15,
            weight="bold" if rank == 0 else "normal",
            va="center",
        )
        _text(page, x + _PANEL, line + 8, f"{100 * row['score']:.1f} %", size=13, color=FAINT, va="center", ha="right")
        for share, fill in ((1.0, "#eef0f4"), (max(row["score"], 0.012), colour)):
            bar = (x, line + 20), share * _PANEL, 7
            page.add_patch(FancyBboxPatch(*bar, boxstyle="round,pad=0,rounding_size=3", color=fill, linewidth=0))


def shorten(text: str, length: int) -> str:
    """At most so many characters of one line that can be drawn."""
    text = printable(text)
    return text if len(text) <= length else text[: length - 2] + ".."


# ------------------------------------------------------------------------------ what a recipe sees


def looks_sheet(looks: Sequence[Look], title: str) -> "Figure":
    """Every frame that a recipe takes from a video with number, time and crop boxes, and below what comes out.

    Args:
        looks: clips of one video.
        title: what recipe and split they are of.
    """
    columns = min(len(looks[0].indices), _LOOK_COLUMNS)
    width = max(2 * _MARGIN + columns * (_LOOK_THUMB + _GAP), _LOOK_MIN_WIDTH)
    heights = [_look_height(look, columns) for look in looks]
    height = 3 * _MARGIN + sum(heights)
    figure = new_figure(width / 100, height / 100, layout="none")
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    page.axis("off")
    info = looks[0].info
    facts = f"{counted(info.num_frames, 'frame')}, {info.fps:.4g} fps, {info.width}x{info.height} {info.codec}; {title}"
    _text(page, _MARGIN, 34, shorten(Path(info.path).name, 60), size=20, weight="bold", va="center")
    _text(page, _MARGIN, 60, facts, size=13, color=FAINT, va="center")
    y = 2.8 * _MARGIN
    for look, tall in zip(looks, heights, strict=True):
        _draw_look(page, look, columns, y)
        y += tall
    return figure


def _look_rows(look: Look, columns: int) -> int:
    return -(-len(look.indices) // columns)


def _source_height(look: Look) -> float:
    height, width = look.pictures.shape[1:3]
    return _LOOK_THUMB * height / width


def _look_height(look: Look, columns: int) -> float:
    rows = _look_rows(look, columns)
    return _MARGIN + rows * (_source_height(look) + _CAPTION + len(look.clips) * (_LOOK_THUMB + _GAP)) + _MARGIN


def _draw_look(page: "Axes", look: Look, columns: int, y: float) -> None:
    """Its title; then, row by row, frames with captions and under them the same places of every crop."""
    height, width = look.pictures.shape[1:3]
    boxes = "; ".join(f"{w}x{h} at ({left}, {top})" for top, left, h, w in look.boxes)
    times = look.info.pts_seconds[look.indices]
    text = (
        f"{look.title}; frames {look.indices.min()}-{look.indices.max()}, {times.min():.2f}-{times.max():.2f} s; "
        f"crop {boxes} of {width}x{height}"
    )
    _text(page, _MARGIN, y + 10, text, size=12, va="center")
    y += _MARGIN
    tall = _source_height(look)
    sources = _scaled_to(look.pictures, width=_LOOK_THUMB, height=tall)
    results = [_scaled_to(clip.movedim(0, -1), width=_LOOK_THUMB, height=_LOOK_THUMB) for clip in look.clips]
    for start in range(0, len(look.indices), columns):
        for place in range(start, min(start + columns, len(look.indices))):
            x = _MARGIN + (place - start) * (_LOOK_THUMB + _GAP)
            _picture(page, sources[place], x, y, _LOOK_THUMB, tall)
            _draw_boxes(page, look.boxes, x, y, _LOOK_THUMB / width)
            caption = f"#{look.indices[place]}  {times[place]:.2f} s"
            _text(page, x + _LOOK_THUMB / 2, y + tall + 9, caption, size=9.5, color=FAINT, ha="center", va="center")
            for crop, result in enumerate(results):
                below = y + tall + _CAPTION + crop * (_LOOK_THUMB + _GAP)
                _picture(page, result[place], x, below, _LOOK_THUMB, _LOOK_THUMB, colour=CLIP_COLOURS[crop])
        y += tall + _CAPTION + len(results) * (_LOOK_THUMB + _GAP)


def _scaled_to(pictures: Tensor, *, width: float, height: float) -> np.ndarray:
    """uint8 [T, H, W, 3] -> uint8 [T, height, width, 3], sizes in units of the sheet at its resolution."""
    size = [max(1, round(length * SHEET_DPI / 100)) for length in (height, width)]
    planes = F.interpolate(pictures.movedim(-1, 1).float(), size=size, mode="bicubic", antialias=True)
    return planes.round().clamp(0, 255).byte().movedim(1, -1).numpy()


def _picture(
    page: "Axes", picture: np.ndarray, x: float, y: float, width: float, height: float, *, colour: str | None = None
) -> None:
    page.imshow(picture, extent=(x, x + width, y + height, y), interpolation="none", aspect="auto", zorder=1)
    if colour is not None:
        page.plot([x, x + width], [y + height + 1.5] * 2, color=colour, linewidth=2, solid_capstyle="butt", zorder=2)


def _draw_boxes(page: "Axes", boxes: Sequence[Box], x: float, y: float, scale: float) -> None:
    """Frames inside the edges of the boxes, each further inside than the one before, so that all stay visible."""
    from matplotlib.patches import Rectangle

    for number, (top, left, height, width) in enumerate(boxes):
        inset = 0.8 + 2 * number
        corner, size = (x + left * scale + inset, y + top * scale + inset), (width * scale, height * scale)
        sides = (max(length - 2 * inset, 0) for length in size)
        page.add_patch(Rectangle(corner, *sides, fill=False, edgecolor=CLIP_COLOURS[number], linewidth=1.3, zorder=3))
