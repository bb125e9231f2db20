"""``report.html``: one self-contained page, pictures inside, no scripts and nothing fetched."""

import base64
import io
from collections.abc import Callable, Sequence
from html import escape as escape_html
from pathlib import Path
from typing import Any

import numpy as np

from vidtok.config import ClipConfig
from vidtok.data.dataset import load_views
from vidtok.data.manifest import Item
from vidtok.engine.charts import MATRIX_CLASSES, MOST_PAIRS, budget_chart, class_bars, confusion_picture
from vidtok.engine.evaluate import Evaluation
from vidtok.engine.metrics import confused_pairs
from vidtok.engine.visualize import shorten, to_png
from vidtok.errors import DataError
from vidtok.text import counted, printable, to_json

Row = dict[str, Any]

_STRIP_FRAMES = 6
_CARDS = (("top1", "top-1"), ("mean_class_top1", "mean class"), ("top5", "top-5"), ("pair_top1", "within pairs"))
_STYLE = """
:root { --ink: #1a1c23; --faint: #6b7280; --rule: #e5e7ec; --accent: #2457d6; }
* { box-sizing: border-box; }
body { margin: 0; background: #f6f7f9; color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 36px 24px 64px; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 17px; margin: 0 0 14px; }
.faint { color: var(--faint); }
section { background: #fff; border: 1px solid var(--rule); border-radius: 10px; padding: 22px 24px; margin-top: 20px;
  overflow-x: auto; }
.cards { display: flex; flex-wrap: wrap; gap: 16px; margin-top: 22px; }
.card { background: #fff; border: 1px solid var(--rule); border-radius: 10px; padding: 16px 22px; min-width: 150px; }
.card b { display: block; font-size: 30px; line-height: 1.2; font-weight: 650; font-variant-numeric: tabular-nums; }
.card:first-child b { color: var(--accent); }
.two { display: grid; grid-template-columns: 8fr 5fr; gap: 0 20px; align-items: start; }
@media (max-width: 900px) { .two { grid-template-columns: 1fr; } }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--faint); font-size: 13px; }
th, td { padding: 7px 14px 7px 0; border-bottom: 1px solid var(--rule); vertical-align: middle; }
tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; } .file { word-break: break-all; } .score { white-space: nowrap; }
ul { margin: 0; padding-left: 20px; }
img { max-width: 100%; display: block; } table + img { margin-top: 20px; } img.strip { height: 64px; max-width: none; }
pre { margin: 0; font-size: 12.5px; white-space: pre-wrap; word-break: break-word; }
"""


def report_page(
    result: Evaluation, found: Row, classes: Sequence[Row], confusion: np.ndarray, worst: Sequence[Row]
) -> str:
    """The page's HTML.

    Args:
        found: content of metrics.json.
        classes: rows of per_class.csv.
        confusion: counts [C, C].
        worst: predictions that are wrong, most confident first.
    """
    accuracy = np.array([np.nan if row["top1"] is None else row["top1"] for row in classes])
    pictures = _section("Confusion", _confusion(confusion, result.class_names)) + _section(
        "Top-1 by class", _picture(class_bars(accuracy, result.class_names), "top-1 of each class")
    )
    body = [
        _heading(result, found),
        _section("What was not learnt", _sentences(found["findings"])) if found["findings"] else "",
        _section("Token budgets", _budgets(found)),
        f'<div class="two">{pictures}</div>',
        _section("Most confident mistakes", _mistakes(worst, result)) if worst else "",
        _section("Videos without scores", _failures(result)) if result.num_failed else "",
        _section("Receipt", f"<pre>{escape_html(to_json(found['receipt'], indent=2))}</pre>"),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>vidtok evaluation</title><style>{_STYLE}</style></head>\n<body><main>"
        + "\n".join(body)
        + "</main></body></html>\n"
    )


def escape(text: str) -> str:
    """One line of text as HTML."""
    return escape_html(printable(text))


