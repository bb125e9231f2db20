"""``vidtok train`` as a user calls it: refusals, exit codes, several processes, outputs that cannot be written."""

import csv
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tests.cli.run import vidtok
from tests.engine.motion import write_recipe


def test_the_real_command_refuses_an_unknown_key_with_the_nearest_one(tmp_path):
    done = vidtok(tmp_path, "train", "--config", "k400_lookup.yaml", "train.epoch=3")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "error: unknown key 'train.epoch' (did you mean 'epochs'?)\n"


def test_without_data_the_packaged_recipe_says_in_one_line_what_to_put_where(tmp_path):
    done = vidtok(tmp_path, "train", "--config", "k400_lookup.yaml")
    assert done.returncode == 3 and len(done.stderr.splitlines()) == 1
    assert "data.train: 'data/k400/train.csv' not found" in done.stderr and "data.train=PATH" in done.stderr


def test_a_label_out_of_range_exits_with_3_and_its_row(tmp_path, motion_set):
    lines = (motion_set / "train.csv").read_text().splitlines()
    lines[4] = lines[4].rsplit(" ", 1)[0] + " 12"
    (tmp_path / "train.csv").write_text("\n".join(lines))
    recipe = write_recipe(tmp_path, motion_set)
    overrides = (
        f"data.train={tmp_path / 'train.csv'}",
        f"data.root={motion_set}",
        f"data.classes={motion_set / 'classes.txt'}",
    )
    done = vidtok(tmp_path, "train", "--config", str(recipe), *overrides)
    assert done.returncode == 3, done.stderr
    assert "train.csv row 5: label 12" in done.stderr and "12 classes (0-11)" in done.stderr


def test_a_missing_recipe_and_a_missing_checkpoint_have_their_codes(run, tmp_path, motion_set, capsys):
    assert run("train", "--config", "nowhere.yaml") == 2
    recipe = str(write_recipe(tmp_path, motion_set))
    assert run("train", "--config", recipe, "--resume", "nowhere") == 4
    assert run("train", "--config", recipe, f"model.pretrained={tmp_path / 'absent.ckpt'}") == 4
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    assert run("train", "--config", recipe, f"model.pretrained={tmp_path / 'text.ckpt'}") == 4
    assert capsys.readouterr().out == ""


def test_a_device_that_is_not_there_exits_with_5_and_a_loss_that_diverges_with_6(tmp_path, motion_set):
    recipe = str(write_recipe(tmp_path, motion_set))
    if not torch.cuda.is_available():
        done = vidtok(tmp_path, "train", "--config", recipe, "run.device=cuda")
        assert done.returncode == 5 and "torch sees no GPU" in done.stderr
    done = vidtok(tmp_path, "train", "--config", recipe, "train.lr=1e30", "train.optimizer=sgd", "train.clip_grad=null")
    assert done.returncode == 6 and done.stderr.splitlines()[-1].startswith("error: loss is ")


def test_a_dry_run_names_no_folder_on_stdout_because_it_makes_none(run, tmp_path, motion_set, capsys):
    assert run("train", "--config", str(write_recipe(tmp_path, motion_set)), "--dry-run") == 0
    out, err = capsys.readouterr()
    assert out == "" and err.endswith("dry run: nothing was written\n")


def test_two_processes_train_together_and_write_one_run_folder(tmp_path, motion_set):
    recipe = str(write_recipe(tmp_path, motion_set))
    done = vidtok(tmp_path, "train", "--config", recipe, "run.devices=2", "train.batch_size=4", "train.epochs=1")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs" / "tiny").iterdir()
    assert done.stdout == f"{folder}\n" and (folder / "last.ckpt").is_file()
    assert done.stderr.count("vidtok 0.") == 1  # one start block


