"""``vidtok eval`` as a user runs it: real processes, exit codes, files."""

import json
from pathlib import Path

import pytest
import torch

from tests.cli.run import exit_code, vidtok
from tests.engine.cases import NAMES, named_model, write_set
from tests.models.tiny import tiny_model
from vidtok.models.checkpoint import save_pretrained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``checkpoint/`` and ``set/test.csv`` with its videos, one of them unreadable and one absent."""
    folder = tmp_path_factory.mktemp("work")
    save_pretrained(named_model(), folder / "checkpoint")
    write_set(folder / "set")
    return folder


EVAL = ("eval", "--checkpoint", "checkpoint", "--device", "cpu", "--data", "set/test.csv", "data.max_missing=0.5")


def test_a_list_is_scored_at_several_budgets_and_the_table_carries_the_protocol(folder: Path) -> None:
    done = vidtok(folder, *EVAL, "--budgets", "1x1,3x3", "--out", "first", "--workers", "2", "--min-top1", "0")
    assert done.returncode == 0, done.stderr
    assert "4 of 6 videos scored, 1 failed, 1 missing" in done.stdout
    assert "test/top1@2x3" in done.stdout and "within pairs" in done.stdout  # the checkpoint's own 2x3 views
    assert [line.split()[0] for line in done.stdout.splitlines()[2:4]] == ["1x1", "3x3"]
    assert "broken.mp4" in done.stderr and "\033" not in done.stdout + done.stderr
    files = {file.name for file in (folder / "first").iterdir()}
    assert files == {
        "metrics.json",
        "predictions.jsonl",
        "scores.npy",
        "per_class.csv",
        "confusion.csv",
        "confusion.png",
        "report.html",
        "quarantine.csv",
    }


def test_a_dense_checkpoint_is_scored_with_a_compressor_at_the_budgets_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = tiny_model("vit", depth=3, size=32)
    dense.reset_classifier(len(NAMES))
    dense.class_names = NAMES
    dense.save_pretrained(folder / "dense")
    arguments = ("--checkpoint", "dense", "--data", "set/test.csv", "data.max_missing=0.5", "--out", "compressed")
    assert exit_code(folder, monkeypatch, "eval", *arguments, "--compressor", "lookup", "--budgets", "2x2,1x1") == 0
    found = json.loads((folder / "compressed/metrics.json").read_text())
    assert [row["budget"] for row in found["budgets"]] == ["2x2", "1x1"]


def test_json_is_the_content_of_metrics_json_and_a_threshold_that_is_not_reached_exits_with_7(folder: Path) -> None:
    done = vidtok(folder, *EVAL, "--json", "--views", "1x1", "--min-top1", "1", "eval.average=probs")
    assert done.returncode == 7
    found = json.loads(done.stdout)
    assert found == json.loads((folder / "eval" / "metrics.json").read_text())
    assert found["schema"] == "vidtok.eval/1" and found["protocol"] == "1x1" and found["average"] == "probs"
    assert found["top1"] < 1 and found["receipt"]["checkpoint"] == "checkpoint"
    assert done.stderr.splitlines()[-1].startswith("error: top-1 at 1x1 is ")


def test_more_unreadable_videos_than_allowed_exit_with_3_after_the_results_are_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*EVAL, "data.max_failures=0", "--json", "--views", "1x1", "--out", "strict")
    assert exit_code(folder, monkeypatch, *arguments) == 3
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads((folder / "strict" / "metrics.json").read_text())
    assert json.loads(out)["videos"]["failed"] == 1
    assert "1 of 5 videos are unreadable, data.max_failures=0 allows 0" in err.splitlines()[-1]
    assert "broken.mp4" in (folder / "strict" / "quarantine.csv").read_text()


def test_a_model_whose_scores_are_nan_passes_no_threshold(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = named_model()
    monkeypatch.setattr("vidtok.cli.evaluate.load_model", lambda *source: model)
    model.head.bias.data[1] = float("nan")
    assert exit_code(folder, monkeypatch, *EVAL, "--min-top1", "0", "--out", "nan") == 3
    assert "scores are not finite" in capsys.readouterr().err.splitlines()[-1]


def test_eval_and_infer_score_alike_whatever_the_run_was_trained_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--views", "2x1", "--out", "alike", "run.precision=bf16")
    assert exit_code(folder, monkeypatch, *EVAL, *options) == 0
    assert "run.precision=bf16 is for training; scores are in fp32, see --precision" in capsys.readouterr().err
    rows = [json.loads(line) for line in (folder / "alike" / "predictions.jsonl").read_text().splitlines()]
    videos = [row["path"] for row in rows if not row["error"]]
    where = ("--checkpoint", "checkpoint", "--device", "cpu", "--views", "2x1")
    assert exit_code(folder, monkeypatch, "infer", *videos, *where, "--format", "json") == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [result["top"] for result in results] == [row["top5"] for row in rows if not row["error"]]


def test_the_share_of_the_largest_class_and_the_mean_over_classes_stand_beside_top_1(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "uneven.csv").write_text("set/v0.mp4 0\nset/v1.mp4 0\nset/v2.mp4 0\nset/v3.mp4 1\n")
    model = named_model()
    torch.nn.init.zeros_(model.head.weight), torch.nn.init.zeros_(model.lookup_head.weight)
    for head in (model.head, model.lookup_head):
        head.bias.data = torch.tensor([1.0, 0.0, 0.0])  # always class 0
    save_pretrained(model, folder / "constant")
    arguments = ("eval", "--checkpoint", "constant", "--data", "uneven.csv", "--views", "1x1", "--out", "uneven")
    assert exit_code(folder, monkeypatch, *arguments) == 0
    out = capsys.readouterr().out
    assert "mean class" in out and "50.0 %" in out
    assert "always answering 'run', the largest class, has top-1 75.0 %" in out
    assert "note: every answer is 'run': the model tells nothing apart" in out
    found = json.loads((folder / "uneven" / "metrics.json").read_text())
    assert (found["top1"], found["mean_class_top1"]) == (0.75, 0.5)
    assert found["named"]["test/mean_class_top1@1x1"] == 0.5
    assert found["majority"] == {"class": "run", "share": 0.75}
    assert (folder / "uneven" / "per_class.csv").read_text().splitlines()[:2] == [
        "class,videos,share,top1,top5,most_confused_with,times",
        "run,3,0.75,1.0,1.0,,0",
    ]
    page = (folder / "uneven" / "report.html").read_text()
    assert ("mean class" in page and "always &#x27;run&#x27;" in page) or "always 'run'" in page
    assert "the model tells nothing apart" in page


def test_class_names_that_disagree_exit_with_3_and_the_first_of_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "other.txt").write_text("run\nsleep\nstand up\n")
    assert exit_code(folder, monkeypatch, *EVAL, "--classes", "other.txt") == 3
    assert "'sleep'" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["eval", "--data", "set/test.csv"], 2, "--checkpoint"),
        (["eval", "--checkpoint", "checkpoint", "--run", "runs/x"], 2, "--checkpoint"),
        (["eval", "--checkpoint", "absent", "--data", "set/test.csv"], 4, "absent"),
        (["eval", "--checkpoint", "checkpoint"], 3, "data.val"),
        (["eval", "--checkpoint", "checkpoint", "--data", "absent.csv"], 3, "absent.csv"),
        (["eval", "--checkpoint", "checkpoint", "eval.clip=3"], 2, "did you mean 'clips'"),
        (["eval", "--checkpoint", "checkpoint", "--config", "absent"], 2, "absent"),
        (["eval", "--checkpoint", "checkpoint", "--min-top1", "70"], 2, "--min-top1"),
        (["eval", "--checkpoint", "checkpoint", "--min-top1", "nan"], 2, "--min-top1"),
        (["eval", "--checkpoint", "checkpoint", "--workers", "1000000000"], 2, "--workers"),
        (["eval", "--checkpoint", "checkpoint", "--views", "1000000x3"], 2, "1 to 100"),
        (["eval", "--checkpoint", "checkpoint", "--data", "set/test.csv"], 3, "missing"),
    ],
)
def test_mistakes_exit_with_their_code(
    arguments: list[str],
    code: int,
    words: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_code(folder, monkeypatch, *arguments) == code
    assert words in capsys.readouterr().err


def test_a_run_folder_brings_its_config_and_keeps_the_results(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder / "runs" / "x"
    save_pretrained(named_model(), run)
    (run / "config.yaml").write_text(
        "data: {test: set/test.csv, max_missing: 0.5, workers: 0}\n"
        "clip: {frames: 4, size: 64}\neval: {clips: 1, crops: 1}\nrun: {device: cpu}\n"
    )
    assert exit_code(folder, monkeypatch, "eval", "--run", "runs/x") == 0
    out, err = capsys.readouterr()
    assert "test/top1@1x1" in out
    assert "warning: clip.size=64 has no effect" in err
    assert (run / "eval" / "report.html").is_file()
