"""Wherever a training is cut, it goes on to the same end: no step, validation or row twice or never."""

import csv
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.motion import make_recipe
from vidtok.config import Recipe
from vidtok.engine.checkpoints import BEFORE, BEST, LAST, CheckpointFiles
from vidtok.engine.fit import fit
from vidtok.engine.module import ClassificationModule
from vidtok.errors import ConfigError, EnvironmentFault, Interrupted
from vidtok.models.checkpoint import read_ckpt

STEPS, EPOCHS = 6, 2
SETTINGS = ("train.batch_size=4", "train.effective_batch=8", "eval.batch_size=2", "logger.tensorboard=false")


def recipe_in(folder: Path, motion_set: Path, *overrides: str) -> Recipe:
    """6 steps of two batches an epoch, and a validation of 3 batches."""
    return make_recipe(folder, motion_set, *SETTINGS, *overrides)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, motion_set: Path) -> tuple[Path, Path]:
    """An uninterrupted run, and a folder of the run as it was after every checkpoint: 00, 01, ..."""
    folder = tmp_path_factory.mktemp("whole")
    moments, publish = folder / "moments", CheckpointFiles.publish

    def publish_and_keep(files: CheckpointFiles, *, is_best: bool) -> None:
        publish(files, is_best=is_best)
        shutil.copytree(files.folder, moments / f"{len(list(moments.glob('*'))):02d}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointFiles, "publish", publish_and_keep)
        return fit(recipe_in(folder, motion_set, "train.checkpoint_every=1")), moments


def rows(run: Path) -> list[dict[str, str]]:
    timed = ("train/clips_per_s", "train/data_wait")
    with (run / "metrics.csv").open(newline="") as stream:
        return [{key: cell for key, cell in row.items() if key not in timed} for row in csv.DictReader(stream)]


def assert_equal(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def assert_same_end(run: Path, reference: Path) -> None:
    assert rows(run) == rows(reference)
    for name in (LAST, BEST):
        ours, theirs = read_ckpt(run / name), read_ckpt(reference / name)
        for key in ("state_dict", "optimizer_states"):
            assert_equal(ours[key], theirs[key])
        assert [ours[key] for key in ("global_step", "callbacks", "vidtok")] == [
            theirs[key] for key in ("global_step", "callbacks", "vidtok")
        ]


def signal_in(patch: pytest.MonkeyPatch, method: str, *, step: int) -> None:
    """SIGTERM arrives in the second batch of a validation, or of the step after ``step`` steps."""
    original = getattr(ClassificationModule, method)

    def signalled(module: ClassificationModule, batch: dict[str, Any], batch_idx: int) -> Any:
        if module.global_step == step and batch_idx % 2 == 1:
            signal.raise_signal(signal.SIGTERM)
        return original(module, batch, batch_idx)

    patch.setattr(ClassificationModule, method, signalled)


def only_run(folder: Path) -> Path:
    (run,) = (folder / "runs" / "tiny").iterdir()
    return run


def test_an_epoch_is_written_before_its_validation_and_again_after_it(whole: tuple[Path, Path]) -> None:
    entries = [read_ckpt(moment / LAST) for moment in sorted(whole[1].iterdir())]
    steps = [entry["global_step"] for entry in entries]
    assert steps == [1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11, 12, 12]
    pending = [entry["vidtok"]["validation"] == "pending" for entry in entries]
    assert pending == [number in (5, 12) for number in range(14)]


@pytest.mark.parametrize("moment", [3, 5, 6, 12])
def test_a_run_goes_on_from_a_step_an_epoch_and_a_pending_validation(
    whole: tuple[Path, Path], tmp_path: Path, motion_set: Path, moment: int
) -> None:
    goes_on(whole, tmp_path, motion_set, moment)


@pytest.mark.slow
@pytest.mark.parametrize("moment", sorted(set(range(14)) - {3, 5, 6, 12}))
def test_a_run_goes_on_from_every_other_checkpoint(
    whole: tuple[Path, Path], tmp_path: Path, motion_set: Path, moment: int
) -> None:
    goes_on(whole, tmp_path, motion_set, moment)


def goes_on(whole: tuple[Path, Path], tmp_path: Path, motion_set: Path, moment: int) -> None:
    """Rows of later steps are in the file already, as after a kill."""
    reference, moments = whole
    begun = shutil.copytree(moments / f"{moment:02d}", tmp_path / "begun")
    shutil.copy(reference / "metrics.csv", begun)
    assert_same_end(fit(recipe_in(tmp_path, motion_set), resume=str(begun)), reference)


def test_sigterm_in_a_validation_stops_at_once_and_it_is_made_first_afterwards(
    whole: tuple[Path, Path], tmp_path: Path, motion_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_in(tmp_path, motion_set, "train.checkpoint_every=500")
    with monkeypatch.context() as patch:
        signal_in(patch, "validation_step", step=6)
        with pytest.raises(Interrupted, match=r"interrupted during the validation; continue .* --resume .*last\.ckpt"):
            fit(recipe)
    run = only_run(tmp_path)
    assert read_ckpt(run / LAST)["vidtok"]["validation"] == "pending" and not (run / BEST).exists()
    assert_same_end(fit(recipe, resume=str(run)), whole[0])


def test_sigterm_within_an_accumulated_step_ends_it_logs_it_and_writes_it(
    whole: tuple[Path, Path], tmp_path: Path, motion_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_in(tmp_path, motion_set, "train.checkpoint_every=500")
    with monkeypatch.context() as patch:
        signal_in(patch, "training_step", step=2)
        with pytest.raises(Interrupted, match=r"interrupted at step 3; continue"):
            fit(recipe)
    run = only_run(tmp_path)
    assert read_ckpt(run / LAST)["global_step"] == 3
    assert [row["step"] for row in rows(run)] == ["0", "1", "2"]
    assert_same_end(fit(recipe, resume=str(run)), whole[0])


def test_checkpoints_are_written_by_time_as_well(tmp_path: Path, motion_set: Path) -> None:
    overrides = ("train.checkpoint_every=500", "train.checkpoint_minutes=1e-6", "train.max_steps=3")
    run = fit(recipe_in(tmp_path, motion_set, *overrides))
    assert read_ckpt(run / BEFORE)["global_step"] == 2 and read_ckpt(run / LAST)["global_step"] == 3


def test_a_run_that_max_steps_ended_within_an_epoch_goes_on_where_it_was(tmp_path: Path, motion_set: Path) -> None:
    run = fit(recipe_in(tmp_path, motion_set, "train.max_steps=3"))
    fit(recipe_in(tmp_path, motion_set, "train.max_steps=7"), resume=str(run))
    assert [row["step"] for row in rows(run)] == ["0", "1", "2", "3", "4", "5", "5", "6"]
    assert read_ckpt(run / LAST)["global_step"] == 7


def test_a_checkpoint_behind_the_end_is_refused_while_its_validation_is_pending(
    tmp_path: Path, motion_set: Path
) -> None:
    run = fit(recipe_in(tmp_path, motion_set, "train.max_steps=3"))
    content = torch.load(run / LAST, weights_only=True)
    torch.save(content | {"vidtok": content["vidtok"] | {"validation": "pending"}}, run / LAST)
    with pytest.raises(ConfigError, match=r"at step 3, but train\.epochs and train\.max_steps end at 2"):
        fit(recipe_in(tmp_path, motion_set, "train.max_steps=2"), resume=str(run))


def test_a_disk_that_is_full_is_one_line_that_names_the_newest_checkpoint(
    tmp_path: Path, motion_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, fsync = [0], os.fsync

    def until_full(descriptor: int) -> None:
        saved[0] += 1
        if saved[0] > 4:  # the file and its folder, twice
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", until_full)
    with pytest.raises(EnvironmentFault, match=r"cannot write a checkpoint .*No space left.*newest .* is .*last\.ckpt"):
        fit(recipe_in(tmp_path, motion_set, "train.checkpoint_every=1"))
    run = only_run(tmp_path)
    assert read_ckpt(run / LAST)["global_step"] == 2 and not list(run.glob(".*"))


def test_a_crash_names_the_newest_checkpoint(
    tmp_path: Path, motion_set: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = ClassificationModule.training_step

    def break_down(module: ClassificationModule, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        if module.global_step == 3:
            raise RuntimeError("a bug")
        return step(module, batch, batch_idx)

    monkeypatch.setattr(ClassificationModule, "training_step", break_down)
    with pytest.raises(RuntimeError, match="a bug"):
        fit(recipe_in(tmp_path, motion_set, "train.checkpoint_every=2"))
    assert (
        f"training stopped at step 3; the newest checkpoint is {only_run(tmp_path) / LAST}" in capsys.readouterr().err
    )


@pytest.mark.parametrize("broken", [1, 6])
def test_videos_that_cannot_be_read_in_a_validation_do_not_end_the_run(
    tmp_path: Path, motion_set: Path, broken: int
) -> None:
    """Each is a batch of its own; where all of them are broken there is no accuracy."""
    lines = (motion_set / "val.csv").read_text().splitlines()
    for number in range(broken):
        path = tmp_path / f"broken{number}.mp4"
        path.write_bytes(b"no video")
        lines[number] = f"{path} {lines[number].rsplit(' ', 1)[1]}"
    lines[broken:] = [f"{motion_set / line}" for line in lines[broken:]]
    (tmp_path / "val.csv").write_text("\n".join(lines) + "\n")
    overrides = (f"data.val={tmp_path / 'val.csv'}", "eval.batch_size=1", "data.max_failures=1", "train.epochs=1")
    last = rows(fit(make_recipe(tmp_path, motion_set, *SETTINGS, *overrides)))[-1]
    assert float(last["val/unreadable"]) == broken
    assert ("val/loss" in last) == (broken == 1)


def test_the_loss_of_a_step_is_that_of_all_its_clips_however_they_are_batched(tmp_path: Path, motion_set: Path) -> None:
    plain = (
        "augment.crop_scale=[1,1]", "augment.hflip=0", "augment.mixup=0", "augment.cutmix=0", "train.budget_set=[]",
        "model.backbone.drop_path=0", "train.max_steps=2", "train.effective_batch=16", "logger.tensorboard=false",
    )  # fmt: skip
    logged = []
    for size in (16, 8, 4):
        folder = tmp_path / str(size)
        folder.mkdir()
        logged.append(rows(fit(make_recipe(folder, motion_set, f"train.batch_size={size}", *plain))))
    losses = [[float(row["train/loss"]) for row in run] for run in logged]
    torch.testing.assert_close(torch.tensor(losses[1:]), torch.tensor(losses[:1] * 2))
    assert 2.3 < losses[0][0] < 2.7  # ln 12 is 2.48


def test_the_rate_that_is_logged_is_the_one_that_the_step_used(tmp_path: Path, motion_set: Path) -> None:
    run = fit(recipe_in(tmp_path, motion_set, "train.max_steps=4", "train.warmup_epochs=0.5", "train.lr=3e-3"))
    assert [float(row["train/lr"]) for row in rows(run)] == pytest.approx([1e-3, 2e-3, 3e-3, 3e-3])