def list_with_broken(folder: Path, motion_set: Path, *rows: int) -> tuple[str, ...]:
    """Overrides that train on the motion set with unreadable files in some rows."""
    lines = (motion_set / "train.csv").read_text().splitlines()
    for row in rows:
        broken = folder / f"broken{row}.mp4"
        broken.write_bytes(b"no video")
        lines[row] = f"{broken} {lines[row].rsplit(' ', 1)[1]}"
    (folder / "train.csv").write_text("\n".join(lines))
    lists = f"data.train={folder / 'train.csv'}", f"data.root={motion_set}"
    return *lists, f"data.classes={motion_set / 'classes.txt'}"


TWO = ("run.devices=2", "train.batch_size=4", "train.epochs=1")


def test_two_processes_count_unreadable_videos_together_and_both_end_with_3(tmp_path, motion_set):
    """Each rank alone meets two of the four, which would be allowed."""
    recipe = str(write_recipe(tmp_path, motion_set))
    broken = list_with_broken(tmp_path, motion_set, 0, 5, 10, 15)
    done = vidtok(tmp_path, "train", "--config", recipe, *TWO, *broken, "data.max_failures=0.05")
    assert done.returncode == 3 and done.stdout == "", done.stderr
    assert "Traceback" not in done.stderr and "of 54 videos are unreadable" in done.stderr.splitlines()[-1]
    (quarantine,) = (tmp_path / "runs").rglob("quarantine.csv")
    paths = [row["path"] for row in csv.DictReader(quarantine.read_text().splitlines())]
    assert len(paths) == len(set(paths)) == 3


@pytest.mark.slow
def test_two_processes_write_every_unreadable_video_once(tmp_path, motion_set):
    recipe = str(write_recipe(tmp_path, motion_set))
    broken = list_with_broken(tmp_path, motion_set, 0, 5, 10, 15)
    done = vidtok(tmp_path, "train", "--config", recipe, *TWO, *broken, "train.epochs=2", "data.max_failures=0.2")
    assert done.returncode == 0, done.stderr
    (quarantine,) = (tmp_path / "runs").rglob("quarantine.csv")
    names = sorted(Path(row["path"]).name for row in csv.DictReader(quarantine.read_text().splitlines()))
    assert names == sorted(f"broken{row}.mp4" for row in (0, 5, 10, 15))


@pytest.mark.slow
def test_a_loss_that_diverges_ends_both_processes_with_6_and_a_batch_of_each_rank(tmp_path, motion_set):
    recipe = str(write_recipe(tmp_path, motion_set))
    diverge = ("train.lr=1e30", "train.optimizer=sgd", "train.clip_grad=null")
    done = vidtok(tmp_path, "train", "--config", recipe, *TWO, *diverge)
    assert done.returncode == 6 and "Traceback" not in done.stderr, done.stderr
    assert "of rank 0; its batch is in" in done.stderr.splitlines()[-1]
    assert {path.name.rpartition("_")[2] for path in (tmp_path / "runs").rglob("diverged_*.pt")} == {
        "rank0.pt",
        "rank1.pt",
    }


@pytest.mark.slow
def test_processes_of_torchrun_share_a_folder_say_it_once_and_refuse_together(tmp_path, motion_set):
    def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
        launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
        command = (*launcher, "-m", "vidtok", "train", "--config", recipe, *TWO, *arguments)
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    recipe = str(write_recipe(tmp_path, motion_set))
    done = torchrun()
    (folder,) = (tmp_path / "runs" / "tiny").iterdir()
    assert done.returncode == 0 and done.stdout == f"{folder}\n", done.stderr
    refused = torchrun("--resume", "auto", "train.lr=1")
    assert refused.returncode != 0 and refused.stderr.count("error: --resume: train.lr is 1.0 now") == 2
    assert refused.stderr.count("exitcode  : 2") >= 1 or "exitcode: 2" in refused.stderr


@pytest.mark.slow
def test_two_trainings_of_the_same_second_get_a_folder_each(tmp_path, motion_set):
    recipe = str(write_recipe(tmp_path, motion_set))
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: vidtok(tmp_path, "train", "--config", recipe, "train.max_steps=1"), range(2)))
    assert len({done.stdout for done in both}) == 2 == len(list((tmp_path / "runs" / "tiny").iterdir()))


