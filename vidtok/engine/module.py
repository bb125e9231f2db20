"""One training and validation step. Shapes: B batch, R heads, C classes."""

from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, distributed
from torch.nn import functional as F
from torchmetrics import MeanMetric, Metric, MetricCollection, SumMetric
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.utilities import dim_zero_cat

from vidtok.config import AugmentConfig, TrainConfig
from vidtok.data.mix import draw_mix, mix_batch
from vidtok.data.seeding import Purpose, keyed_rng
from vidtok.data.transforms import normalise
from vidtok.data.yuv import yuv420_to_rgb
from vidtok.engine.budgets import BudgetSchedule
from vidtok.engine.metrics import mean_average_precision
from vidtok.engine.optim import build_optimizer, build_schedule
from vidtok.models.backbones import VideoModel
from vidtok.models.checkpoint import describe


class ClassificationModule(L.LightningModule):
    """Cross-entropy over the model's heads; top-1 and top-5 on single centre views.

    A multi-label model has binary cross-entropy, averaged over classes, and mean average precision instead.

    All randomness of a step (drop path, mixing of clips, the drawn budget) is a function of (seed, step, rank),
    never of what ran before, so that a resumed run repeats an uninterrupted one.

    Attributes:
        step_lr: learning rate of the last step.
        validation: results of the last validation by name.
        owes_validation: an epoch is over and its validation is not made yet.
    """

    def __init__(
        self,
        model: VideoModel,
        config: TrainConfig,
        *,
        augment: AugmentConfig | None = None,
        seed: int,
        steps_per_epoch: int,
        total_steps: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.config, self.augment, self.seed = config, augment or AugmentConfig(), seed
        self.steps_per_epoch, self.total_steps = steps_per_epoch, total_steps
        self.budgets = BudgetSchedule(model, config, seed=seed, steps_per_epoch=steps_per_epoch)
        self.is_compiled = False
        self.heads = model.forward_heads
        # metrics whose first values happen to agree would be taken for one another by compute groups
        self.val_top = MetricCollection(_metrics(model), prefix="val/", postfix="@1x1", compute_groups=False)
        self.val_loss, self.val_scored = MeanMetric(), SumMetric()
        self.val_unreadable, self.val_not_finite = SumMetric(), SumMetric()
        self.step_lr = 0.0
        self.validation: dict[str, float] = {}
        self.owes_validation = False
        self._step_sums: list[Tensor] = []
        model.set_grad_checkpointing(config.grad_checkpointing)

    def compile_heads(self) -> None:
        """Compile the forward pass; one graph per budget and mode."""
        self.is_compiled = True
        graphs = 2 * self.budgets.num_graphs + 2
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, graphs)
        self.heads = torch.compile(self.model.forward_heads, fullgraph=True, dynamic=False)

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            self._step_sums.clear()
        step_seed = np.random.SeedSequence((self.seed, self.global_step, batch_idx, self.global_rank))
        torch.manual_seed(int(step_seed.generate_state(1)[0]))
        budget = self.budgets.at(self.global_step, compiled=self.is_compiled)
        if budget is not None:
            self.model.set_budget(budget)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        clips, targets = self._mixed(batch, batch_idx)
        losses = self._losses(clips, targets, smoothing=self.config.smoothing)
        valid = batch["valid"].to(losses.dtype)
        self._step_sums.append(torch.stack(((losses.detach() * valid).sum(), valid.sum())))  # [2]
        return (losses * valid).sum() / valid.sum().clamp(min=1)

    def step_loss(self) -> float:
        """Mean loss of the readable clips of the last step, over its batches and all ranks, which all have to ask.

        NaN when it had none.
        """
        total = torch.stack(self._step_sums).double().sum(0)  # [2]
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(total)
        return float(total[0] / total[1])

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.step_lr = optimizer.param_groups[0]["lr"]

    def _mixed(self, batch: dict[str, Any], batch_idx: int) -> tuple[Tensor, Tensor]:
        """Normalised clips and what they show: classes int64 [B]; shares of classes float [B, C] after mixing."""
        clips, targets = self._normalised(batch["clip"], batch.get("matrix")), batch["label"]
        rng = keyed_rng(Purpose.MIX, self.seed, self.global_step, batch_idx, self.global_rank)
        mix = draw_mix(self.augment, size=clips.shape[-1], rng=rng)
        if mix is None:
            return clips, targets
        shares = targets if self.model.multi_label else F.one_hot(targets, self.model.num_classes).to(clips.dtype)
        return mix_batch(clips, shares, batch["valid"], mix)

    def _losses(self, clips: Tensor, targets: Tensor, *, smoothing: float = 0.0) -> Tensor:
        """Weighted sum of the heads' cross-entropies in float32, per sample [B]; shares are smoothed as classes are."""
        logits = self.heads(clips).float()  # [R, B, C]
        weights = self.model.loss_weights
        losses = [self._loss(head, targets, smoothing) for head in logits]
        return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum(0)

    def _loss(self, logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Logits [B, C] against classes [B] or shares [B, C]: the loss per sample [B]."""
        if not self.model.multi_label:
            return F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
        smooth = targets * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, smooth, reduction="none").mean(-1)

    def _normalised(self, clips: Tensor, matrix: Tensor | None = None) -> Tensor:
        """uint8 [B, 3, T, S, S], or planes [B, T, S * 3 / 2, S] with their maps to RGB [B, 3, 4] -> float."""
        if matrix is not None:
            clips = yuv420_to_rgb(clips, matrix)
        return normalise(clips, self.model.preprocessing.mean, self.model.preprocessing.std)

    def _use_own_budget(self) -> None:
        if self.budgets.target is not None:
            self.model.set_budget(self.budgets.target)

    def on_validation_epoch_start(self) -> None:
        self._use_own_budget()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        logits = self.model.answer(self.heads(self._normalised(batch["views"][:, 0]))).float()
        is_finite = logits.isfinite().all(-1)
        keep = batch["valid"].bool() & is_finite
        if keep.any():
            self.val_top.update(logits[keep], batch["label"][keep].long())
            self.val_loss.update(self._loss(logits[keep], batch["label"][keep]))
        self.val_scored.update(keep.sum())
        self.val_unreadable.update(sum(map(bool, batch["error"])))
        self.val_not_finite.update((batch["valid"].bool() & ~is_finite).sum())

    def on_validation_epoch_end(self) -> None:
        """Join the ranks. Where no video has scores there is no accuracy and no loss; NaN is never a score."""
        self.validation = {"val/unreadable": float(self.val_unreadable.compute())}
        if (not_finite := float(self.val_not_finite.compute())) > 0:
            self.validation["val/not_finite"] = not_finite
        if self.val_scored.compute() > 0:
            results = self.val_top.compute() | {"val/loss": self.val_loss.compute()}
            self.validation |= {key: float(value) for key, value in results.items()}
        for metric in (self.val_top, self.val_loss, self.val_scored, self.val_unreadable, self.val_not_finite):
            metric.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = build_optimizer(self.model, self.config)
        schedule = build_schedule(
            optimizer, self.config, steps_per_epoch=self.steps_per_epoch, total_steps=self.total_steps
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        drawn = self.model.budget
        self._use_own_budget()
        validation = "pending" if self.owes_validation else "done"
        checkpoint["vidtok"] = describe(self.model) | {"validation": validation}
        if drawn is not None:
            self.model.set_budget(drawn)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.owes_validation = checkpoint["vidtok"].get("validation") == "pending"


class MeanAveragePrecision(Metric):
    """:func:`mean_average_precision` over all batches and ranks; torchmetrics' own counts classes without videos."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("targets", default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, targets: Tensor) -> None:
        """Take scores and 0/1 targets [B, C]."""
        self.scores.append(scores)
        self.targets.append(targets)

    def compute(self) -> Tensor:
        scores, targets = (dim_zero_cat(state).cpu().numpy() for state in (self.scores, self.targets))
        return torch.tensor(mean_average_precision(scores, targets), device=self.device)


class MeanClassAccuracy(Metric):
    """Top-1 of each class, averaged over the classes that have videos; torchmetrics' own counts classes without."""

    full_state_update = False

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.add_state("hits", default=torch.zeros(num_classes), dist_reduce_fx="sum")
        self.add_state("counts", default=torch.zeros(num_classes), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take logits [B, C] and classes [B]."""
        self.hits += torch.bincount(labels[logits.argmax(-1) == labels], minlength=len(self.hits))
        self.counts += torch.bincount(labels, minlength=len(self.counts))

    def compute(self) -> Tensor:
        occurs = self.counts > 0
        return (self.hits[occurs] / self.counts[occurs]).mean()


def _metrics(model: VideoModel) -> dict[str, Metric]:
    if model.multi_label:
        return {"map": MeanAveragePrecision()}
    ks = (k for k in (1, 5) if k <= model.num_classes)
    tops = {f"top{k}": MulticlassAccuracy(model.num_classes, top_k=k, average="micro") for k in ks}
    return tops | {"mean_class_top1": MeanClassAccuracy(model.num_classes)}
