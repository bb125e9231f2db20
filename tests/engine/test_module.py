"""One training step: what is mixed, what is masked, and what the loss is."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tests.models.tiny import CLASSES, perturb, tiny_model
from vidtok.config import AugmentConfig, TrainConfig
from vidtok.engine.module import ClassificationModule

BATCH = 6


def module(
    *, smoothing: float = 0.0, seed: int = 0, compressor: Any = "none", **augment: float
) -> ClassificationModule:
    torch.manual_seed(0)
    model = tiny_model("vivit_fe", patch=8, compressor=compressor)
    perturb(model, 0.3)
    return ClassificationModule(
        model,
        TrainConfig(smoothing=smoothing),
        augment=AugmentConfig(**augment),
        seed=seed,
        steps_per_epoch=10,
        total_steps=100,
    )


def batch(*, valid: tuple[bool, ...] = (True,) * BATCH) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    clip = torch.randint(0, 256, (BATCH, 3, 4, 32, 32), dtype=torch.uint8, generator=generator)
    clip[~torch.tensor(valid)] = 0
    return {"clip": clip, "label": torch.arange(BATCH) % CLASSES, "valid": torch.tensor(valid)}


def test_without_mixing_the_loss_is_the_smoothed_cross_entropy() -> None:
    step, samples = module(smoothing=0.1), batch()
    logits = step.heads(step._normalised(samples["clip"]))[0]
    expected = F.cross_entropy(logits, samples["label"], label_smoothing=0.1)
    torch.testing.assert_close(step.training_step(samples, 0), expected)


def timm_targets(labels: torch.Tensor, share: float, smoothing: float) -> torch.Tensor:
    """timm's mixup_target: smoothed one-hot rows, mixed with those of the reversed batch."""
    off = smoothing / CLASSES
    rows = torch.full((len(labels), CLASSES), off)
    rows[range(len(labels)), labels] = 1 - smoothing + off
    return rows * share + rows.flip(0) * (1 - share)


def test_mixing_and_smoothing_combine_as_in_timm() -> None:
    step, samples = module(smoothing=0.1, mixup=0.8), batch()
    clips, targets = step._mixed(samples, 0)
    share = float(targets[0, 0])  # classes 0 and 2 in the first pair
    plain = step._normalised(samples["clip"])
    torch.testing.assert_close(clips, plain * share + plain.flip(0) * (1 - share))
    logits = step.heads(clips)[0]
    soft = timm_targets(samples["label"], share, 0.1)
    expected = -(soft * logits.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(step.training_step(samples, 0), expected)


def test_mixing_is_a_function_of_seed_and_step() -> None:
    def losses(seed: int, batches: range) -> list[float]:
        steps = (module(seed=seed, mixup=0.8, cutmix=1.0).training_step(batch(), number) for number in batches)
        return [loss.item() for loss in steps]

    assert losses(0, range(4)) == losses(0, range(4))
    assert len(set(losses(0, range(4)))) == 4
    assert losses(0, range(4)) != losses(1, range(4))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_an_unreadable_video_takes_no_part_in_mixing_or_loss(kind: str) -> None:
    step = module(**{kind: 1.0})
    broken = batch(valid=(True, False, True, True, True, True))
    loss = step.training_step(broken, 0)
    other = {**broken, "clip": broken["clip"].clone(), "label": broken["label"].clone()}
    other["clip"][1] = 77
    other["label"][1] = 2
    assert step.training_step(other, 0) == loss
    clips, targets = step._mixed(broken, 0)
    assert torch.equal(clips[4], step._normalised(broken["clip"])[4])  # its partner stays unmixed
    assert targets[4].tolist() == [0, 1, 0]
    assert not torch.equal(clips[0], step._normalised(broken["clip"])[0])


def test_a_batch_of_unreadable_videos_has_no_loss() -> None:
    assert module(mixup=0.8).training_step(batch(valid=(False,) * BATCH), 0) == 0


def test_all_heads_learn_from_the_mixed_targets() -> None:
    step, samples = module(compressor={"kind": "lookup", "budget": "2x2"}, cutmix=1.0), batch()
    clips, targets = step._mixed(samples, 0)
    heads = step.heads(clips)
    assert len(heads) == len(step.model.loss_weights) == 2
    expected = sum(
        weight * F.cross_entropy(head, targets) for weight, head in zip(step.model.loss_weights, heads, strict=True)
    )
    torch.testing.assert_close(step.training_step(samples, 0), expected)


def validate(step: ClassificationModule, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """The results of a validation whose model answers with these logits."""
    step.heads = lambda clips: logits[None]
    count = len(labels)
    samples = {
        "views": torch.zeros(count, 1, 3, 4, 32, 32, dtype=torch.uint8),
        "label": labels,
        "valid": torch.ones(count, dtype=torch.bool),
        "error": [""] * count,
    }
    step.on_validation_epoch_start()
    step.validation_step(samples, 0)
    step.on_validation_epoch_end()
    return step.validation


def test_scores_that_are_not_finite_are_counted_and_are_no_hits_in_validation() -> None:
    logits = torch.eye(CLASSES)[[0, 1, 1]]
    logits[0] = float("nan")
    found = validate(module(), logits, torch.tensor([0, 1, 0]))
    assert found["val/not_finite"] == 1
    assert found["val/top1@1x1"] == 0.5  # of the two that have scores


def test_the_mean_over_classes_stands_beside_top1_in_validation() -> None:
    always_first = torch.eye(CLASSES)[[0, 0, 0, 0]]
    found = validate(module(), always_first, torch.tensor([0, 0, 0, 1]))
    assert found["val/top1@1x1"] == 0.75
    assert found["val/mean_class_top1@1x1"] == 0.5
    assert "val/not_finite" not in found
