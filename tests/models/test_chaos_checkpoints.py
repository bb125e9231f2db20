"""Two hostile files of every kind, through the command; scripts/chaos.py does as many as one likes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]


@pytest.mark.slow
def test_hostile_weight_files_end_in_one_line_or_in_the_untouched_files_answer(tmp_path: Path):
    out = tmp_path / "rows.jsonl"
    command = [sys.executable, "scripts/chaos.py", "checkpoints", "--count", "22", "--seed", "1", "--out", str(out)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["what"], row["how"], row["why"]) for row in rows if not row["ok"]] == []
    assert done.returncode == 0 and len(rows) == 22 and {row["exit"] for row in rows} == {0, 4}
