"""Mutated videos through ``vidtok infer``: an answer or one line of error, soon, in little memory, the same twice.

    python scripts/chaos.py videos --count 1000 --out videos.jsonl
    python scripts/chaos_videos.py --measure FOLDER ...      seconds and memory of every file, as a Markdown table

Sources are the generated difficult files of the tests and, where VIDTOK_SHARED_DATA names a folder, the small real ones
in it. Each case runs in a child, forked from this process, which has the heavy imports already; every 20th is started
afresh. Memory is the child's peak, the imports (about 300 MiB) included. Needs Linux.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: threads do not survive a fork

import numpy as np
import torch

REPO = Path(__file__).parent.parent
sys.path[:0] = [str(REPO), str(Path(__file__).parent)]

from chaos_processes import become_vidtok  # noqa: E402

from tests.data.difficult_files import DIFFICULT  # noqa: E402
from tests.data.mutate import LIES, MUTATIONS  # noqa: E402
from vidtok.config import ClipConfig, ModelConfig, from_tree  # noqa: E402
from vidtok.models.build import build_model  # noqa: E402
from vidtok.models.checkpoint import save_pretrained  # noqa: E402

MOST_MIB = 1024
MOST_SECONDS = 130
"""A reader's deadline, and some for starting."""

_LARGEST_SOURCE = 700_000
_FRESH_EVERY = 20
_NO_VIDEO = 3
_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".ts", ".gif", ".flv", ".mov", ".png", ".txt", "")
_PLAYLISTS = (
    "ffconcat version 1.0\nfile '{}'\n",
    "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    '<?xml version="1.0"?>\n<MPD><Period><BaseURL>{}</BaseURL></Period></MPD>\n',
    "[playlist]\nFile1={}\n",
)


@dataclass(frozen=True, slots=True)
class Run:
    """One ``vidtok infer``."""

    code: int
    """Of the exit; below 0: the signal that ended it."""
    out: str
    err: str
    seconds: float
    cpu_seconds: float
    peak_mib: float

    def fault(self) -> str:
        """What is wrong with it; nothing when that is empty."""
        lines = self.err.strip().splitlines()
        if self.seconds > MOST_SECONDS:
            return f"took {self.seconds:.0f} s"
        if self.code not in (0, _NO_VIDEO):
            return f"exit {self.code}: {lines[-1] if lines else 'not a word'}"
        if self.peak_mib > MOST_MIB:
            return f"took {self.peak_mib:.0f} MiB"
        if "Traceback" in self.err or (self.code and not (len(lines) == 1 and lines[0].startswith("error: "))):
            return f"not one line of error: {self.err[:300]}"
        if not self.code and [row["error"] for row in json.loads(self.out)["results"]] != [None]:
            return "exit 0 without an answer"
        return ""


def run_case(number: int, seed: int, work: Path) -> dict[str, Any]:
    """One mutated video, asked for its label twice."""
    rng = np.random.default_rng([seed, number])
    what, file, must_fail = write_case(number, rng, work)
    arguments = ["infer", str(file), "--checkpoint", str(checkpoint(8)), "--views", "2x3", "--format", "json"]
    start = start_fresh if number % _FRESH_EVERY == _FRESH_EVERY - 1 else start_forked
    first, second = (start(arguments, work) for _ in range(2))
    why = first.fault() or second.fault()
    if not why and (first.code, first.out, first.err) != (second.code, second.out, second.err):
        why = "another answer the second time"
    if not why and must_fail and first.code != _NO_VIDEO:
        why = "was read"
    return {
        "what": what,
        "file": file.name,
        "exit": first.code,
        "took_s": round(first.seconds, 2),
        "peak_mib": round(max(first.peak_mib, second.peak_mib)),
        "ok": not why,
        "why": why,
    }


