"""Running the command: in a process of its own, or faster in this one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidtok.cli import main


def vidtok(folder: Path, *arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command in ``folder``, where ``checkpoint`` is the default one."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "vidtok", *arguments],
        cwd=folder,
        env=os.environ | {"VIDTOK_CHECKPOINT": "checkpoint", "OMP_NUM_THREADS": "1"} | env,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def exit_code(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of the command, run in this process in ``folder``."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["vidtok", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code
