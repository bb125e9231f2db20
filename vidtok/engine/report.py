"""What an evaluation leaves behind: metrics, predictions, tables, and one page to look at.

Accuracies in files are shares in [0, 1]; the page shows per cent.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vidtok.config import format_budget
from vidtok.engine.charts import confusion_picture
from vidtok.engine.evaluate import Evaluation
from vidtok.engine.findings import findings
from vidtok.engine.metrics import (
    average_precision,
    class_accuracy,
    confusion_matrix,
    majority,
    mean_average_precision,
    mean_class_accuracy,
    pair_hits,
    share,
    standard_error,
    top_k_hits,
)
from vidtok.engine.page import report_page
from vidtok.engine.predict import top_classes
from vidtok.engine.visualize import to_png
from vidtok.outputs import writing
from vidtok.text import json_lines, printable, to_json

SCHEMA = "vidtok.eval/1"

_FIGURES = ("top1", "top1_se", "mean_class_top1", "top5", "pair_top1", "map")

Row = dict[str, Any]


def write_report(result: Evaluation, out: str | Path) -> Row:
    """Write metrics.json, predictions.jsonl, scores.npy, per_class.csv, confusion.csv, confusion.png and report.html.

    ``scores.npy`` is float32 [budgets, videos, classes] in the order of ``metrics.json`` and of the field
    ``scores_row`` of the predictions; a video that failed has NaN. A multi-label evaluation has no
    confusion and no page.

    Returns:
        The content of metrics.json.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    out, found = Path(out), metrics(result)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "metrics.json").write_text(to_json(found, indent=2) + "\n", encoding="utf-8")
        np.save(out / "scores.npy", result.scores)
        (out / "predictions.jsonl").write_text(json_lines(predictions(result)), encoding="utf-8")
        classes = per_class(result)
        _write_csv(out / "per_class.csv", tuple(classes[0]), [tuple(row.values()) for row in classes])
        if result.is_multi_label:
            return found
        counts = confusion_matrix(*result.scored_at(result.headline))
        named = [(name, *row) for name, row in zip(result.class_names, counts.tolist(), strict=True)]
        _write_csv(out / "confusion.csv", ("truth", *result.class_names), named)
        (out / "confusion.png").write_bytes(to_png(confusion_picture(counts, result.class_names)))
        page = report_page(result, found, classes, counts, worst(result))
        (out / "report.html").write_text(page, encoding="utf-8")
    return found


def metrics(result: Evaluation) -> Row:
    """The content of ``metrics.json``; the names in ``named`` carry the protocol."""
    rows = [_budget_row(result, k) for k in range(len(result.budgets))]
    main = rows[result.headline]
    figures = {key: main[key] for key in _FIGURES if key in main}
    return {
        "schema": SCHEMA,
        **figures,
        "protocol": str(result.protocol),
        "average": result.protocol.average,
        "budget": main["budget"],
        "named": {f"test/{key}@{result.protocol}": value for key, value in figures.items()},
        "videos": {
            "listed": result.manifest.num_listed,
            "scored": int(result.scored.sum()),
            "failed": result.num_failed,
            "missing": len(result.manifest.missing),
        },
        "classes": len(result.class_names),
        **({} if result.is_multi_label else _balance(result)),
        "budgets": rows,
        "receipt": result.receipt,
    }


def _balance(result: Evaluation) -> Row:
    """What top-1 has to be read against: the answer that is always the largest class; and what was not learnt."""
    scores, labels = result.scored_at(result.headline)
    largest, its_share = majority(labels)
    return {
        "majority": {"class": result.class_names[largest], "share": round(its_share, 6)},
        "findings": findings(scores, labels, result.class_names, result.pairs),
    }


def _budget_row(result: Evaluation, k: int) -> Row:
    """Figures of one budget."""
    scores, labels = result.scored_at(k)
    if result.is_multi_label:
        figure = _rounded(mean_average_precision(scores, labels))
        return {"budget": format_budget(result.budgets[k]), "map": figure} | result.costs[k]
    top1 = top_k_hits(scores, labels, 1)
    row = {
        "budget": format_budget(result.budgets[k]),
        "top1": _rounded(share(top1)),
        "top1_se": _rounded(standard_error(top1)),
        "mean_class_top1": _rounded(mean_class_accuracy(top1, labels)),
        "top5": _rounded(share(top_k_hits(scores, labels, 5))),
    }
    paired = pair_hits(scores, labels, result.pairs)
    if len(paired):
        row["pair_top1"] = _rounded(share(paired))
    return row | result.costs[k]


def predictions(result: Evaluation) -> list[Row]:
    """One row per video that was found, in the order of the list, at the headline budget."""
    rows = []
    for index, (item, label, error) in enumerate(zip(result.manifest.items, result.labels, result.errors, strict=True)):
        scores = torch.from_numpy(result.scores[result.headline, index])
        truth = _truth(result, label)
        top = [] if error else top_classes(scores, result.class_names, topk=5)
        start, end = (None if error else round(float(place), 3) for place in result.spans[index])
        rows.append(
            {
                "path": item.path,
                "start_s": start,
                "end_s": end,
                "label": truth,
                "top5": top,
                "correct": top[0]["label"] == truth if top and isinstance(truth, str) else None,
                "scores_row": index,
                "error": error or None,
            }
        )
    return rows


def _truth(result: Evaluation, label: np.ndarray) -> str | list[str] | None:
    """What a video shows, by name: one class, or all of a multi-label video; None where it is not known."""
    if (label < 0).any():
        return None
    if result.is_multi_label:
        return [result.class_names[index] for index in np.flatnonzero(label)]
    return result.class_names[label]


def per_class(result: Evaluation) -> list[Row]:
    """One row per class at the headline budget: its average precision, or share, accuracy and main confusion."""
    scores, labels = result.scored_at(result.headline)
    if result.is_multi_label:
        rows = zip(result.class_names, labels.sum(0).tolist(), average_precision(scores, labels), strict=True)
        return [{"class": name, "videos": videos, "ap": _rounded(value)} for name, videos, value in rows]
    num_classes = len(result.class_names)
    top1, top5 = (class_accuracy(top_k_hits(scores, labels, k), labels, num_classes) for k in (1, 5))
    confusion = confusion_matrix(scores, labels)
    videos = confusion.sum(1)
    wrong = confusion - np.diag(np.diag(confusion))
    rows = []
    for index, name in enumerate(result.class_names):
        rival = int(wrong[index].argmax())
        rows.append(
            {
                "class": name,
                "videos": int(videos[index]),
                "share": _rounded(videos[index] / len(labels)),
                "top1": _rounded(top1[index]),
                "top5": _rounded(top5[index]),
                "most_confused_with": result.class_names[rival] if wrong[index, rival] else "",
                "times": int(wrong[index, rival]),
            }
        )
    return rows


def _rounded(value: float | None) -> float | None:
    """Six digits; None, as JSON has no NaN, for what nothing was measured of."""
    return None if value is None or np.isnan(value) else round(float(value), 6)


def worst(result: Evaluation, most: int = 12) -> list[Row]:
    """The wrong answers given with most confidence, at the headline budget."""
    wrong = [row for row in predictions(result) if row["correct"] is False]
    return sorted(wrong, key=lambda row: -row["top5"][0]["score"])[:most]


def _write_csv(file: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for row in (header, *rows):
            writer.writerow([printable(cell) if isinstance(cell, str) else cell for cell in row])
