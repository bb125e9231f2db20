"""What happens around a training step: log lines and progress."""

import sys
import time
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch import Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vidtok.engine.boundaries import is_step_end
from vidtok.engine.module import ClassificationModule
from vidtok.engine.runlog import log_row

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

    def __init__(self, *, every_steps: int, total_steps: int, epochs: int, clips_per_batch: int) -> None:
        self.every_steps, self.total_steps, self.epochs = every_steps, total_steps, epochs
        self.clips_per_batch = clips_per_batch
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
        self, trainer: Trainer, pl_module: ClassificationModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1
        if self.bar is not None:
            self.bar.update(self.task, completed=trainer.global_step)
        is_due = trainer.global_step % self.every_steps == 0 or trainer.global_step == self.total_steps
        if is_step_end(trainer, batch_idx) and is_due:
            self._report(trainer, pl_module)
        self._waiting_since = time.perf_counter()

    def _report(self, trainer: Trainer, pl_module: ClassificationModule) -> None:
        seconds = time.perf_counter() - self._window_start
        speed = self._batches * self.clips_per_batch * trainer.world_size / seconds
        loss, lr = pl_module.step_loss(), pl_module.step_lr
        values = {"loss": loss, "lr": lr, "clips_per_s": speed, "data_wait": self._wait / seconds}
        log_row(trainer, pl_module, {f"train/{key}": value for key, value in values.items()})
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

    def on_validation_end(self, trainer: Trainer, pl_module: ClassificationModule) -> None:
        text = "  ".join(f"{key} {value:.4g}" for key, value in sorted(pl_module.validation.items()))
        say(trainer, f"epoch {trainer.global_step // pl_module.steps_per_epoch}/{self.epochs}  {text}")
        self._restart_window()
        self._waiting_since = time.perf_counter()

    def teardown(self, trainer: Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.stop()


def say(trainer: Trainer, text: str) -> None:
    """One line on stderr, from the first rank only."""
    if trainer.is_global_zero:
        print(text, file=sys.stderr, flush=True)
