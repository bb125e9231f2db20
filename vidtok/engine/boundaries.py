"""Where a step or an epoch ends: the one place where training may stop, be saved and be validated."""

import sys
import time
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch import Trainer

from vidtok.engine.checkpoints import CheckpointFiles
from vidtok.engine.interruption import Interruption
from vidtok.engine.module import ClassificationModule
from vidtok.engine.runlog import log_row
from vidtok.errors import ConfigError, EnvironmentFault, Interrupted

MONITORS = ("val/top1@1x1", "val/map@1x1")


def is_step_end(trainer: Trainer, batch_idx: int) -> bool:
    """Whether an optimiser step ended with this batch, so that no gradient is under way.

    The last batch of an epoch ends one, also in an epoch that is shorter than what a step accumulates.
    """
    done = batch_idx + 1
    return done % trainer.accumulate_grad_batches == 0 or done == trainer.num_training_batches


class Boundaries(L.Callback):
    """Ends steps, epochs and the training. Lightning is told of no other limit, validation or checkpoint.

    A checkpoint may be written at the end of every optimiser step. At the end of an epoch it waits until Lightning has
    counted the epoch, and is written before the validation, which it marks as pending, and again after it; a
    training that goes on from a pending one validates first. So what is done between two checkpoints is done again
    in full or not at all. All ranks decide together.

    Args:
        files: where checkpoints are written.
        interruption: who asks to stop.
        total_steps: optimiser steps of the whole training.
        val_every: epochs between validations; 0 for none at all.
        every_steps: steps between checkpoints.
        every_seconds: time between checkpoints, for long steps.
    """

    def __init__(
        self,
        files: CheckpointFiles,
        interruption: Interruption,
        *,
        total_steps: int,
        val_every: int,
        every_steps: int,
        every_seconds: float,
    ) -> None:
        self.files, self.interruption = files, interruption
        self.total_steps, self.val_every = total_steps, val_every
        self.every_steps, self.every_seconds = every_steps, every_seconds
        self.best = float("-inf")
        self._agreement = Agreement()

    @property
    def state_key(self) -> str:
        return "Checkpoints"

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def setup(self, trainer: Trainer, pl_module: L.LightningModule, stage: str) -> None:
        launcher = trainer.strategy.launcher
        self.interruption.pass_on = launcher.kill if launcher is not None else None
        self.interruption.install()

    def on_train_start(self, trainer: Trainer, pl_module: ClassificationModule) -> None:
        self.interruption.install()
        self._saved_at = time.monotonic()
        if trainer.global_step > self.total_steps:
            raise ConfigError(
                f"the checkpoint is at step {trainer.global_step}, but train.epochs and train.max_steps end at "
                f"{self.total_steps}; raise them"
            )
        if pl_module.owes_validation:
            self._validate(trainer, pl_module)
        trainer.should_stop = trainer.global_step == self.total_steps
        self.interruption.is_deferred = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: ClassificationModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not is_step_end(trainer, batch_idx):
            return
        step = trainer.global_step
        assert step <= self.total_steps, (step, self.total_steps)
        trainer.should_stop = step == self.total_steps
        if step % pl_module.steps_per_epoch == 0:
            return  # the epoch's end follows
        is_late = time.monotonic() - self._saved_at > self.every_seconds
        stops, is_due = self._agreement.any(self.interruption.is_requested, is_late or step % self.every_steps == 0)
        if stops or is_due or trainer.should_stop:
            self._save(trainer, pl_module)
        if stops:
            raise self.interruption.error(f"at step {step}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: ClassificationModule) -> None:
        if trainer.global_step % pl_module.steps_per_epoch:
            return  # train.max_steps ended in the middle of it
        epochs = trainer.global_step // pl_module.steps_per_epoch
        pl_module.owes_validation = self.val_every > 0 and epochs % self.val_every == 0
        self._save(trainer, pl_module)
        self._stop_if_asked(trainer)
        if pl_module.owes_validation:
            self._validate(trainer, pl_module)
            self._stop_if_asked(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: L.LightningModule) -> None:
        self._stop_if_asked(trainer)
        self.interruption.is_deferred, self.interruption.where = False, "after the last step"

    def on_exception(self, trainer: Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """A crash is told with what is left of the training."""
        if isinstance(exception, Exception) and not isinstance(exception, Interrupted) and trainer.is_global_zero:
            print(f"training stopped at step {trainer.global_step}; {self._left()}", file=sys.stderr, flush=True)

    def _validate(self, trainer: Trainer, pl_module: ClassificationModule) -> None:
        """Validate, log, and write the checkpoint that says so."""
        with self.interruption.at_once("during the validation"):
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True
        log_row(trainer, pl_module, pl_module.validation)
        score = next((pl_module.validation[name] for name in MONITORS if name in pl_module.validation), None)
        is_best = score is not None and score > self.best
        self.best = score if is_best else self.best
        pl_module.owes_validation = False
        self._save(trainer, pl_module, is_best=is_best)

    def _save(self, trainer: Trainer, pl_module: ClassificationModule, *, is_best: bool = False) -> None:
        """Write the checkpoint of this moment. Raises EnvironmentFault on all ranks when the first one could not."""
        trainer.save_checkpoint(self.files.part, weights_only=False)
        if trainer.is_global_zero:
            self.files.publish(is_best=is_best)
        self._saved_at = time.monotonic()
        if self._agreement.any(self.files.fault is not None)[0]:
            cause = self.files.fault.strerror if self.files.fault else "see the first process"
            raise EnvironmentFault(f"cannot write a checkpoint into {self.files.folder}: {cause}; {self._left()}")

    def _stop_if_asked(self, trainer: Trainer) -> None:
        if self._agreement.any(self.interruption.is_requested)[0]:
            raise self.interruption.error(f"at step {trainer.global_step}")

    def _left(self) -> str:
        newest = self.files.newest()
        return f"the newest checkpoint is {newest}" if newest else "there is no checkpoint yet"


class Agreement:
    """Lets all ranks answer as one: yes when any of them says yes."""

    def __init__(self) -> None:
        self._group: dist.ProcessGroup | None = None

    def any(self, *answers: bool) -> list[bool]:
        """For each question, whether any rank's answer is yes; every rank has to ask."""
        if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
            return list(answers)
        if self._group is None:  # of its own on the CPU, so that no device is waited for
            self._group = dist.new_group(backend="gloo")
        flags = torch.tensor(answers, dtype=torch.int32)
        dist.all_reduce(flags, dist.ReduceOp.MAX, group=self._group)
        return [bool(flag) for flag in flags]