def write_case(number: int, rng: np.random.Generator, work: Path) -> tuple[str, Path, bool]:
    """What was done, the file, and whether refusing it is the only right answer."""
    kinds = (*MUTATIONS, *LIES, *LIES[:1] * 3, "disguise", "playlist")  # header fields four times as often
    kind = kinds[number % len(kinds)]
    source, other = (sources()[place] for place in rng.permutation(len(sources()))[:2])
    suffix = _SUFFIXES[rng.integers(len(_SUFFIXES))]
    if kind == "playlist":
        file = work / f"list{suffix}"
        file.write_text(_PLAYLISTS[rng.integers(len(_PLAYLISTS))].format(source))
        return kind, file, suffix != ".txt"  # that may be a list of paths, which is read
    if kind == "disguise":
        file = work / f"{source.stem}{suffix}"
        file.write_bytes(source.read_bytes())
        return kind, file, False
    assert callable(kind)
    file = work / source.name
    file.write_bytes(kind(source.read_bytes(), other.read_bytes(), rng))
    return kind.__name__, file, False


@cache
def sources() -> list[Path]:
    """Small videos: generated ones, and real ones where there are any."""
    folder = _temporary() / "sources"
    folder.mkdir()
    for name, make in DIFFICULT.items():
        if name != "long.mp4":
            make(folder / name)
    files = sorted(folder.iterdir())
    if shared := os.environ.get("VIDTOK_SHARED_DATA"):
        clips = [path for path in sorted(Path(shared, "clips").rglob("*")) if path.is_file()]
        files += [*sorted(Path(shared, "formats").iterdir()), *clips[::25]]
    endings = (".md", ".csv", ".txt", ".json")
    return [file for file in files if 0 < file.stat().st_size < _LARGEST_SOURCE and file.suffix not in endings]


@cache
def checkpoint(frames: int) -> Path:
    """A small ViT that looks at 224 x 224 pixels."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    backbone = {"kind": "vivit_fe", "dim": 16, "num_heads": 2, "depth": 1, "patch": 32, "temporal_depth": 1}
    config = from_tree(ModelConfig, {"backbone": backbone, "compressor": "none"})
    model = build_model(config, ClipConfig(frames=frames), num_classes=3)
    return save_pretrained(model.eval(), _temporary() / f"model{frames}")


@cache
def _temporary() -> Path:
    """A folder of this process, for good: ended with the process by whoever empties /tmp."""
    return Path(tempfile.mkdtemp(prefix="chaos-videos-"))


def start_forked(arguments: Sequence[str], work: Path) -> Run:
    """Run the command in a fork of this process."""
    child = os.fork()
    if child == 0:
        out, err = (os.open(work / name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY) for name in ("out", "err"))
        become_vidtok(arguments, out, err)
    return _wait(child, work)


def start_fresh(arguments: Sequence[str], work: Path) -> Run:
    """Run the command in a process of its own."""
    with open(work / "out", "wb") as out, open(work / "err", "wb") as err:
        child = subprocess.Popen([sys.executable, "-m", "vidtok", *arguments], stdout=out, stderr=err, cwd=REPO)
    run = _wait(child.pid, work)
    child.returncode = run.code  # it was waited for behind its back
    return run


def _wait(child: int, work: Path) -> Run:
    """Wait for a child, which is killed when it takes too long."""
    begun = time.monotonic()
    done = 0
    while not done:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if not done and time.monotonic() - begun > MOST_SECONDS + 20:
            os.kill(child, 9)
        time.sleep(0.01)
    out, err = ((work / name).read_text(errors="replace") for name in ("out", "err"))
    code, seconds = os.waitstatus_to_exitcode(status), time.monotonic() - begun
    return Run(code, out, err, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def measure(folders: Sequence[Path]) -> int:
    """Print what ``vidtok infer`` takes for every file, 4 clips of 32 frames; the number of files beyond a bound."""
    failed = 0
    print("| file | result | seconds | CPU seconds | peak MiB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        for file in (file for folder in folders for file in sorted(folder.iterdir())):
            arguments = ["infer", str(file), "--checkpoint", str(checkpoint(32)), "--format", "json"]
            run = start_fresh(arguments, Path(work))
            why = run.fault()
            failed += bool(why)
            answer = run.err.strip().removeprefix(f"error: {file}: ") if run.code else "labelled"
            numbers = f"{run.seconds:.1f} | {run.cpu_seconds:.1f} | {run.peak_mib:.0f}"
            print(f"| {file.name} | {why or answer} | {numbers} |", flush=True)
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="+", type=Path, required=True, metavar="FOLDER")
    sys.exit(7 if measure(parser.parse_args().measure) else 0)


if __name__ == "__main__":
    main()
