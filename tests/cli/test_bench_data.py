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
    assert figures["schema"] == "vidtok.bench.data/1"
    assert figures["recommendation"] in printed
    assert f"feed {figures['gpus_fed']:.2f} GPUs of 50 clips/s" in printed
    for row in figures["groups"][0]["rows"]:
        assert f"{row['reader']:22}{row['ms_per_clip']:9.2f}" in printed


def test_a_folder_without_videos_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code(tmp_path, monkeypatch, "bench", "data", ".") == 3
