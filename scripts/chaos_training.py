"""One interrupted training against an untouched one of the same recipe, by real processes (see chaos.py).

Of five cases one has two processes and another one a full disk; the rest is drawn from the seed: workers, accumulation,
budgets, mixing, repeated augmentation, checkpoints by step; and one to four interruptions by kill -9, SIGINT, SIGTERM
or SIGTERM to the process group, at start-up, in training or in a validation. After each the training goes on with
``--resume auto``. In the end weights, optimiser, schedule, best checkpoint and logged numbers must be equal to the bit.

Starting Python and importing torch takes longer than these trainings. So three of four cases with one process are
forked off this one, which has imported everything; they are processes of their own all the same.
"""

import csv
import hashlib
import os
import random
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos_processes import Broken, Ended, Forked, Interrupt, clean_up, spawn, watch

Row = dict[str, Any]

EPOCHS, CLIPS, BATCH = 3, 60, 4
TIMED = {"train/clips_per_s", "train/data_wait"}
"""Columns of metrics.csv that no two runs share."""

RECIPE = """
name: tiny
model:
  backbone: {kind: vivit_fe, dim: 16, depth: 2, num_heads: 2, patch: 8, tubelet: 4, temporal_depth: 1, drop_path: 0.2}
  compressor: {kind: lookup, budget: 2x2}
data: {train: SET/train.csv, val: SET/train.csv, decode_short_side: 32}
clip: {frames: 8, sampling: uniform, size: 32}
augment: {crop_scale: [0.7, 1.0], hflip: 0.5, hflip_swaps: [[move_left, move_right]]}
train: {batch_size: 4, lr: 1e-3, warmup_epochs: 0.5, log_every: 1}
eval: {clips: 1, crops: 1, batch_size: 4}
run: {device: cpu, precision: fp32}
"""


@dataclass
class Plan:
    """What a case draws."""

    overrides: list[str]
    steps_per_epoch: int
    is_disk_full: bool
    interruptions: list[tuple[str, str]]
    rng: random.Random


@dataclass
class Training:
    """One run folder's parent and the command that trains into it."""

    arguments: list[str]
    output: Path
    log: Path
    is_forked: bool = False
    file_bytes: int | None = None
    exits: list[float] = field(default_factory=list)

    def has_checkpoint(self) -> bool:
        return any(self.output.glob("tiny/*/last.ckpt"))

    def steps_done(self) -> int:
        """Optimiser steps in the newest checkpoint."""
        import torch

        files = sorted(self.output.glob("tiny/*/last.ckpt"), key=lambda path: path.stat().st_mtime)
        return int(torch.load(files[-1], weights_only=True)["global_step"]) if files else 0

    def run(self, interrupt: "Interrupt | None" = None) -> Ended:
        """Run to its end, interrupted or not, by the one command that starts and goes on."""
        arguments = [*self.arguments, f"run.output_dir={self.output}", "--resume", "auto"]
        out, err = self.log.with_suffix(".out"), self.log.with_suffix(".err")
        with out.open("w") as stdout, err.open("w") as stderr:
            process = (Forked if self.is_forked else spawn)(arguments, stdout, stderr, self._limit)
            try:
                signalled, seconds = watch(process, err, interrupt)
            finally:
                clean_up(process.pid)
        assert process.returncode is not None
        return Ended(process.returncode, out.read_text(), err.read_text(), signalled, seconds)

    def _limit(self) -> None:
        if self.file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_bytes, self.file_bytes))


