"""``vidtok infer`` as a user runs it: real processes, exit codes, formats."""

import csv
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.run import exit_code, vidtok
from tests.data.videos import write_counter
from tests.engine.cases import NAMES, named_model
from tests.models.tiny import tiny_model
from vidtok.cli.output import find_writer
from vidtok.errors import ConfigError
from vidtok.models.checkpoint import save_pretrained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``checkpoint/``, ``videos/{a,b,broken}.mp4``."""
    folder = tmp_path_factory.mktemp("work")
    save_pretrained(named_model(), folder / "checkpoint")
    write_counter(folder / "videos" / "a.mp4", frames=20)
    write_counter(folder / "videos" / "b.mp4", frames=28)
    (folder / "videos" / "broken.mp4").write_text("not a video")
    return folder


def test_a_folder_with_a_broken_video_gives_all_results_and_exit_0(folder: Path) -> None:
    done = vidtok(folder, "infer", "videos", "--format", "json", "--topk", "2")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "vidtok.infer/1"
    a, b, broken = document["results"]
    assert [Path(result["path"]).name for result in (a, b, broken)] == ["a.mp4", "b.mp4", "broken.mp4"]
    assert a["num_frames"] == 20 and b["num_frames"] == 28 and len(a["top"]) == 2
    assert len(a["frames"]) == 2 and a["top"][0]["label"] in NAMES
    assert broken["error"].startswith("videos/broken.mp4: ") and broken["top"] == []
    assert done.stderr == "1 of the videos could not be labelled; their results hold the cause\n"


def test_one_video_as_a_table_with_its_pictures(folder: Path) -> None:
    done = vidtok(folder, "infer", "videos/a.mp4", "--contact-sheet", "sheet.png", "--overlay", "o.mp4")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and "\033" not in done.stdout
    first, *rows = done.stdout.splitlines()
    assert first == "videos/a.mp4  0.0-2.5 s of 20 frames at 8 fps"
    assert len(rows) == 3 and all("%" in row for row in rows)
    with Image.open(folder / "sheet.png") as picture:
        assert picture.size[0] > 500
    assert (folder / "o.mp4").stat().st_size > 1000


def test_paths_from_standard_input_stream_as_json_lines(folder: Path) -> None:
    windows = ["--window", "2s", "--stride", "1500ms"]
    done = vidtok(folder, "infer", "-", "--format", "jsonl", "--budget", "1x1", *windows, stdin="videos/b.mp4\n")
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(result["start_s"], result["end_s"]) for result in results] == [(0.0, 2.0), (1.5, 3.5)]


def test_pictures_of_a_windowed_run_name_the_window_of_the_first_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    for place, name in (("visualize", "save_contact_sheet"), ("token_picture", "write_tokens")):
        monkeypatch.setattr(f"vidtok.engine.{place}.{name}", lambda *_, place, **__: told.append(place))
    pictures = ("--contact-sheet", "w.png", "--tokens", "w.mp4", "--checkpoint", "checkpoint")
    assert exit_code(folder, monkeypatch, "infer", "videos/b.mp4", "--window", "1s", *pictures) == 0
    assert told == ["window 1 of 4, 0.0-1.0 s"] * 2


def test_a_dense_checkpoint_takes_a_compressor_at_the_budget_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_model("vit", depth=3, size=32).save_pretrained(folder / "dense")
    arguments = ("infer", "videos/a.mp4", "--checkpoint", "dense", "--compressor", "lookup")
    assert exit_code(folder, monkeypatch, *arguments, "--budget", "2x2") == 0
    assert exit_code(folder, monkeypatch, *arguments) == 2  # lookup's own budget, 5x5, is more than the model has
    assert "budget '5x5' must be a grid" in capsys.readouterr().err


def test_a_single_unreadable_video_exits_with_3_and_one_line(folder: Path) -> None:
    done = vidtok(folder, "infer", "videos/broken.mp4", "--format", "jsonl")
    assert done.returncode == 3
    assert done.stderr.startswith("error: videos/broken.mp4: ") and done.stderr.count("\n") == 1
    assert json.loads(done.stdout)["error"]


def test_when_no_video_can_be_read_the_exit_code_is_3_and_one_line_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = exit_code(folder, monkeypatch, "infer", "videos/broken.mp4", "absent.mp4", "--checkpoint", "checkpoint")
    assert code == 3
    line = capsys.readouterr().err
    assert line.startswith("error: none of 2 videos could be labelled; the first: videos/broken.mp4: ")
    assert line.count("\n") == 1


def test_a_checkpoint_that_is_none_exits_with_4(folder: Path) -> None:
    done = vidtok(folder, "infer", "videos/a.mp4", "--checkpoint", "videos/broken.mp4")
    assert done.returncode == 4
    assert done.stderr.startswith("error: videos/broken.mp4") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("checkpoint", ["absent", "videos"])
def test_a_place_without_a_checkpoint_exits_with_4(
    checkpoint: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(folder, monkeypatch, "infer", "videos/a.mp4", "--checkpoint", checkpoint) == 4
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1 and checkpoint in line


def test_wrong_usage_of_the_real_command_exits_with_2_before_the_checkpoint_is_read(folder: Path) -> None:
    done = vidtok(folder, "infer", "videos/a.mp4", "--views", "4x2", VIDTOK_CHECKPOINT="absent")
    assert done.returncode == 2
    assert done.stderr.startswith("error: views '4x2'") and done.stderr.count("\n") == 1 and done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["videos/a.mp4", "--format", "xml"], "table, json, jsonl, csv, vtt"),
        (["videos/a.mp4", "--views", "3"], "4x3"),
        (["videos/a.mp4", "--views", "1000000x3"], "clips are 1 to 100"),
        (["videos/a.mp4", "--window", "0.0000001ms"], "at least 1ms"),
        (["videos/a.mp4", "--window", "9" * 400], "at least 1ms"),
        (["videos/a.mp4", "--window", "1s", "--stride", "\u0663s"], "at least 1ms"),
        (["videos/a.mp4", "--precision", "fp8"], "auto, fp32, bf16, fp16"),
        (["videos/a.mp4", "--window", "soon"], "2s, 500ms"),
        (["videos/a.mp4", "--stride", "1s"], "--window"),
        (["videos/a.mp4", "--budget", "many"], "5x5"),
        (["videos/a.mp4", "--budget", "9x9"], "9x9"),
        (["videos/a.mp4", "--decoder", "vlc"], "pyav"),
        (["videos", "--overlay", "o.mp4"], "one video"),
        (["videos/a.mp4", "--overlay", "o.avi"], "--overlay 'o.avi' must end with .mp4 or .mkv"),
        (["videos/a.mp4", "--contact-sheet", "sheet.jpg"], "must end with .png"),
        (["videos/a.mp4", "--tokens", "t.gif"], "must end with .png or .mp4"),
        (["videos/a.mp4", "--no-such-option"], "No such option"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_allowed(
    arguments: list[str],
    words: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_code(folder, monkeypatch, "infer", "--checkpoint", "checkpoint", *arguments) == 2
    out, err = capsys.readouterr()
    assert words in err and out == ""


def test_without_a_network_the_default_checkpoint_exits_with_4_and_two_ways_out(folder: Path) -> None:
    env = {"VIDTOK_CHECKPOINT": "", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
    done = vidtok(folder, "infer", "videos/a.mp4", **env)
    assert done.returncode == 4
    assert "hf download" in done.stderr and "--checkpoint" in done.stderr and done.stderr.count("\n") == 1


RESULTS = [
    {
        "path": "a, b.mp4",
        "start_s": 0.0,
        "end_s": 3661.5,
        "top": [{"label": "x <y> & z", "score": 0.75}, {"label": "w", "score": 0.25}],
        "frames": [[0, 1]],
        "decoder": "pyav",
        "num_frames": 20,
        "fps": 8.0,
        "error": None,
    },
    {"path": "bad", "start_s": None, "end_s": None, "top": [], "frames": [], "error": "bad: is empty"}
    | dict.fromkeys(("decoder", "num_frames", "fps")),
]


def written(form: str) -> str:
    out = io.StringIO()
    find_writer(form)(iter(RESULTS), out)
    return out.getvalue()


def test_json_and_json_lines_hold_the_results_unchanged() -> None:
    assert json.loads(written("json"))["results"] == RESULTS
    lines = [json.loads(line) for line in written("jsonl").splitlines()]
    assert lines == [{"schema": "vidtok.infer/1", **result} for result in RESULTS]


def test_csv_has_a_row_per_class_and_one_per_failure() -> None:
    rows = list(csv.DictReader(io.StringIO(written("csv"))))
    assert [(row["path"], row["rank"], row["label"]) for row in rows] == [
        ("a, b.mp4", "1", "x <y> & z"),
        ("a, b.mp4", "2", "w"),
        ("bad", "", ""),
    ]
    assert rows[0]["score"] == "0.75" and rows[2]["error"] == "bad: is empty"


def test_vtt_is_subtitles_with_clock_times() -> None:
    text = written("vtt")
    assert text.startswith("WEBVTT\n\n")
    assert "\n00:00:00.000 --> 01:01:01.500\nx &lt;y&gt; &amp; z 75 %\nw 25 %\n" in text


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="jsonl"):
        find_writer("yaml")
