"""Clips with any number of labels: binary cross-entropy in training, mean average precision at evaluation."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchmetrics.functional.classification import multilabel_average_precision

from tests.cli.run import exit_code, vidtok
from tests.engine.cases import named_model, write_set
from tests.engine.motion import make_recipe
from vidtok.config import Recipe, TrainConfig
from vidtok.data.datamodule import ClipDataModule
from vidtok.data.manifest import Manifest, load_manifest
from vidtok.engine.evaluate import Evaluation, Protocol, evaluate
from vidtok.engine.fit import fit
from vidtok.engine.metrics import average_precision, mean_average_precision
from vidtok.engine.module import ClassificationModule
from vidtok.engine.predict import average_views, choose_compute
from vidtok.engine.report import write_report
from vidtok.models.backbones import VideoModel
from vidtok.models.checkpoint import load, save_pretrained


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, motion_set: Path) -> Recipe:
    """The motion set with class 0 added to every odd class, for one epoch."""
    folder = tmp_path_factory.mktemp("multilabel")
    for split in ("train", "val"):
        rows = [row.rsplit(" ", 1) for row in (motion_set / f"{split}.csv").read_text().splitlines()]
        lines = (f"{motion_set / path} {label},0\n" if int(label) % 2 else f"{path} {label}\n" for path, label in rows)
        (folder / f"{split}.csv").write_text("".join(lines))
    (folder / "classes.txt").write_text((motion_set / "classes.txt").read_text())
    lists = (f"data.{split}={folder / split}.csv" for split in ("train", "val"))
    return make_recipe(folder, motion_set, *lists, f"data.root={motion_set}", "data.multi_label=true", "train.epochs=1")


def manifest_of(folder: Path) -> Manifest:
    write_set(folder)
    rows = (
        '{"path": "v0.mp4", "labels": ["run", "sit"]}',
        '{"path": "v1.mp4", "labels": []}',
        '{"path": "v2.mp4", "labels": [0]}',
        '{"path": "v3.mp4"}',
        '{"path": "broken.mp4", "label": 2}',
    )
    (folder / "test.jsonl").write_text("\n".join(rows))
    return load_manifest(folder / "test.jsonl", multi_label=True)


@pytest.fixture(scope="module")
def model() -> VideoModel:
    model = named_model()
    model.multi_label = True
    return model


@pytest.fixture(scope="module")
def result(model: VideoModel, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    manifest = manifest_of(tmp_path_factory.mktemp("set"))
    protocol = Protocol(clips=1, crops=1)
    return evaluate(model, manifest, compute=choose_compute("cpu"), protocol=protocol, workers=0)


@pytest.mark.parametrize("levels", [4, 1000], ids=["many ties", "few ties"])
def test_average_precision_equals_torchmetrics(levels: int) -> None:
    rng = np.random.default_rng(0)
    scores = (rng.integers(0, levels, (60, 5)) / levels).astype(np.float32)
    targets = (rng.random((60, 5)) < 0.2).astype(np.int64)
    theirs = multilabel_average_precision(
        torch.from_numpy(scores), torch.from_numpy(targets), num_labels=5, average="none"
    )
    np.testing.assert_allclose(average_precision(scores, targets), theirs.numpy(), atol=1e-6)


def test_average_precision_of_a_perfect_ranking_is_one_and_classes_without_videos_have_none() -> None:
    targets = np.array([[1, 0], [1, 0], [0, 0]])
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.3]])
    np.testing.assert_array_equal(average_precision(scores, targets), [1.0, np.nan])
    assert mean_average_precision(scores, targets) == 1.0
    assert mean_average_precision(scores, np.zeros_like(targets)) == 0.0


def test_scores_of_views_are_sigmoids_each_class_for_itself() -> None:
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    by_logits, by_probs = (average_views(logits, average, multi_label=True) for average in ("logits", "probs"))
    torch.testing.assert_close(by_logits, logits.mean(0).sigmoid())
    torch.testing.assert_close(by_probs, logits.sigmoid().mean(0))


def test_batches_hold_rows_of_zeros_and_ones(recipe: Recipe) -> None:
    data = ClipDataModule(recipe)
    batch = next(iter(data.train_dataloader()))
    assert batch["label"].shape == (8, 12) and batch["label"].dtype == torch.float32
    assert set(batch["label"].unique().tolist()) == {0.0, 1.0}
    assert batch["label"].sum(1).min() >= 1
    views = next(iter(data.val_dataloader()))
    assert views["label"].shape[1:] == (12,)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_mean_binary_cross_entropy_over_classes(model: VideoModel, smoothing: float) -> None:
    module = ClassificationModule(model, TrainConfig(), seed=0, steps_per_epoch=1, total_steps=1)
    logits, targets = torch.randn(4, 3), torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
    wanted = targets.clamp(smoothing / 2, 1 - smoothing / 2)
    expected = torch.stack([F.binary_cross_entropy(one.sigmoid(), goal) for one, goal in zip(logits, wanted)])
    torch.testing.assert_close(module._loss(logits, targets, smoothing), expected)


def test_a_run_logs_map_keeps_its_best_and_its_checkpoint_knows(recipe: Recipe) -> None:
    run = fit(recipe)
    with (run / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    figures = [float(row["val/map@1x1"]) for row in rows if row.get("val/map@1x1")]
    assert figures and all(0 <= value <= 1 for value in figures)
    assert "val/top1@1x1" not in rows[0]
    assert load(run / "best.ckpt").multi_label and (run / "last.ckpt").is_file()
    saved = load(run)
    assert saved.multi_label and saved.num_classes == 12


def test_an_evaluation_counts_unknown_and_unreadable_videos_apart(result: Evaluation) -> None:
    assert result.labels.tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0], [-1, -1, -1], [0, 0, 1]]
    assert result.scored.tolist() == [True, True, True, False, False]
    assert result.is_multi_label and result.num_failed == 1
    assert (result.scores[0, :3].sum(1) > 1).any()


def test_results_are_named_after_the_metric_and_hold_all_labels(result: Evaluation, tmp_path: Path) -> None:
    found = write_report(result, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "metrics.json", "per_class.csv", "predictions.jsonl", "scores.npy"
    ]  # fmt: skip
    assert found["named"] == {"test/map@1x1": found["map"]} and "top1" not in found
    assert found["videos"] == {"listed": 5, "scored": 3, "failed": 1, "missing": 0}
    rows = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == [["run", "sit"], [], ["run"], None, ["stand up"]]
    assert {row["correct"] for row in rows} == {None}
    with (tmp_path / "per_class.csv").open(newline="") as stream:
        classes = list(csv.DictReader(stream))
    assert [(row["class"], row["videos"]) for row in classes] == [("run", "2"), ("sit", "1"), ("stand up", "0")]
    precisions = [float(row["ap"]) for row in classes if row["ap"]]
    assert found["map"] == pytest.approx(np.mean(precisions), abs=1e-6) and len(precisions) == 2


def test_the_command_reads_several_labels_because_the_checkpoint_says_so(
    model: VideoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest_of(tmp_path)
    save_pretrained(model, tmp_path / "checkpoint")
    options = ("--checkpoint", "checkpoint", "--data", "test.jsonl", "--views", "1x1", "--out", "out")
    done = vidtok(tmp_path, "eval", *options)
    assert done.returncode == 0, done.stderr
    assert "test/map@1x1" in done.stdout and "3 of 5 videos scored, 1 failed" in done.stdout
    assert exit_code(tmp_path, monkeypatch, "eval", *options, "--min-top1", "0.5") == 2
    assert "--min-top1 needs a checkpoint with one label per clip" in capsys.readouterr().err
