"""Tries to break vidtok, case after case, each from its own seed, and counts what broke.

    python scripts/chaos.py training    --count 100 --out training.jsonl     interrupted runs against untouched ones
    python scripts/chaos.py checkpoints --count 300 --out checkpoints.jsonl  hostile weight files
    python scripts/chaos.py videos      --count 1000 --out videos.jsonl      mutated videos
    python scripts/chaos.py table *.jsonl                                    what came of them

Every case is a line of JSON in --out; started again with the same file, it goes on behind the last one. Exits with 7
when a case failed. A module scripts/chaos_KIND.py has ``run_case(number, seed, work) -> row``: what was done, what
should have come of it, ``ok``, and ``why`` where that is false.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

Row = dict[str, Any]
RunCase = Callable[[int, int, Path], Row]

KINDS = ("training", "checkpoints", "videos")


def run(kind: str, *, count: int, seed: int, out: Path, keep: Path | None) -> int:
    """Run the cases that ``out`` does not hold yet; the number of all that failed."""
    sys.path.insert(0, str(Path(__file__).parent))
    run_case: RunCase = import_module(f"chaos_{kind}").run_case
    done = read_rows(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as stream:
        for number in range(len(done), count):
            row = run_one(run_case, number, seed, keep)
            done.append(row)
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            print(f"{kind} {number + 1}/{count}  {'ok' if row['ok'] else 'FAILED: ' + row['why']}", file=sys.stderr)
    return sum(not row["ok"] for row in done)


def run_one(run_case: RunCase, number: int, seed: int, keep: Path | None) -> Row:
    """One case in a folder of its own, which stays only when the case failed and ``keep`` is given."""
    begun = time.monotonic()
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"chaos-{number}-", dir=keep))
    row = {"case": number, "seed": seed} | run_case(number, seed, work)
    if row["ok"] or keep is None:
        shutil.rmtree(work)
    return row | {"seconds": round(time.monotonic() - begun, 2)}


def read_rows(file: Path) -> list[Row]:
    """The finished cases of an earlier start; a line that a kill cut short is taken off the file."""
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        file.write_text("".join(whole), encoding="utf-8")
    return [json.loads(line) for line in whole]


def print_table(files: Sequence[Path]) -> int:
    """A Markdown table of the results by what was done; the number of failed cases."""
    num_failed = 0
    print("| file | what was done | cases | failed |\n|---|---|---|---|")
    for file in files:
        rows = read_rows(file)
        failed = Counter(row["what"] for row in rows if not row["ok"])
        num_failed += failed.total()
        for what, count in sorted(Counter(row["what"] for row in rows).items()):
            print(f"| {file.name} | {what} | {count} | {failed[what]} |")
    return num_failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=(*KINDS, "table"))
    parser.add_argument("files", nargs="*", type=Path, help="table: results to count")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="results, one line of JSON a case")
    parser.add_argument("--keep", type=Path, help="folder in which the files of failed cases stay")
    options = parser.parse_args()
    if options.kind == "table":
        failed = print_table(options.files)
    else:
        out = options.out or Path(f"{options.kind}.jsonl")
        failed = run(options.kind, count=options.count, seed=options.seed, out=out, keep=options.keep)
    sys.exit(7 if failed else 0)


if __name__ == "__main__":
    main()
