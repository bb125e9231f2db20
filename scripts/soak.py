"""Does a decoder give its memory back? Opens, reads and closes videos many times and watches resident memory.

    python scripts/soak.py [--engine auto ...] [--opens 2000] [--file CLIP ...] [--json OUT]

Memory is that of this process and of the decoding process that it may have started. It is flat when the second half of
the opens adds less than the limit; the first half fills caches. Exits with 7 when it is not. Needs Linux's /proc.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from vidtok.data.bench.clips import write_clip
from vidtok.data.decode import decode_frames
from vidtok.errors import CheckFailed, EnvironmentFault, VidtokError

ENGINES = ("pyav", "pyav-isolated", "decord", "torchcodec")
LIMIT_MIB = 8.0
NUM_POINTS = 40


def resident_mib() -> float:
    """Resident memory of this process and its children."""
    pages = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(folder.name) == os.getpid() or int(status[1]) == os.getpid():
                pages += int((folder / "statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def soak(engine: str, files: Sequence[str], opens: int) -> list[float]:
    """Resident memory [MiB] at NUM_POINTS places over the opens, the first one after a warm-up of each file."""
    rng = np.random.default_rng(0)
    points = set(np.linspace(0, opens - 1, NUM_POINTS).astype(int).tolist())
    memory = []
    for file in files:
        decode_frames(file, lambda info: [0], decoder=engine, short_side=224)
    for number in range(opens):
        decode_frames(
            files[number % len(files)],
            lambda info: np.sort(rng.integers(0, info.num_frames, 4)),
            decoder=engine,
            short_side=224,
        )
        if number in points:
            memory.append(resident_mib())
    return memory


def growth_mib(memory: Sequence[float]) -> float:
    """What the second half added, ends averaged over a tenth of the points."""
    few = max(len(memory) // 10, 1)
    middle = len(memory) // 2
    return float(np.mean(memory[-few:]) - np.mean(memory[middle : middle + few]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", nargs="+", default=ENGINES, choices=ENGINES)
    parser.add_argument("--opens", type=int, default=2000)
    parser.add_argument("--file", nargs="+", default=[], help="default: two generated clips")
    parser.add_argument("--json", type=Path, help="also write all points to this file")
    options = parser.parse_args()
    figures = {}
    with TemporaryDirectory() as folder:
        files = options.file or [
            str(write_clip(Path(folder) / f"{gop}.mp4", interval=gop, seed=gop, num_frames=60)) for gop in (12, 50)
        ]
        for engine in options.engine:
            try:
                figures[engine] = soak(engine, files, options.opens)
            except EnvironmentFault as fault:
                print(f"{engine}: left out: {fault}")
                continue
            first, last, grown = figures[engine][0], figures[engine][-1], growth_mib(figures[engine])
            print(f"{engine:14} {first:7.1f} -> {last:7.1f} MiB; second half {grown:+.1f} MiB", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps({"opens": options.opens, "mib": figures}) + "\n", encoding="utf-8")
    leaking = [engine for engine, memory in figures.items() if growth_mib(memory) > LIMIT_MIB]
    if leaking:
        raise CheckFailed(f"memory grows with {', '.join(leaking)}")


if __name__ == "__main__":
    try:
        main()
    except VidtokError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