def test_fewer_validation_videos_than_devices_are_refused_before_training(run, tmp_path, motion_set, capsys):
    (tmp_path / "val.csv").write_text((motion_set / "val.csv").read_text().splitlines()[0])
    recipe = str(write_recipe(tmp_path, motion_set))
    val = f"data.val={tmp_path / 'val.csv'}", f"data.root={motion_set}"
    assert run("train", "--config", recipe, "run.devices=2", "train.batch_size=4", *val) == 3
    assert "1 validation video cannot be shared by 2 devices" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ("train", "-c", "RECIPE", "run.output_dir=FILE"),
        ("eval", "--checkpoint", "nowhere.ckpt", "--out", "FILE"),
        ("infer", "clip.mp4", "--checkpoint", "nowhere", "--contact-sheet", "FILE/a.png"),
        ("infer", "clip.mp4", "--checkpoint", "nowhere", "--tokens", "FILE/a.mp4"),
        ("infer", "clip.mp4", "--checkpoint", "nowhere", "--overlay", "FILE/a.mp4"),
        ("data", "synthetic", "FILE", "--clips", "10"),
        ("data", "prepare", "SET/val.csv", "FILE"),
        ("data", "index", "SET/val.csv", "FILE/index.csv"),
        ("data", "verify", "SET/val.csv", "--out", "FILE/quarantine.csv"),
        ("data", "split", "SET/train.csv", "FILE"),
        ("data", "show", "clip.mp4", "-c", "RECIPE", "--out", "FILE/a.png"),
        ("convert", "nowhere", "FILE"),
        ("bench", "model", "vivit_fe_b_16x2", "none", "--json", "FILE/rows.json"),
        ("bench", "data", "--json", "FILE/rows.json"),
    ],
    ids=lambda command: "-".join(command[:2]),
)
def test_an_output_that_cannot_be_written_is_one_line_and_5_before_any_work(run, tmp_path, motion_set, capsys, command):
    file, recipe = tmp_path / "file", write_recipe(tmp_path, motion_set)
    file.write_text("kept")
    places = {"FILE": str(file), "SET": str(motion_set), "RECIPE": str(recipe)}
    arguments = list(command)
    for name, place in places.items():
        arguments = [argument.replace(name, place) for argument in arguments]
    (tmp_path / "here" / "clip.mp4").write_bytes(b"never read")
    assert run(*arguments) == 5
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("error: cannot write '")
    assert str(file) in err and file.read_text() == "kept"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_results_that_stdout_cannot_take_are_one_line_and_5(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vidtok", "config", "show", "demo"], stdout=full, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    assert done.returncode == 5 and done.stderr == "error: cannot write: No space left on device\n"


def test_too_many_unreadable_videos_stop_a_run_with_3_and_a_quarantine(run, tmp_path, motion_set):
    recipe, overrides = write_recipe(tmp_path, motion_set), list_with_broken(tmp_path, motion_set, 0, 1)
    assert run("train", "--config", str(recipe), *overrides) == 3
    (quarantine,) = (tmp_path / "runs").rglob("quarantine.csv")
    assert "broken" in quarantine.read_text()


def test_validation_counts_what_it_could_not_read(run, tmp_path, motion_set):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    lines = (motion_set / "val.csv").read_text().splitlines()
    (tmp_path / "val.csv").write_text("\n".join([*lines, f"{broken} {lines[0].rsplit(' ', 1)[1]}"]))
    recipe = write_recipe(tmp_path, motion_set)
    overrides = (
        f"data.val={tmp_path / 'val.csv'}",
        f"data.root={motion_set}",
        f"data.classes={motion_set / 'classes.txt'}",
    )
    assert run("train", "--config", str(recipe), *overrides, "train.epochs=1") == 0
    (metrics,) = (tmp_path / "runs").rglob("metrics.csv")
    rows = csv.DictReader(metrics.read_text().splitlines())
    counts = [row["val/unreadable"] for row in rows if row["val/unreadable"]]
    assert set(map(float, counts)) == {1.0}