def run_case(number: int, seed: int, work: Path) -> Row:
    """One chain; what chaos.py expects, and the seconds from the first signal to the exit of each that was asked to."""
    plan = draw(number, seed)
    recipe = work / "tiny.yaml"
    recipe.write_text(RECIPE.replace("SET", str(motion_set())))
    arguments = ["train", "--config", str(recipe), *plan.overrides]
    is_forked = kind_of(plan) == "one process" and number % 4 != 0
    exits: list[float] = []
    done = [f"{kind} in {where}" for kind, where in plan.interruptions]
    row: Row = {
        "what": "training, " + ("full disk" if plan.is_disk_full else kind_of(plan)),
        "recipe": plan.overrides, "interruptions": done, "exit_seconds": exits,
    }  # fmt: skip
    try:
        untouched = Training(arguments, work / "untouched", work / "untouched.log", is_forked)
        reference = finished(untouched.run())
        with room(work / "runs", is_small=plan.is_disk_full) as disk:
            chain = Training(arguments, work / "runs", work / "chain.log", is_forked, exits=exits)
            if plan.is_disk_full:
                row["disk"] = fill(chain, disk, (reference / "last.ckpt").stat().st_size, plan.rng)
            for kind, where in plan.interruptions:
                interrupt(chain, kind, where, plan)
            differences = compare(reference, finished(chain.run()))
    except Broken as broken:
        return row | {"ok": False, "why": str(broken)}
    return row | {"ok": not differences, "why": "; ".join(differences)}


def draw(number: int, seed: int) -> Plan:
    rng = random.Random(f"{seed}/{number}")
    devices = 2 if number % 5 == 4 else 1
    accumulate = rng.choice((1, 2, 3))
    overrides = [
        f"data.workers={rng.choice((0, 2))}",
        f"run.devices={devices}",
        f"run.seed={rng.randrange(1000)}",
        f"train.epochs={EPOCHS}",
        f"train.effective_batch={BATCH * devices * accumulate}",
        f"train.val_every={rng.choice((1, 1, 2))}",
        f"train.checkpoint_every={rng.choice((1, 2, 5, 500))}",
        f"train.repeated_aug={rng.choice((1, 1, 2))}",
        f"logger.tensorboard={rng.choice(('true', 'false'))}",
        rng.choice(("augment.mixup=0", "augment.mixup=0.8", "augment.cutmix=1.0")),
        rng.choice(("train.budget_set=[]", "train.budget_set=[2x2,3x3,4x4]")),
    ]
    repeats = int(overrides[7].split("=")[1])
    num_batches = int(0.8 * CLIPS) // (BATCH // repeats * devices)
    steps = num_batches // accumulate
    kinds = ("kill -9", "SIGINT", "SIGTERM", "SIGTERM to the group")
    places = ("start-up", "training", "training", "validation")
    is_disk_full = number % 5 == 2
    count = rng.randint(0, 1) if is_disk_full else rng.randint(1, 2 if devices == 2 else 4)
    return Plan(overrides, steps, is_disk_full, [(rng.choice(kinds), rng.choice(places)) for _ in range(count)], rng)


def kind_of(plan: Plan) -> str:
    return "two processes" if "run.devices=2" in plan.overrides else "one process"


def interrupt(chain: Training, kind: str, where: str, plan: Plan) -> None:
    """Interrupt once, and check how it ended."""
    rng, done, per_epoch = plan.rng, chain.steps_done(), plan.steps_per_epoch
    ends = [step for step in range(per_epoch, EPOCHS * per_epoch + 1, per_epoch) if step > done]
    if where == "start-up" or not ends:
        when = Interrupt(kind, "run ", rng.uniform(0, 2))
    elif where == "training":
        when = Interrupt(kind, f"step {rng.randint(done + 1, ends[-1])}/", rng.uniform(0, 0.1))
    else:
        when = Interrupt(kind, f"step {rng.choice(ends)}/", rng.uniform(0, 0.4))
    ended = chain.run(when)
    if not ended.signalled or ended.stdout.strip():  # it had gone further than that already, or was done
        if ended.code != 0 and not ended.signalled:
            raise Broken(f"exit {ended.code} without a signal: {last_line(ended)}")
        return
    if kind == "kill -9":
        return  # workers may say what they like about it
    if "Traceback" in ended.stderr:
        raise Broken(f"{kind} in {where}: a traceback: {last_line(ended)}")
    assert ended.seconds is not None
    chain.exits.append(round(ended.seconds, 2))
    if ended.code != 130:
        raise Broken(f"{kind} in {where}: exit {ended.code}: {last_line(ended)}")
    if ended.stderr.count("error: interrupted") != 1:
        raise Broken(f"{kind} in {where}: not one line that says so: {last_line(ended)}")


