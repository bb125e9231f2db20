"""One training and validation step. Shapes: B batch, R heads, C classes."""

from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from vidtok.config import Budget, TrainConfig
from vidtok.data.transforms import normalise
from vidtok.engine.optim import build_optimizer, build_schedule
from vidtok.models.backbones import VideoModel
from vidtok.models.checkpoint import describe


class ClassificationModule(L.LightningModule):
    """Cross-entropy over the model's heads; top-1 and top-5 on single centre views.

    All randomness of a step (drop path, the drawn budget) is a function of (seed, step, rank), never of
    what ran before, so that a resumed run repeats an uninterrupted one.
    """

    def __init__(
        self, model: VideoModel, config: TrainConfig, *, seed: int, steps_per_epoch: int, total_steps: int
    ) -> None:
        super().__init__()
        self.model = model
        self.config, self.seed = config, seed
        self.steps_per_epoch, self.total_steps = steps_per_epoch, total_steps
        self.own_budget = model.budget
        for budget in config.budget_set:  # a wrong one must stop the run before its first step
            model.set_budget(budget)
        self._use_own_budget()
        self.heads = model.forward_heads
        self.val_top = MetricCollection(
            {f"top{k}": MulticlassAccuracy(model.num_classes, top_k=k, average="micro") for k in _ks(model)},
            prefix="val/",
            postfix="@1x1",
        )
        self.val_loss = MeanMetric()
        model.set_grad_checkpointing(config.grad_checkpointing)

    def compile_heads(self) -> None:
        """Compile the forward pass; one graph per budget and mode."""
        rungs = max(len(self.config.budget_set), 1)
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 2 * rungs + 2)
        self.heads = torch.compile(self.model.forward_heads, fullgraph=True, dynamic=False)

    def draw_budget(self, step: int) -> Budget | None:
        """The budget of optimiser step ``step``: one uniform draw, the same on every rank."""
        if not self.config.budget_set:
            return None
        choice = np.random.default_rng((self.seed, step)).integers(len(self.config.budget_set))
        return self.config.budget_set[int(choice)]

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        step_seed = np.random.SeedSequence((self.seed, self.global_step, batch_idx, self.global_rank))
        torch.manual_seed(int(step_seed.generate_state(1)[0]))
        budget = self.draw_budget(self.global_step)
        if budget is not None:
            self.model.set_budget(budget)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        losses = self._losses(batch, smoothing=self.config.smoothing)
        valid = batch["valid"].to(losses.dtype)
        return (losses * valid).sum() / valid.sum().clamp(min=1)

    def _losses(self, batch: dict[str, Any], *, smoothing: float = 0.0) -> Tensor:
        """Weighted sum of the heads' cross-entropies in float32, per sample [B]."""
        logits = self.heads(self._normalised(batch["clip"])).float()  # [R, B, C]
        weights = self.model.loss_weights
        losses = [F.cross_entropy(head, batch["label"], label_smoothing=smoothing, reduction="none") for head in logits]
        return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum(0)

    def _normalised(self, clips: Tensor) -> Tensor:
        """uint8 [B, 3, T, S, S] -> float."""
        return normalise(clips, self.model.preprocessing.mean, self.model.preprocessing.std)

    def _use_own_budget(self) -> None:
        if self.own_budget is not None:
            self.model.set_budget(self.own_budget)

    def on_validation_epoch_start(self) -> None:
        self._use_own_budget()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        logits = self.model.answer(self.heads(self._normalised(batch["views"][:, 0]))).float()
        keep = batch["valid"].bool()
        self.val_top.update(logits[keep], batch["label"][keep])
        self.val_loss.update(F.cross_entropy(logits[keep], batch["label"][keep], reduction="none"))

    def on_validation_epoch_end(self) -> None:
        # compute() has joined the ranks already: the mean of equal values changes nothing
        self.log_dict(self.val_top.compute() | {"val/loss": self.val_loss.compute()}, sync_dist=True)
        self.val_top.reset()
        self.val_loss.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = build_optimizer(self.model, self.config)
        schedule = build_schedule(
            optimizer, self.config, steps_per_epoch=self.steps_per_epoch, total_steps=self.total_steps
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        drawn = self.model.budget
        self._use_own_budget()
        checkpoint["vidtok"] = describe(self.model)
        if drawn is not None:
            self.model.set_budget(drawn)


def _ks(model: VideoModel) -> list[int]:
    return [k for k in (1, 5) if k <= model.num_classes]
