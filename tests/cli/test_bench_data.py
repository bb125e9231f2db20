"""``vidtok bench data`` from its arguments to its table and document."""

import json
from pathlib import Path

import pytest

from tests.cli.run import exit_code
from tests.data.video_files import Encoding, write, x264


def test_the_table_and_the_document_tell_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "clip.mp4", Encoding(options=x264()))
    options = ["--frames", "4", "--stride", "2", "--short-side", "32", "--rounds", "1", "--json", "out/bench.json"]
    assert exit_code(tmp_path, monkeypatch, "bench", "data", ".", *options, "--gpu-clips-per-s", "50") == 0
    printed = capsys.readouterr().out
    figures = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert figures["schema"] == "vidtok.bench.data/2"
    assert figures["recommendation"] in printed
    assert f"feed {figures['gpus_fed']:.2f} GPUs of 50 clips/s" in printed
    for row in figures["groups"][0]["rows"]:
        assert f"{row['reader']:22}{row['ms_per_clip']:9.2f}" in printed


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (".", "no video files in this folder"),
        ("absent.mp4", "absent.mp4: no such file"),
        ("list.txt", "none of the 1 listed videos exists"),
    ],
)
def test_without_a_readable_video_nothing_else_is_measured_instead(
    source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.txt").write_text("gone.mp4 0\n")
    assert exit_code(tmp_path, monkeypatch, "bench", "data", source, "--rounds", "1") == 3
    out, err = capsys.readouterr()
    assert out == "" and words in err.splitlines()[-1]
