import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.engine.motion import make_recipe, write_recipe
from vidtok.config import Recipe
from vidtok.configio import load_recipe
from vidtok.engine.fit import accumulation, find_checkpoint, fit
from vidtok.errors import ConfigError, DivergedError, WeightsError
from vidtok.models.checkpoint import load, read_ckpt


def losses(run: Path) -> dict[int, float]:
    """Training loss by optimiser step."""
    with (run / "metrics.csv").open() as stream:
        return {int(row["step"]): float(row["train/loss"]) for row in csv.DictReader(stream) if row.get("train/loss")}


def wait_for(process: subprocess.Popen[str], start: str) -> None:
    """Read stderr up to the line that begins with ``start``."""
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith(start):
            return
    raise AssertionError("".join(seen))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, motion_set: Path) -> tuple[Recipe, Path]:
    """One uninterrupted run of 2 epochs of 6 steps."""
    recipe = make_recipe(tmp_path_factory.mktemp("fit"), motion_set)
    return recipe, fit(recipe)


def test_a_run_leaves_the_promised_files(finished):
    recipe, run = finished
    assert run.parent == Path(recipe.run.output_dir) / "tiny"
    names = {path.name for path in run.iterdir()}
    assert {"config.yaml", "receipt.json", "metrics.csv", "best.ckpt", "last.ckpt", "tensorboard"} <= names
    assert load_recipe(str(run / "config.yaml")) == recipe
    assert json.loads((run / "receipt.json").read_text())["seed"] == recipe.run.seed
    assert set(losses(run)) == set(range(12))


def test_the_checkpoint_holds_config_preprocessing_and_class_names(finished):
    recipe, run = finished
    model = load(run)
    assert model.preprocessing == recipe.clip and model.eval_protocol == recipe.eval
    assert model.class_names[0] == "move_left" and len(model.class_names) == model.num_classes == 12
    assert model.budget == (2, 2)


def test_every_budget_of_the_set_is_drawn_and_draws_repeat(finished, monkeypatch):
    from vidtok.engine.module import ClassificationModule

    recipe, run = finished
    module = ClassificationModule(load(run), recipe.train, seed=0, steps_per_epoch=6, total_steps=12)
    draws = [module.budgets.at(step) for step in range(30)]
    assert set(draws) == {(2, 2), (3, 3), (4, 4)}
    assert draws == [module.budgets.at(step) for step in range(30)]