def _sentences(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _confusion(confusion: np.ndarray, names: Sequence[str]) -> str:
    """The matrix, or the most frequent mistakes where a matrix would show nothing."""
    if len(names) <= MATRIX_CLASSES:
        return _picture(confusion_picture(confusion, names), "confusion matrix")
    counts = confusion.sum(1)
    rows = [
        [escape(names[truth]), escape(names[answer]), str(times), _percent(times / counts[truth])]
        for truth, answer, times in confused_pairs(confusion, MOST_PAIRS)
    ]
    return _table(["truth", "answer", "times", "of its videos"], rows, numbers_from=2)


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _heading(result: Evaluation, found: Row) -> str:
    videos, clip = found["videos"], result.clip
    counts = (
        f"{videos['scored']} of {counted(videos['listed'], 'video')} scored, {videos['failed']} failed, "
        f"{videos['missing']} missing"
    )
    clips, crops = counted(result.protocol.clips, "clip"), counted(result.protocol.crops, "crop")
    views = f"{clips} x {crops}, {result.protocol.average} averaged"
    seen = f"{counted(clip.frames, 'frame')} of {clip.size} pixels, {clip.sampling} sampling"
    cards = [
        _card(f"{label} @ {found['protocol']}", found[key], found["top1_se"] if key == "top1" else None)
        for key, label in _CARDS
        if key in found and not (key == "top5" and len(result.class_names) <= 5)
    ]
    cards.append(_card(f"always '{escape(shorten(found['majority']['class'], 22))}'", found["majority"]["share"], None))
    return (
        f'<h1>Evaluation</h1><div class="faint">{escape(result.manifest.source)}<br>{counts}<br>'
        f'{views}; {seen}; token budget {found["budget"]}</div><div class="cards">{"".join(cards)}</div>'
    )


def _card(label: str, share: float, error: float | None) -> str:
    spread = "" if error is None else f'<span class="faint">&plusmn; {_percent(error)} (s.e.)</span>'
    return f'<div class="card"><span class="faint">{label}</span><b>{_percent(share)}</b>{spread}</div>'


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _budgets(found: Row) -> str:
    rows = found["budgets"]
    columns: dict[str, Callable[[Row], str]] = {
        "budget": lambda row: escape(row["budget"]),
        "top-1": lambda row: f"{_percent(row['top1'])} &plusmn; {_percent(row['top1_se'])}",
        "mean class": lambda row: _percent(row["mean_class_top1"]),
        "top-5": lambda row: _percent(row["top5"]),
        "within pairs": lambda row: _percent(row.get("pair_top1")),
        "GMACs per view": lambda row: f"{row['gmacs_per_view']:.4g}",
        "tokens after the last layer": lambda row: _tokens(row["tokens_per_layer"][-1]),
    }
    if "pair_top1" not in found:
        del columns["within pairs"]
    if found["classes"] <= 5:
        del columns["top-5"]
    table = _table(list(columns), [[cell(row) for cell in columns.values()] for row in rows], numbers_from=1)
    chart = _picture(budget_chart(rows), "top-1 against GMACs") if len(rows) > 1 else ""
    return table + chart


def _tokens(count: int | Sequence[int]) -> str:
    return str(count) if isinstance(count, int) else f"{count[0]} of {count[1]}"


def _mistakes(worst: Sequence[Row], result: Evaluation) -> str:
    rows = [
        [
            _strip(result.manifest.items[row["scores_row"]], result.clip),
            escape(str(row["label"])),
            escape(row["top5"][0]["label"]),
            f'<span class="score">{_percent(row["top5"][0]["score"])}</span>',
            f'<span class="file" title="{escape(row["path"])}">{escape(Path(row["path"]).name)}</span>',
        ]
        for row in worst
    ]
    return _table(["frames", "truth", "answer", "score", "video"], rows)


def _strip(item: Item, clip: ClipConfig) -> str:
    """Some frames of a video's middle clip side by side; empty when it cannot be read any more."""
    try:
        views = load_views(item.path, clip, num_clips=1, num_crops=1, segment=item.segment).views  # [1, 3, T, S, S]
    except DataError:
        return ""
    chosen = np.linspace(0, views.shape[2] - 1, min(_STRIP_FRAMES, views.shape[2])).round().astype(int)
    frames = views[0].movedim(0, -1)[chosen.tolist()].numpy()  # [F, S, S, 3]
    step = max(clip.size // 112, 1)
    gap = ((0, 0), (0, 0), (0, max(clip.size // step // 24, 1)), (0, 0))
    spaced = np.pad(frames[:, ::step, ::step], gap, constant_values=255)
    pixels = np.ascontiguousarray(np.concatenate(list(spaced), axis=1))
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png")
    return _image(buffer.getvalue(), "frames", "strip")


def _failures(result: Evaluation) -> str:
    return _table(["cause"], [[escape(error)] for error in result.errors if error])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int | None = None) -> str:
    """Cells are HTML; columns from ``numbers_from`` on are set flush right."""

    def line(tag: str, cells: Sequence[str]) -> str:
        is_number = [numbers_from is not None and place >= numbers_from for place in range(len(cells))]
        return "".join(
            f"<{tag}{' class=n' if right else ''}>{cell}</{tag}>" for cell, right in zip(cells, is_number, strict=True)
        )

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{line('th', header)}</tr></thead><tbody>{body}</tbody></table>"


def _picture(figure: Any, text: str) -> str:
    return _image(to_png(figure), text, "")


def _image(png: bytes, text: str, style: str) -> str:
    return f'<img class="{style}" alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
