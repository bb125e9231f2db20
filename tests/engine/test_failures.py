"""What ends a training that cannot be right. Several ranks: tests/cli/test_commands.py."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vidtok.engine.failures import StopOnDivergence, keep_batch
from vidtok.errors import DivergedError

TRAINER = SimpleNamespace(global_step=3, global_rank=0, world_size=1)
BATCH = {"clip": torch.zeros(2)}


def test_a_loss_is_judged_one_step_later_and_before_any_checkpoint(tmp_path: Path) -> None:
    stop = StopOnDivergence(tmp_path)
    stop.on_train_batch_end(TRAINER, None, {"loss": torch.tensor(1.0)}, BATCH, 0)
    stop.on_train_batch_end(TRAINER, None, {"loss": torch.tensor(float("nan"))}, BATCH, 1)
    with pytest.raises(DivergedError, match=r"loss is nan at step 3; its batch is in .*diverged_step3\.pt; lower"):
        stop.on_save_checkpoint(TRAINER, None, {})
    assert torch.load(tmp_path / "diverged_step3.pt", weights_only=True)["clip"].shape == (2,)


def test_a_batch_that_cannot_be_kept_does_not_hide_the_divergence(tmp_path: Path) -> None:
    (tmp_path / "full").write_text("")
    assert "its batch is lost (cannot use" in keep_batch(BATCH, tmp_path / "full" / "diverged.pt")
    assert keep_batch(BATCH, tmp_path / "gone" / "diverged.pt").endswith("diverged.pt")
