"""The harness of mutated videos finds nothing in a few of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_forty_mutated_videos_get_an_answer_or_one_line_of_error_through_infer(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("needs fork and Linux's accounting")
    out = tmp_path / "videos.jsonl"
    command = [sys.executable, "scripts/chaos.py", "videos", "--count", "40", "--out", str(out)]
    done = subprocess.run(command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert not [row for row in rows if not row["ok"]], done.stdout
    assert len(rows) == 40 and {row["exit"] for row in rows} == {0, 3}
