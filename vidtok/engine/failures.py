"""What ends a training that cannot be right: too many unreadable videos, a loss that is not finite. On all ranks."""

import io
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from vidtok.data.datamodule import ClipDataModule
from vidtok.data.quarantine import Failure
from vidtok.engine.ranks import SharedSum, gather
from vidtok.errors import DivergedError
from vidtok.outputs import refusal


class FailureBudget(L.Callback):
    """Hands what loader workers could not read to the quarantine, which stops the run when it is too much.

    Several ranks count together: how many failures are new is summed while the step runs, and only when there are any
    do the ranks tell each other which.
    """

    def __init__(self, data: ClipDataModule) -> None:
        self.data = data
        self._met: list[Failure] = []
        self._count: SharedSum | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        self._settle()
        self._meet(batch, "train")
        self._share(pl_module)
        if trainer.world_size == 1:
            self._settle()

    def on_validation_start(self, trainer: Trainer, pl_module: L.LightningModule) -> None:
        self._settle()

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._meet(batch, "val")
        if trainer.world_size == 1:  # ranks have different numbers of batches: they share after the last one
            self._share(pl_module)
            self._settle()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: L.LightningModule) -> None:
        self._share(pl_module)
        self._settle()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: L.LightningModule) -> None:
        self._settle()

    def _meet(self, batch: Any, stage: str) -> None:
        known = {path for path, _, _ in self._met}
        self._met += [failure for failure in self.data.quarantine.unknown(batch, stage) if failure[0] not in known]

    def _share(self, pl_module: L.LightningModule) -> None:
        self._count = SharedSum(float(len(self._met)), pl_module.device)

    def _settle(self) -> None:
        """Write down what all ranks have met. Raises DataError, on all of them."""
        if self._count is None:
            return
        count, self._count = self._count, None
        if not count.read():
            return
        met, self._met = self._met, []
        for failure in gather(met):
            self.data.quarantine.note(*failure)
        self.data.quarantine.check()


class StopOnDivergence(L.Callback):
    """Stops all ranks, with the culprit batch on disk, when the loss of one is not finite.

    The loss of a step is read one step later, when the device has long finished it, so that no step waits.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last: tuple[int, Tensor, dict[str, Any], SharedSum] | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._check(trainer)
        loss = outputs["loss"].detach()
        self._last = trainer.global_step, loss, batch, SharedSum((~torch.isfinite(loss)).float(), loss.device)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: L.LightningModule) -> None:
        self._check(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        """Raises DivergedError, on all ranks; only those that met the loss write their batch."""
        if self._last is None:
            return
        step, loss, batch, shared = self._last
        self._last = None
        if not shared.read():
            return
        own = None
        if not bool(torch.isfinite(loss)):
            rank = f"_rank{trainer.global_rank}" if trainer.world_size > 1 else ""
            own = f"loss is {float(loss)} at step {step}{rank.replace('_rank', ' of rank ')}; " + keep_batch(
                batch, self.folder / f"diverged_step{step}{rank}.pt"
            )
        culprits = [text for text in gather([own]) if text is not None]
        raise DivergedError(f"{culprits[0]}; lower train.lr")


def keep_batch(batch: dict[str, Any], path: Path) -> str:
    """Write a batch for a look at it, and say where it is; that it has no place is not worth more than a word."""
    content = io.BytesIO()
    torch.save(batch, content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.getbuffer())
    except OSError as error:
        return f"its batch is lost ({refusal(error) or error})"
    return f"its batch is in {path}"