def fill(chain: Training, disk: Path | None, checkpoint_bytes: int, rng: random.Random) -> str:
    """Train until the disk is full, check how it ended, and make room again; how the disk was filled."""
    share = rng.uniform(0.3, 2.7)
    if disk is None:
        chain.file_bytes = int(0.6 * checkpoint_bytes)
    else:
        ballast = disk / "ballast"
        with ballast.open("wb") as stream:
            stream.write(bytes(shutil.disk_usage(disk).free - int(share * checkpoint_bytes) - 65536))
    ended = chain.run()
    chain.file_bytes = None
    if disk is not None:
        ballast.unlink()
    if ended.code != 5 or "Traceback" in ended.stderr or ended.stderr.count("error: ") != 1:
        raise Broken(f"full disk: exit {ended.code}: {last_line(ended)}")
    if parts := list(chain.output.rglob(".*.part")):
        raise Broken(f"full disk: {parts[0].name} was left")
    if chain.has_checkpoint() and "the newest checkpoint is " not in ended.stderr:
        raise Broken(f"full disk: does not name the newest checkpoint: {last_line(ended)}")
    return "a limit on file sizes" if disk is None else f"room for {share:.2f} checkpoints"


@contextmanager
def room(folder: Path, *, is_small: bool) -> Iterator[Path | None]:
    """A file system of its own for the runs where that is allowed; yields None where not, or none is wanted."""
    folder.mkdir()
    mounted = is_small and os.geteuid() == 0
    if mounted:
        command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def finished(ended: Ended) -> Path:
    """The run folder of a training that came to its end. Raises Broken."""
    if ended.code != 0 or "Traceback" in ended.stderr:
        raise Broken(f"exit {ended.code}: {last_line(ended)}")
    return Path(ended.stdout.splitlines()[0])


def last_line(ended: Ended) -> str:
    return (ended.stderr.strip().splitlines() or ["nothing on stderr"])[-1]


def compare(reference: Path, run: Path) -> list[str]:
    """What differs between two finished runs."""
    differences = [f"{path.name} was left" for path in run.rglob(".*.part")]
    for name in ("last.ckpt", "best.ckpt"):
        differences += [f"{name}: {key} differs" for key in compare_checkpoints(reference / name, run / name)]
    return differences + compare_metrics(read_metrics(reference), read_metrics(run))


def compare_checkpoints(reference: Path, run: Path) -> list[str]:
    import torch

    ours, theirs = (torch.load(path, weights_only=True) for path in (run, reference))
    keys = ("global_step", "state_dict", "optimizer_states", "lr_schedulers", "callbacks", "vidtok")
    return [key for key in keys if not is_equal(ours[key], theirs[key])]


def is_equal(one: Any, other: Any) -> bool:
    """Equality to the bit through dicts and lists."""
    import torch

    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_equal, one, other))
    return bool(one == other)


def read_metrics(run: Path) -> list[Row]:
    with (run / "metrics.csv").open(newline="") as stream:
        return [{key: value for key, value in row.items() if key not in TIMED} for row in csv.DictReader(stream)]


def compare_metrics(reference: list[Row], run: list[Row]) -> list[str]:
    if len(reference) != len(run):
        return [f"metrics.csv has {len(run)} rows instead of {len(reference)}"]
    pairs = zip(run, reference, strict=True)
    return next(([f"metrics.csv: {row} instead of {wanted}"] for row, wanted in pairs if row != wanted), [])


def motion_set() -> Path:
    """Real mp4 clips, made once for each version of what writes them."""
    from vidtok.data import motion, synthetic

    sources = b"".join(Path(str(module.__file__)).read_bytes() for module in (motion, synthetic))
    digest = hashlib.sha256(sources).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"vidtok-chaos-{os.getuid()}-{digest}"
    make: Callable[..., Path] = synthetic.write_motion_set
    if not folder.is_dir():
        fresh = Path(tempfile.mkdtemp(prefix="vidtok-chaos-")) / "set"
        make(fresh, clips=CLIPS, seed=1, size=32, frames=12, processes=1)
        try:
            fresh.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(fresh)
    return folder
