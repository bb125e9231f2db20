"""Interrupted trainings by real processes against untouched ones; many more by hand: scripts/chaos.py."""

import sys
from pathlib import Path

import pytest

from tests.conftest import REPO
from tests.engine.motion import write_recipe


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 2, 4], ids=["one process", "full disk", "two processes"])
def test_an_interrupted_training_ends_as_an_untouched_one(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(REPO / "scripts"))
    from chaos_training import run_case

    row = run_case(number, 0, tmp_path)
    sys.modules.pop("chaos_training")
    assert row["ok"], row


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["SIGTERM", "SIGTERM to the group"])
def test_two_processes_that_are_just_starting_end_with_130_and_one_line(
    kind: str, tmp_path: Path, motion_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one waits for the second, which has not even been able to answer signals yet."""
    monkeypatch.syspath_prepend(str(REPO / "scripts"))
    from chaos_training import Interrupt, Training

    recipe = write_recipe(tmp_path, motion_set)
    command = [sys.executable, "-m", "vidtok", "train", "--config", str(recipe), "run.devices=2"]
    ended = Training(command, tmp_path / "runs", tmp_path / "log").run(Interrupt(kind, "run ", 1.0))
    sys.modules.pop("chaos_training")
    assert ended.code == 130, ended.stderr
    assert ended.stderr.count("error: ") == ended.stderr.count("error: interrupted before the first step") == 1
