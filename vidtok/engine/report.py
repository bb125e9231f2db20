"""What an evaluation leaves behind: metrics, predictions, tables, and one page to look at.

Accuracies in files are shares in [0, 1]; the page shows per cent.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vidtok.config import format_budget
from vidtok.engine.evaluate import Evaluation
from vidtok.engine.metrics import (
    average_precision,
    class_accuracy,
    confusion_matrix,
    mean_average_precision,
    pair_hits,
    standard_error,
    top_k_hits,
)
from vidtok.engine.page import report_page
from vidtok.engine.predict import top_classes
from vidtok.engine.visualize import confusion_picture, to_png
from vidtok.outputs import writing

SCHEMA = "vidtok.eval/1"

Row = dict[str, Any]


def write_report(result: Evaluation, out: str | Path) -> Row:
    """Write metrics.json, predictions.jsonl, scores.npy, per_class.csv, confusion.csv, confusion.png and report.html.

    ``scores.npy`` is float32 [budgets, videos, classes] in the order of ``metrics.json`` and of the field
    ``scores_row`` of the predictions; a video that could not be read has NaN. A multi-label evaluation has no
    confusion and no page.

    Returns:
        The content of metrics.json.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    out, found = Path(out), metrics(result)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "metrics.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        np.save(out / "scores.npy", result.scores)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in predictions(result)]
        (out / "predictions.jsonl").write_text("".join(lines), encoding="utf-8")
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
    figures = {key: main[key] for key in ("top1", "top1_se", "top5", "pair_top1", "map") if key in main}
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
        "budgets": rows,
        "receipt": result.receipt,
    }


def _budget_row(result: Evaluation, k: int) -> Row:
    """Figures of one budget."""
    scores, labels = result.scored_at(k)
    if result.is_multi_label:
        figure = round(mean_average_precision(scores, labels), 6)
        return {"budget": format_budget(result.budgets[k]), "map": figure} | result.costs[k]
    top1 = top_k_hits(scores, labels, 1)
    row = {
        "budget": format_budget(result.budgets[k]),
        "top1": round(float(top1.mean()), 6),
        "top1_se": round(standard_error(top1), 6),
        "top5": round(float(top_k_hits(scores, labels, 5).mean()), 6),
    }
    paired = pair_hits(scores, labels, result.pairs)
    if len(paired):
        row["pair_top1"] = round(float(paired.mean()), 6)
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
    """One row per class at the headline budget: its average precision, or accuracy and what it is mostly taken for."""
    scores, labels = result.scored_at(result.headline)
    if result.is_multi_label:
        rows = zip(result.class_names, labels.sum(0).tolist(), average_precision(scores, labels), strict=True)
        return [{"class": name, "videos": videos, "ap": _share(value)} for name, videos, value in rows]
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
                "top1": _share(top1[index]),
                "top5": _share(top5[index]),
                "most_confused_with": result.class_names[rival] if wrong[index, rival] else "",
                "times": int(wrong[index, rival]),
            }
        )
    return rows


def _share(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def worst(result: Evaluation, most: int = 12) -> list[Row]:
    """The wrong answers given with most confidence, at the headline budget."""
    wrong = [row for row in predictions(result) if row["correct"] is False]
    return sorted(wrong, key=lambda row: -row["top5"][0]["score"])[:most]


def _write_csv(file: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
