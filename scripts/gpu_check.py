"""Every check that needs a GPU, in a few minutes: CUDA tests, a bf16 training run, and measured speed-ups.

    python scripts/gpu_check.py [--out FILE.json]

Prints one JSON document: versions, test outcome, training accuracy, and for ViViT-B/16x2, joint and factorised, the
clips per second of each compressor beside the dense model of the same rounds. Exits with 7 when a check fails.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from vidtok.config import ClipConfig
from vidtok.engine.bench import bench_models, document, parse_case
from vidtok.engine.predict import choose_compute
from vidtok.engine.receipt import device_name, versions

REPO = Path(__file__).parent.parent
SPEED: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("vivit_b_16x2", 16, ("evit:0.7", "semantic:4x4", "lookup:8x5x5,reuse=pre", "supertoken", "merge", "random")),
    ("vivit_fe_b_16x2", 32, ("evit:0.7", "semantic:4x4", "lookup:5x5", "lookup:5x5,reuse=pre", "lookup:3x3")),
)
"""Model, frames and compressors whose speed is measured."""


def run_tests() -> bool:
    """The tests marked needs_cuda, which fail rather than skip without a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "needs_cuda", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=REPO, env=os.environ | {"VIDTOK_REQUIRE_CUDA": "1"}).returncode == 0


def train_demo(folder: Path) -> dict[str, Any]:
    """The demo recipe on the GPU, on a third of its clips; returns the evaluation's metrics."""
    lists = [f"data.{split}={folder}/motion/{split}.csv" for split in ("train", "val", "test")]
    vidtok("data", "synthetic", f"{folder}/motion", "--clips", "2400")
    run = vidtok("train", "--config", "demo.yaml", f"run.output_dir={folder}/runs", *lists).splitlines()[-1]
    return json.loads(vidtok("eval", "--run", run, "--json"))


def vidtok(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "vidtok", *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def measure_speed() -> list[dict[str, Any]]:
    """Clips per second in bf16, uncompiled, every compressor against the dense model of the same rounds."""
    rows = []
    for name, frames, cases in SPEED:
        clip = ClipConfig(frames=frames)
        found = bench_models(name, [parse_case(case) for case in cases], clip=clip, compute=choose_compute(), batch=8)
        rows += document(found)["rows"]
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the JSON document here")
    out = parser.parse_args().out
    if not torch.cuda.is_available():
        print("error: torch sees no GPU; see `vidtok doctor`", file=sys.stderr)
        return 5
    tests_pass = run_tests()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        metrics = train_demo(Path(folder))
        demo = {"top1": metrics["top1"], "budgets": metrics["budgets"], "seconds": time.perf_counter() - start}
    found = {
        "schema": "vidtok.gpu_check/1",
        "device": device_name(torch.device("cuda")),
        "versions": versions(),
        "tests_pass": tests_pass,
        "demo": demo,
        "speed": measure_speed(),
    }
    text = json.dumps(found, indent=2)
    print(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
    return 0 if tests_pass and demo["top1"] > 0.25 else 7


if __name__ == "__main__":
    sys.exit(main())
