"""What happens around a training step: log lines, checkpoints, clean interruption."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch import Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vidtok.errors import Interrupted

BEST, LAST = "best.ckpt", "last.ckpt"
MONITORS = ("val/top1@1x1", "val/map@1x1")


def is_step_end(trainer: Trainer, batch_idx: int) -> bool:
    """Whether an optimiser step ended with this batch, so that no gradient is under way.

    The last batch of an epoch ends one, also in an epoch that is shorter than what a step accumulates.
    """
    done = batch_idx + 1
    return done % trainer.accumulate_grad_batches == 0 or done == trainer.num_training_batches


class Checkpoints(L.Callback):
    """``last.ckpt`` every so many steps and after each validation, ``best.ckpt`` when top-1 (or mAP) rises.

    Files appear whole or not at all: they are written beside their name and moved.
    """

    def __init__(self, folder: Path, *, every_steps: int) -> None:
        self.folder, self.every_steps = folder, every_steps
        self.best = float("-inf")

    def save(self, trainer: Trainer, name: str) -> Path:
        target, part = self.folder / name, self.folder / f".{name}.part"
        trainer.save_checkpoint(part)
        if trainer.is_global_zero:
            os.replace(part, target)
        return target

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if is_step_end(trainer, batch_idx) and trainer.global_step % self.every_steps == 0:
            self.save(trainer, LAST)

    def on_validation_end(self, trainer: Trainer, pl_module: L.LightningModule) -> None:
        score = next((trainer.callback_metrics[name] for name in MONITORS if name in trainer.callback_metrics), None)
        if score is not None and float(score) > self.best:
            self.best = float(score)
            self.save(trainer, BEST)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: L.LightningModule) -> None:
        self.save(trainer, LAST)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


class StopOnSignal(L.Callback):
    """On Ctrl-C or SIGTERM: finish the step, write ``last.ckpt``, raise Interrupted.

    Before the first step, and on a second signal, Interrupted is raised at once and nothing is written.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.is_training = False
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def setup(self, trainer: Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._previous[signum] = signal.signal(signum, self._note)

    def on_train_start(self, trainer: Trainer, pl_module: L.LightningModule) -> None:
        self.is_training = True

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.received is not None or not self.is_training:
            raise Interrupted("stopped at once, without a new checkpoint")
        self.received = signum
        print("interrupted: finishing this step and writing a checkpoint ...", file=sys.stderr, flush=True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.received is not None and is_step_end(trainer, batch_idx):
            path = self.checkpoints.save(trainer, LAST)
            raise Interrupted(
                f"interrupted at step {trainer.global_step}; continue with the same command and --resume {path}"
            )

    def teardown(self, trainer: Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)


STARVED_SHARE, STARVED_REPORTS = 0.2, 3
"""Waiting for data is worth a word when it takes more than this share of the time in so many reports running."""


def data_advice(waits: Sequence[float]) -> str | None:
    """What to do about slow data, the moment it has become a habit.

    Args:
        waits: share of its time that the device waited for data, one value for each report so far.
    """
    recent = [share > STARVED_SHARE for share in waits[-STARVED_REPORTS - 1 :]]
    if len(recent) < STARVED_REPORTS or not all(recent[-STARVED_REPORTS:]) or all(recent[:-STARVED_REPORTS] or [False]):
        return None
    return (
        f"training waits for data {100 * waits[-1]:.0f} % of the time: raise data.workers, shrink the files once with "
        "`vidtok data prepare` or raise train.repeated_aug; `vidtok bench data` shows what takes the time"
    )


class Meter(L.Callback):
    """Measures speed and how long the device waited for data, logs both, and shows progress on stderr.

    A bar on a terminal; elsewhere a line every ``every_steps`` and at the end. Says what to do when it is the data that
    is slow.
    """

    def __init__(self, *, every_steps: int, total_steps: int, clips_per_batch: int) -> None:
        self.every_steps, self.total_steps, self.clips_per_batch = every_steps, total_steps, clips_per_batch
        self.bar: Progress | None = None
        self._waits: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: L.LightningModule) -> None:
        self._restart_window()
        self._waiting_since = time.perf_counter()
        if trainer.is_global_zero and sys.stderr.isatty():
            columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, TextColumn("{task.description}"), console=Console(stderr=True))
            self.task = self.bar.add_task("", total=self.total_steps, completed=trainer.global_step)
            self.bar.start()

    def _restart_window(self) -> None:
        self._window_start, self._wait, self._batches = time.perf_counter(), 0.0, 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        self._wait += time.perf_counter() - self._waiting_since

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1
        if self.bar is not None:
            self.bar.update(self.task, completed=trainer.global_step)
        is_due = trainer.global_step % self.every_steps == 0 or trainer.global_step == self.total_steps
        if is_step_end(trainer, batch_idx) and is_due:
            self._report(trainer, pl_module, float(outputs["loss"]))
        self._waiting_since = time.perf_counter()

    def _report(self, trainer: Trainer, pl_module: L.LightningModule, loss: float) -> None:
        seconds = time.perf_counter() - self._window_start
        speed = self._batches * self.clips_per_batch * trainer.world_size / seconds
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        values = {"loss": loss, "lr": lr, "clips_per_s": speed, "data_wait": self._wait / seconds}
        pl_module.log_dict({f"train/{key}": value for key, value in values.items()})
        left = (self.total_steps - trainer.global_step) * seconds / max(self._batches, 1)
        memory = f"  {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if torch.cuda.is_available() else ""
        rate = f"{speed:.1f}" if speed >= 1 else f"{speed:.3f}"
        text = f"loss {loss:.3f}  lr {lr:.2e}  {rate} clips/s  data wait {100 * values['data_wait']:.0f} %{memory}"
        if self.bar is not None:
            self.bar.update(self.task, description=text)
        else:
            eta = left * trainer.accumulate_grad_batches
            say(trainer, f"step {trainer.global_step}/{self.total_steps}  {text}  {eta:.0f} s left")
        self._waits.append(values["data_wait"])
        if advice := data_advice(self._waits):
            say(trainer, advice)
        self._restart_window()

    def on_validation_end(self, trainer: Trainer, pl_module: L.LightningModule) -> None:
        values = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("val/")}
        text = "  ".join(f"{key} {value:.4g}" for key, value in sorted(values.items()))
        say(trainer, f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {text}")
        self._restart_window()
        self._waiting_since = time.perf_counter()

    def teardown(self, trainer: Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.stop()


def say(trainer: Trainer, text: str) -> None:
    """One line on stderr, from the first rank only."""
    if trainer.is_global_zero:
        print(text, file=sys.stderr, flush=True)
