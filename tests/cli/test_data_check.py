"""``vidtok data verify``, ``prepare`` and ``show`` as a user runs them."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.run import exit_code, vidtok
from tests.data.videos import write_counter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``set/list.csv`` of four readable videos and an unreadable one, and ``recipe.yaml``."""
    for number in range(4):
        write_counter(tmp_path / f"set/v{number}.mp4", frames=8 + number)
    (tmp_path / "set/bad.mp4").write_text("no video")
    rows = [f"v{number}.mp4 {number % 2}\n" for number in range(4)]
    (tmp_path / "set/list.csv").write_text("".join([*rows, "bad.mp4 1\n"]))
    (tmp_path / "recipe.yaml").write_text("clip: {frames: 4, size: 32}\neval: {clips: 2, crops: 3}\n")
    return tmp_path


VERIFY = ("data", "verify", "set/list.csv", "--workers", "2")


def test_verify_prints_a_table_writes_causes_and_goes_on_where_it_stopped(folder: Path) -> None:
    done = vidtok(folder, *VERIFY)
    assert done.returncode == 0, done.stderr  # one may always fail
    assert "5 videos, full check (0 known" in done.stdout and "     4  readable" in done.stdout
    assert "1  is not a video" in done.stdout and "\033" not in done.stdout + done.stderr
    with (folder / "quarantine.csv").open(newline="") as stream:
        [row] = csv.DictReader(stream)
    assert row["path"].endswith("bad.mp4") and row["cause"].startswith(row["path"]) and row["stage"] == "verify"
    assert "(4 known from an earlier run)" in vidtok(folder, *VERIFY).stdout


def test_verify_json_is_one_document_and_too_many_failures_exit_with_3(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(folder, monkeypatch, *VERIFY, "--json", "--quick", "--max-failures", "0") == 3
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["schema"] == "vidtok.verify/1" and found["mode"] == "quick" and found["allowed_failures"] == 0
    assert found["videos"]["unreadable"] == len(found["unreadable"]) == 1
    assert "1 of 5 videos are unreadable, --max-failures=0 allows 0" in err.splitlines()[-1]


def test_verify_counts_missing_files_and_exits_with_3_when_there_are_too_many(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "set/list.csv").write_text("v0.mp4 0\nv1.mp4 1\ngone.mp4 0\n")
    assert exit_code(folder, monkeypatch, *VERIFY) == 3
    out, err = capsys.readouterr()
    assert "     1  missing" in out and "gone.mp4" in err.splitlines()[-1]
    assert exit_code(folder, monkeypatch, *VERIFY, "--max-missing", "0.4") == 0


def test_a_repaired_file_leaves_the_quarantine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code(folder, monkeypatch, *VERIFY) == 0
    write_counter(folder / "set/bad.mp4", frames=8)
    assert exit_code(folder, monkeypatch, *VERIFY) == 0
    assert not (folder / "quarantine.csv").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_exits_with_130_and_the_next_run_goes_on(folder: Path) -> None:
    write_counter(folder / "many/v0.mp4", frames=20, height=240, width=320)
    for number in range(1, 300):
        shutil.copy(folder / "many/v0.mp4", folder / f"many/v{number}.mp4")
    command = [sys.executable, "-m", "vidtok", "data", "verify", "many", "--workers", "1"]
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    state = folder / "quarantine.state.jsonl"
    while not state.exists() and running.poll() is None:
        time.sleep(0.005)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "of 300 videos; give the same command again" in err and "Traceback" not in err
    found = json.loads(vidtok(folder, "data", "verify", "many", "--json").stdout)
    assert 0 < found["videos"]["resumed"] < found["videos"]["readable"] == 300


def test_prepare_writes_a_copy_with_its_list_and_says_what_failed(folder: Path) -> None:
    done = vidtok(folder, "data", "prepare", "set/list.csv", "new", "--short-side", "32", "--gop", "4", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"] == "vidtok.prepare/1" and found["list"] == "new/list.csv"
    assert found["videos"]["prepared"] == 4 and found["videos"]["failed"] == len(found["failed"]) == 1
    assert "bad.mp4" in (folder / "new/quarantine.csv").read_text()
    again = vidtok(folder, "data", "prepare", "set/list.csv", "new", "--short-side", "32", "--gop", "4")
    assert "(4 prepared by an earlier run)" in again.stdout and "data.train=new/list.csv" in again.stdout
    assert json.loads(vidtok(folder, "data", "verify", "new/list.csv", "--json").stdout)["videos"]["readable"] == 4


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["verify", "absent.csv"], 3, "absent.csv"),
        (["verify", "absent.mp4"], 3, "no such file"),
        (["verify", b"set/\xff.mp4".decode("utf-8", "surrogateescape")], 3, r"'set/\udcff.mp4': a list cannot hold"),
        (["verify", "set", "--decoder", "opencv"], 2, "decoder"),
        (["prepare", "set", "set"], 2, "would overwrite"),
        (["prepare", "set/v0.mp4", "new"], 3, "no such folder"),
        (["prepare", "set/list.csv", "new", "--max-failures", "0"], 3, "bad.mp4"),
        (["prepare", "set", "new", "--crf", "60"], 2, "--crf"),
        (["show", "set/v0.mp4", "-c", "recipe.yaml", "--split", "val"], 2, "train, test"),
        (["show", "set/bad.mp4", "-c", "recipe.yaml"], 3, "is not a video"),
        (["show", "set/v0.mp4", "-c", "recipe.yaml", "clip.frame=3"], 2, "did you mean"),
        (["show", "set/v0.mp4", "-c", "recipe.yaml", "--out", "clip.jpg"], 2, ".png"),
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
    assert exit_code(folder, monkeypatch, "data", *arguments) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("split", ["train", "test"])
def test_show_writes_one_picture_and_prints_where(
    split: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("set/v0.mp4", "-c", "recipe.yaml", "--split", split, "--out", "out/clip.png", "clip.stride=1")
    assert exit_code(folder, monkeypatch, "data", "show", *arguments) == 0
    assert capsys.readouterr().out == "out/clip.png\n"
    assert (folder / "out/clip.png").read_bytes().startswith(b"\x89PNG")
