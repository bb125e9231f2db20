"""Hostile weight files for ``chaos.py checkpoints``: every case damages one file and labels a video with it.

Right is exit 4 with one line, or exit 0 with the answer of the untouched file; always within ``DEADLINE_SECONDS`` and
``MAX_MB`` of memory. Every tenth case is a process of its own, the others fork from this one, which has torch loaded.
"""

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from chaos_processes import become_vidtok
from hostile_weights import MUTATIONS, untouched

import vidtok.engine.infer  # noqa: F401 (for the children)

DEADLINE_SECONDS, MAX_MB = 180.0, 1024
"""Of the clock, with room for a busy machine; a case takes 2 s of one core."""


class Outcome(NamedTuple):
    code: int | None
    """None: it was killed at the deadline."""
    out: str
    err: str
    peak_mb: float


def label(target: Path, work: Path, *, fresh: bool) -> Outcome:
    """Run ``vidtok infer`` on the clip with a checkpoint, in a new process or in a fork of this one."""
    arguments = [
        "infer",
        str(untouched() / "clip.mp4"),
        "--checkpoint",
        str(target),
        "--views",
        "1x1",
        "--format",
        "json",
    ]
    out, err = work / "stdout", work / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        if fresh:
            command = [sys.executable, "-m", "vidtok", *arguments]
            pid = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=os.environ | {"OMP_NUM_THREADS": "1"}).pid
        else:
            pid = os.fork()
            if pid == 0:
                become_vidtok(arguments, stdout.fileno(), stderr.fileno())
        code, peak = _wait(pid)
    return Outcome(code, out.read_text(errors="replace"), err.read_text(errors="replace"), peak / 1024)


def _wait(pid: int) -> tuple[int | None, int]:
    """(exit code, peak memory [KiB]); the process is killed at the deadline."""
    end = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < end:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return None, os.wait4(pid, 0)[2].ru_maxrss


def answer(outcome: Outcome) -> Any:
    """The classes and scores, without the names of files."""
    return [result["top"] for result in json.loads(outcome.out)["results"]]


@functools.cache
def right_answer(base: str) -> Any:
    with tempfile.TemporaryDirectory() as work:
        outcome = label(untouched() / base, Path(work), fresh=False)
    assert outcome.code == 0, outcome
    return answer(outcome)


def fault(outcome: Outcome, base: str) -> str:
    """What is wrong with an outcome; empty when nothing is."""
    if outcome.code is None:
        return f"still running after {DEADLINE_SECONDS:g} s"
    if outcome.peak_mb > MAX_MB:
        return f"{outcome.peak_mb:.0f} MB of memory"
    if "Traceback" in outcome.err or "weights_only" in outcome.err:
        return f"stderr: {outcome.err[-400:]}"
    if outcome.code == 4:
        lines = outcome.err.splitlines()
        is_one = len(lines) == 1 and lines[0].startswith("error: ") and not outcome.out
        return "" if is_one else f"exit 4 with stderr {outcome.err[-400:]!r}"
    if outcome.code != 0:
        return f"exit {outcome.code}: {outcome.err[-400:]}"
    return "" if answer(outcome) == right_answer(base) else "another answer than the untouched file's"


def run_case(number: int, seed: int, work: Path) -> dict[str, Any]:
    """Damage one file as ``number`` and ``seed`` say, and label a clip with it."""
    rng = random.Random(f"{seed}/{number}")
    what, mutate, bases = MUTATIONS[number % len(MUTATIONS)]
    base = rng.choice(bases)
    source, target = untouched() / base, work / base
    shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    right_answer(base)
    how = mutate(rng, target)
    outcome = label(target, work, fresh=number % 10 == 9)
    why = fault(outcome, base)
    facts = {"base": base, "how": how, "exit": outcome.code, "peak_mb": round(outcome.peak_mb)}
    return {"what": what, **facts, "ok": not why, "why": why, "said": outcome.err[:200]}
