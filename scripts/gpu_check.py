"""Every check that needs a GPU, in a few minutes: CUDA tests, a bf16 training run, and measured speed-ups.

    python scripts/gpu_check.py [--out FILE.json]

Prints one JSON document: versions, test outcome, training accuracy, and for ViViT-B/16x2 FE the clips per second of
each compressor as a ratio to the dense model measured in the same interleaved rounds. Exits with 7 when a check fails.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from vidtok.engine.receipt import device_name, versions
from vidtok.models.build import create_model
from vidtok.models.profile import count_gmacs

REPO = Path(__file__).parent.parent
ROUNDS, WARM_UP = 7, 3
SETTINGS: tuple[tuple[str, tuple[int, int] | None], ...] = (("none", None), ("lookup", (5, 5)), ("lookup", (3, 3)))


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


@torch.inference_mode()
def measure_speed(batch: int) -> list[dict[str, Any]]:
    """Clips per second in bf16, uncompiled, models taking turns so that all see the same clock."""
    models = [create_model("vivit_fe_b_16x2", compressor=name, budget=budget) for name, budget in SETTINGS]
    models = [model.cuda().eval() for model in models]
    clip = torch.randn(batch, 3, 32, 224, 224, device="cuda")
    seconds: list[list[float]] = [[] for _ in models]
    for round_ in range(WARM_UP + ROUNDS):
        for times, model in zip(seconds, models, strict=True):
            torch.cuda.synchronize()
            start = time.perf_counter()
            with torch.autocast("cuda", dtype=torch.bfloat16):
                model(clip)
            torch.cuda.synchronize()
            if round_ >= WARM_UP:
                times.append(time.perf_counter() - start)
    dense, dense_gmacs = median(seconds[0]), count_gmacs(models[0])
    return [
        {
            "model": "vivit_fe_b_16x2",
            "compressor": name,
            "budget": budget,
            "batch": batch,
            "clips_per_s": batch / median(times),
            "spread": max(times) / min(times),
            "speedup_vs_dense": dense / median(times),
            "flops_ratio": dense_gmacs / count_gmacs(model),
        }
        for (name, budget), times, model in zip(SETTINGS, seconds, models, strict=True)
    ]


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
        "speed": measure_speed(batch=8),
    }
    text = json.dumps(found, indent=2)
    print(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
    return 0 if tests_pass and demo["top1"] > 0.25 else 7


if __name__ == "__main__":
    sys.exit(main())
