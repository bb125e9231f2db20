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
from vidtok.engine.fit import accumulation, fit
from vidtok.engine.runs import find_checkpoint
from vidtok.errors import ConfigError, DivergedError, EnvironmentFault, WeightsError
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


def changed(recipe: Recipe, folder: Path, rows: list[str]) -> Recipe:
    """The recipe with another training list at another path, of the same files."""
    (folder / "train.csv").write_text("\n".join(rows))
    data = {"train": str(folder / "train.csv"), "root": str(Path(recipe.data.train).parent)}
    data["classes"] = str(Path(recipe.data.train).parent / "classes.txt")
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=data)})


def test_resuming_a_finished_run_says_so_and_does_nothing_else(finished, capsys):
    recipe, run = finished
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert fit(recipe, resume="auto") == run
    assert capsys.readouterr().err == "already finished after 12 steps; to train longer, raise train.epochs\n"
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_list_in_another_order_or_cut_to_half_is_refused_and_a_copy_of_it_is_not(finished, tmp_path):
    recipe, run = finished
    longer = recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": 3})})
    rows = Path(recipe.data.train).read_text().splitlines()
    fit(changed(longer, tmp_path, rows), resume=str(run), dry_run=True)
    for other in (rows[1:] + rows[:1], rows[:24], [*rows[:1], rows[1].rsplit(" ", 1)[0] + " 0", *rows[2:]]):
        with pytest.raises(ConfigError, match="content of data.train is .* now; the run was begun with 48 videos"):
            fit(changed(longer, tmp_path, other), resume=str(run), dry_run=True)
    fit(changed(longer, tmp_path, rows[1:] + rows[:1]), resume=str(run), resume_anyway=True, dry_run=True)


def test_another_model_is_refused_before_data_and_its_weights_never_taken(finished, monkeypatch):
    recipe, run = finished
    wide = recipe.model_copy(update={"model": recipe.model.model_copy(update={
        "backbone": recipe.model.backbone.model_copy(update={"dim": 32})})})  # fmt: skip
    longer = wide.model_copy(update={"train": wide.train.model_copy(update={"epochs": 3})})
    with pytest.raises(WeightsError, match=r"holds another model: .* is \[.*\] there and \[.*\] here"):
        fit(longer, resume=str(run), resume_anyway=True, dry_run=True)
    monkeypatch.setattr("vidtok.engine.fit.ClipDataModule", None)  # the lists are not even read
    with pytest.raises(ConfigError, match="model.backbone.dim is 32 now; the run was begun with 16"):
        fit(longer, resume=str(run), dry_run=True)


def test_an_old_run_without_receipt_goes_on_with_a_warning(finished, tmp_path, capsys):
    recipe, run = finished
    old = tmp_path / "old"
    old.mkdir()
    (old / "last.ckpt").write_bytes((run / "last.ckpt").read_bytes())
    assert fit(recipe, resume=str(old)) == old
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(warnings) == 2 and "settings are not compared" in warnings[0] and "lists are not" in warnings[1]


def test_an_output_folder_that_cannot_be_written_is_found_out_before_data_and_model(tmp_path, motion_set):
    (tmp_path / "runs").write_text("a file")
    recipe = make_recipe(tmp_path, motion_set, "data.train=nowhere.csv")
    with pytest.raises(EnvironmentFault, match=r"cannot write '.*runs/tiny': Not a directory"):
        fit(recipe)


def test_a_resumed_run_keeps_its_start_and_a_receipt_that_says_what_it_goes_on_with(finished):
    _, run = finished
    facts = json.loads((run / "receipt.json").read_text())
    assert facts["started_utc"] <= facts["time_utc"] and facts["data"]["found"] == 48 and facts["val"]["found"] == 6


def test_resuming_another_recipe_says_what_differs(finished, capsys):
    recipe, run = finished
    other = recipe.model_copy(update={"train": recipe.train.model_copy(update={"log_every": 3})})
    fit(other, resume=str(run), dry_run=True)
    assert "warning: train.log_every is 3 now; the run was begun with 1\n" in capsys.readouterr().err
    fit(recipe, resume=str(run), dry_run=True)
    assert "warning: " not in capsys.readouterr().err


def test_auto_without_a_run_starts_one_and_a_path_without_one_is_refused(tmp_path, motion_set, capsys):
    fit(make_recipe(tmp_path, motion_set), resume="auto", dry_run=True)
    assert "48 train" in capsys.readouterr().err
    with pytest.raises(WeightsError, match="'nowhere' not found"):
        fit(make_recipe(tmp_path, motion_set), resume="nowhere")


@pytest.mark.needs_cuda
def test_training_on_a_gpu_runs_in_bf16(tmp_path, motion_set):
    run = fit(make_recipe(tmp_path, motion_set, "run.device=cuda"))
    assert json.loads((run / "receipt.json").read_text())["precision"] == "bf16"