def test_a_run_killed_in_the_middle_of_an_epoch_resumes_to_the_same_losses_and_weights(finished, tmp_path, motion_set):
    _, reference = finished
    recipe_file = write_recipe(tmp_path, motion_set)
    command = [sys.executable, "-m", "vidtok", "train", "--config", str(recipe_file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        wait_for(process, "step 9/")
        process.kill()
    recipe = load_recipe(str(recipe_file))
    checkpoint = find_checkpoint(recipe, "auto")
    assert 6 < read_ckpt(checkpoint)["global_step"] < 12  # inside the second epoch
    run = fit(recipe, resume="auto")
    assert run == checkpoint.parent
    assert losses(run) == losses(reference)
    ours, theirs = load(run / "last.ckpt").state_dict(), load(reference / "last.ckpt").state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_ctrl_c_writes_a_checkpoint_that_resumes_and_exits_with_130(tmp_path, motion_set):
    recipe_file = write_recipe(tmp_path, motion_set)
    command = [sys.executable, "-m", "vidtok", "train", "--config", str(recipe_file), "train.epochs=500"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        wait_for(process, "step 4/")
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "error: interrupted at step" in rest and "Traceback" not in rest
    checkpoint = find_checkpoint(load_recipe(str(recipe_file)), "auto")
    assert f"--resume {checkpoint}" in rest
    assert read_ckpt(checkpoint)["global_step"] >= 4


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_its_batch(tmp_path, motion_set):
    recipe = make_recipe(tmp_path, motion_set, "train.lr=1e30", "train.optimizer=sgd", "train.clip_grad=null")
    with pytest.raises(DivergedError, match=r"at step \d+; its batch is in .*; lower train.lr"):
        fit(recipe)
    (culprit,) = (tmp_path / "runs").rglob("diverged_step*.pt")
    assert torch.load(culprit, weights_only=True)["clip"].shape == (8, 3, 8, 32, 32)


def test_a_dry_run_writes_nothing(tmp_path, motion_set, capsys):
    fit(make_recipe(tmp_path, motion_set), dry_run=True)
    assert not (tmp_path / "runs").exists()
    assert "48 train (0 missing), 6 val, 12 classes" in capsys.readouterr().err


def test_a_run_that_ends_before_its_first_validation_says_so(tmp_path, motion_set, capsys):
    fit(make_recipe(tmp_path, motion_set, "train.val_every=2"), dry_run=True)
    assert "warning" not in capsys.readouterr().err
    fit(make_recipe(tmp_path, motion_set, "train.val_every=3"), dry_run=True)
    assert "ends before its first validation, after 3 epochs of 6 steps" in capsys.readouterr().err


def test_test_budgets_that_do_not_fit_stop_before_training_not_after_it(tmp_path, motion_set):
    with pytest.raises(ConfigError, match=r"eval\.budgets: compressor 'none' has no budget"):
        fit(make_recipe(tmp_path, motion_set, "model.compressor=none", "train.budget_set=[]", "eval.budgets=[2x2]"))
    assert not (tmp_path / "runs").exists()


def test_accumulation_reaches_the_effective_batch_or_is_refused(tmp_path, motion_set):
    assert accumulation(make_recipe(tmp_path, motion_set, "train.effective_batch=24")) == 3
    with pytest.raises(ConfigError, match="effective_batch 20 is not a multiple of the 8 clips"):
        accumulation(make_recipe(tmp_path, motion_set, "train.effective_batch=20"))


def test_fine_tuning_keeps_the_body_and_renews_heads_of_other_classes(finished, tmp_path, motion_set):
    _, run = finished
    (tmp_path / "two.csv").write_text((motion_set / "train.csv").read_text())
    overrides = (f"model.pretrained={run / 'last.ckpt'}", "train.lr=1e-12", "train.weight_decay=0", "train.max_steps=1")
    tuned = load(fit(make_recipe(tmp_path, motion_set, *overrides)) / "last.ckpt").state_dict()
    before = load(run / "last.ckpt").state_dict()
    torch.testing.assert_close(
        tuned["encoder.blocks.1.refine.attn.qkv.weight"], before["encoder.blocks.1.refine.attn.qkv.weight"]
    )
    with pytest.raises(WeightsError, match="weights do not fit the model: encoder.blocks"):
        fit(make_recipe(tmp_path, motion_set, overrides[0], "model.backbone.depth=3"))


def test_resuming_another_recipe_says_what_differs(finished, capsys):
    recipe, run = finished
    other = recipe.model_copy(update={"train": recipe.train.model_copy(update={"log_every": 3})})
    fit(other, resume=str(run), dry_run=True)
    fit(recipe, resume=str(run), dry_run=True)
    assert capsys.readouterr().err.count("warning: ") == 1
    fit(other, resume=str(run), dry_run=True)
    assert "warning: train.log_every is 3 now; the run was begun with 1\n" in capsys.readouterr().err


def test_resume_without_a_run_says_so(tmp_path, motion_set):
    with pytest.raises(WeightsError, match="--resume auto: no last.ckpt under"):
        fit(make_recipe(tmp_path, motion_set), resume="auto")
    with pytest.raises(WeightsError, match="'nowhere' not found"):
        fit(make_recipe(tmp_path, motion_set), resume="nowhere")


@pytest.mark.needs_cuda
def test_training_on_a_gpu_runs_in_bf16(tmp_path, motion_set):
    run = fit(make_recipe(tmp_path, motion_set, "run.device=cuda"))
    assert json.loads((run / "receipt.json").read_text())["precision"] == "bf16"
