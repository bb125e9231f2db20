"""Runs commands in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.run import exit_code


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs the command in this process, in an empty folder; gives its exit code."""
    folder = tmp_path / "here"
    folder.mkdir()
    return lambda *arguments: exit_code(folder, monkeypatch, *arguments)
