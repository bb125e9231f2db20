"""Interrupted trainings by real processes against untouched ones; many more by hand: scripts/chaos.py."""

import sys
from pathlib import Path

import pytest

from tests.conftest import REPO


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
