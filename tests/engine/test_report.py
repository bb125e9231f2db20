"""What an evaluation writes."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.cases import NAMES, named_model, write_set
from vidtok.data.manifest import Manifest, load_manifest
from vidtok.engine.evaluate import Evaluation, Protocol, evaluate
from vidtok.engine.predict import Compute
from vidtok.engine.receipt import fingerprint
from vidtok.engine.report import metrics, worst, write_report
from vidtok.errors import EnvironmentFault


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return load_manifest(write_set(tmp_path_factory.mktemp("set")), max_missing=0.5, class_names=NAMES)


@pytest.fixture(scope="module")
def result(manifest: Manifest) -> Evaluation:
    return evaluate(
        named_model(),
        manifest,
        compute=Compute(torch.device("cpu"), "fp32"),
        protocol=Protocol(clips=1, crops=3),
        budgets=[(1, 1), (3, 3)],
        pairs=[("run", "sit")],
        workers=0,
        seed=7,
    )


@pytest.fixture(scope="module")
def folder(result: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("eval") / "new"
    write_report(result, out)
    return out


def rows_of(file: Path) -> list[dict[str, Any]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_metrics_hold_the_protocol_the_counts_and_a_receipt(folder: Path, result: Evaluation) -> None:
    found = json.loads((folder / "metrics.json").read_text())
    assert found["schema"] == "vidtok.eval/1"
    assert found["protocol"] == "1x3" and found["named"]["test/top1@1x3"] == found["top1"]
    assert found["videos"] == {"listed": 6, "scored": 4, "failed": 1, "missing": 1}
    assert found["budget"] == "3x3" and [row["budget"] for row in found["budgets"]] == ["1x1", "3x3"]
    assert found["top1"] == found["budgets"][1]["top1"]
    assert found["top5"] == 1  # three classes
    hits = result.scores[1, :4].argmax(1) == result.labels[:4]
    assert found["top1"] == hits.mean() and 0 <= found["pair_top1"] <= 1
    receipt = found["receipt"]
    assert receipt["decoders"] == {"pyav": 4} and receipt["seed"] == 7 and receipt["precision"] == "fp32"
    assert receipt["versions"]["torch"] == torch.__version__
    assert receipt["data"]["found"] == 5 and receipt["data"]["listed"] == 6


def test_predictions_are_one_line_per_video_and_point_at_their_scores(folder: Path, result: Evaluation) -> None:
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    scores = np.load(folder / "scores.npy")
    assert scores.shape == (2, 5, 3)
    assert [Path(row["path"]).name for row in rows] == ["v0.mp4", "v1.mp4", "v2.mp4", "v3.mp4", "broken.mp4"]
    for row in rows[:4]:
        best = row["top5"][0]
        own = scores[1, row["scores_row"]]
        assert best["label"] == NAMES[own.argmax()] and best["score"] == pytest.approx(own.max(), abs=1e-6)
        assert row["correct"] == (best["label"] == row["label"]) and row["error"] is None
    assert rows[4]["top5"] == [] and rows[4]["correct"] is None and "broken.mp4" in rows[4]["error"]
    assert np.isnan(scores[:, 4]).all()


def test_tables_add_up(folder: Path) -> None:
    classes, confusion = rows_of(folder / "per_class.csv"), rows_of(folder / "confusion.csv")
    assert [row["class"] for row in classes] == [row["truth"] for row in confusion] == list(NAMES)
    for row, counts in zip(classes, confusion, strict=True):
        assert int(row["videos"]) == sum(int(counts[name]) for name in NAMES)
        assert float(row["top1"]) == int(counts[row["class"]]) / int(row["videos"])
    top1 = json.loads((folder / "metrics.json").read_text())["top1"]
    assert sum(int(row[row["truth"]]) for row in confusion) == round(4 * top1)


def test_the_page_needs_nothing_but_itself(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "http" not in page and "<link" not in page
    assert page.count("data:image/png;base64,") >= 3  # confusion, classes, budgets; strips of mistakes
    assert "4 of 6 videos scored, 1 failed, 1 missing" in page
    assert "broken.mp4" in page


def test_names_on_the_page_are_text_and_not_html(manifest: Manifest, tmp_path: Path) -> None:
    model = named_model()
    model.class_names = ("<b>&", "$x_1$", "c, d")
    labels = Manifest(manifest.source, manifest.items, None, manifest.num_listed, manifest.missing)
    compute = Compute(torch.device("cpu"), "fp32")
    result = evaluate(model, labels, compute=compute, protocol=Protocol(clips=1, crops=1), workers=0)
    write_report(result, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<b>&<" not in page and "&lt;b&gt;&amp;" in page
    assert [row["class"] for row in rows_of(tmp_path / "per_class.csv")] == list(model.class_names)


def test_the_worst_mistakes_are_wrong_and_the_most_confident_first(result: Evaluation) -> None:
    rows = worst(result)
    assert len(rows) == 4 - round(4 * metrics(result)["top1"])
    scores = [row["top5"][0]["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_a_folder_that_cannot_be_written_is_named(result: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match="cannot write '.*file'"):
        write_report(result, tmp_path / "file")


def test_the_fingerprint_follows_the_data_and_not_its_place(tmp_path: Path) -> None:
    def print_of(folder: Path, content: str, label: int = 0) -> str:
        (folder / "sub").mkdir(parents=True)
        for name in ("sub/a.mp4", "b.mp4"):
            (folder / name).write_text(content)
        (folder / "list.csv").write_text(f"sub/a.mp4 {label}\nb.mp4 1\n")
        return fingerprint(load_manifest(folder / "list.csv"))["sha256"]

    one = print_of(tmp_path / "one", "abc")
    assert print_of(tmp_path / "far" / "two", "abc") == one
    assert print_of(tmp_path / "three", "abcd") != one
    assert print_of(tmp_path / "four", "abc", label=1) != one
