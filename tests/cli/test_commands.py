"""``train``, ``config``, ``models``, ``doctor``, ``data`` and ``convert`` as a user calls them."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import yaml

from tests.cli.run import exit_code, vidtok
from tests.engine.motion import write_recipe
from tests.models import layouts
from tests.models.test_pretrained_hf import LIBRARY, SIZES
from tests.models.test_pretrained_official import deit_weights
from tests.models.tiny import tiny_model
from vidtok.cli import doctor, share_the_cores
from vidtok.models.build import create_model
from vidtok.models.checkpoint import load


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs the command in this process, in an empty folder; gives its exit code."""
    folder = tmp_path / "here"
    folder.mkdir()
    return lambda *arguments: exit_code(folder, monkeypatch, *arguments)


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


def test_config_show_prints_a_recipe_that_resolves_to_itself(run, tmp_path, capsys):
    assert run("config", "show", "-c", "ssv2_lookup", "train.lr=0.1") == 0
    shown = capsys.readouterr().out
    assert "lr: 0.1 " in shown and "# peak learning rate" in shown
    (tmp_path / "shown.yaml").write_text(shown)
    assert run("config", "diff", "ssv2_lookup", str(tmp_path / "shown.yaml")) == 0
    assert capsys.readouterr().out == "train.lr: 0.4 -> 0.1\n"
    assert yaml.safe_load(shown)["clip"]["frames"] == 32


def test_config_explain_knows_keys_by_path_and_by_name(run, capsys):
    assert run("config", "explain", "train.warmup_epochs") == 0
    assert "linear warm-up [epochs]\n  default: 2.5" in capsys.readouterr().out
    assert run("config", "explain", "reuse") == 0
    assert "model.compressor.reuse" in capsys.readouterr().out
    assert run("config", "explain", "model.compressor.budget") == 0
    shown = capsys.readouterr().out
    assert (
        "default: (5, 5)" in shown
        and "of: lookup\n" in shown
        and "default: 0.7" in shown
        and "of: evit, random" in shown
    )
    assert run("config", "explain", "train.warmup_epoch") == 2
    assert "did you mean 'warmup_epochs'" in capsys.readouterr().err


def test_config_list_names_the_packaged_recipes(run, capsys):
    assert run("config", "list") == 0
    assert {"demo.yaml", "folder.yaml", "k400_lookup.yaml", "ssv2_lookup.yaml"} <= set(capsys.readouterr().out.split())


def test_models_prints_the_published_counts(run, capsys):
    assert run("models", "vivit_fe_b*", "--compressor", "lookup", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["models"]
    assert (row["model"], row["budget"], row["frames"]) == ("vivit_fe_b_16x2", "5x5", 32)
    assert row["gmacs_per_view"] == pytest.approx(137.8, rel=1e-3) and row["params_m"] == pytest.approx(
        165.06, rel=1e-3
    )
    assert run("models", "--compressor", "lokup") == 2
    assert run("models", "vivit_fdp*", "--compressor", "evit") == 2
    assert "no model matches 'vivit_fdp*' with compressor 'evit'" in capsys.readouterr().err


def test_doctor_reports_what_works_as_one_json_document(run, capsys):
    assert run("doctor", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check["works"] for check in found["checks"]}
    assert found["schema"] == "vidtok.doctor/1" and checks["torch"] and checks["av"] and checks["recipes"]


def test_doctor_knows_a_package_that_another_distribution_brings(tmp_path, monkeypatch):
    (tmp_path / "forked.py").write_text("__version__ = '3.4'")
    (tmp_path / "mute.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)
    assert doctor._package("forked") == doctor.Check("forked", True, "3.4")
    assert doctor._package("mute") == doctor.Check("mute", False, "does not import: ImportError")
    (tmp_path / "needy.py").write_text("import absent_part")
    assert "No module named 'absent_part'" in doctor._package("needy").detail  # it is installed


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')", "not installed"),
        ("raise OSError('libtorch.so: cannot open')", "does not import: libtorch.so: cannot open"),
        ("half = installed", "does not import: name 'installed' is not defined"),
        ("def (", "does not import: invalid syntax"),
    ],
)
def test_doctor_survives_a_torch_that_is_broken_or_absent(tmp_path, content, cause):
    (tmp_path / "torch.py").write_text(content)
    (tmp_path / "torchcodec.py").write_text("raise RuntimeError('Could not load libtorchcodec')")
    done = vidtok(tmp_path, "doctor", "--json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 5, done.stderr
    assert done.stderr.startswith("error: not working: torch") and done.stderr.count("\n") == 1
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["torch"]["detail"].startswith(cause) and "download.pytorch.org" in checks["torch"]["detail"]
    assert checks["cpu"]["detail"] == "not checked: torch does not work"
    assert "libnvrtc; the CPU build: pip install torchcodec --index-url" in checks["torchcodec"]["detail"]


def test_data_synthetic_writes_a_set_and_refuses_to_mix_two(run, tmp_path, capsys):
    out = str(tmp_path / "set")
    assert run("data", "synthetic", out, "--clips", "12", "--size", "32", "--frames", "8") == 0
    assert len((tmp_path / "set" / "train.csv").read_text().splitlines()) == 10
    assert "move_left,move_right" in (tmp_path / "set" / "pairs.csv").read_text()
    assert run("data", "synthetic", out, "--clips", "24", "--size", "32", "--frames", "8") == 2
    assert run("data", "synthetic", str(tmp_path / "b"), "--difficulty", "brutal") == 2


def test_convert_prints_what_became_of_the_tensors_and_writes_a_checkpoint(run, tmp_path, capsys):
    transformers = pytest.importorskip("transformers")
    config = transformers.VivitConfig(
        image_size=32, num_frames=4, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        tubelet_size=[2, 16, 16], num_labels=3, id2label={0: "run", 1: "sit", 2: "wave"},
    )  # fmt: skip
    transformers.VivitForVideoClassification(config).save_pretrained(tmp_path / "hf")
    assert run("convert", str(tmp_path / "hf"), str(tmp_path / "out"), "--frames", "8") == 0
    shown = capsys.readouterr().out
    assert "loaded" in shown and "2 -> 4 time steps (linear)" in shown
    model = load(tmp_path / "out")
    assert model.class_names == ("run", "sit", "wave") and model.preprocessing.frames == 8
    assert run("convert", str(tmp_path / "hf"), str(tmp_path / "out")) == 4
    assert run("convert", str(tmp_path), str(tmp_path / "other")) == 4


NAMES = "run\nsit\nwave\nfall\njump\n"
GROWN = ("--backbone", "vivit", "--frames", "4")
CONVERT: dict[str, tuple[str, tuple[str, ...], str]] = {  # option: what it is tried on, its arguments, what it does
    "--backbone": ("image", ("--backbone", "vivit_fe", "--frames", "4"), "vivit_fe, 4 frames"),
    "--frames": ("image", ("--backbone", "vivit", "--frames", "8"), "8 frames of 32 pixels"),
    "--size": ("image", ("--size", "64"), "2x2 -> 4x4 (bicubic)"),
    "--tubelet": ("image", (*GROWN, "--tubelet", "4"), "tubelet 1 -> 4 (central)"),
    "--inflate": ("image", (*GROWN, "--inflate", "average"), "tubelet 1 -> 2 (average)"),
    "--num-classes": ("image", ("--num-classes", "3"), "classifier of 5 classes, 3 are wanted"),
    "--classes": ("image", ("--classes", "names.txt"), "5 classes"),
    "--format": ("image", ("--format", "timm"), "(timm)"),
    "--weights": ("image", ("--weights", "ema"), "loaded"),
    "--source-frames": ("videomae", ("--source-frames", "8"), "8 frames"),
    "--source-family": ("flax", ("--source-family", "vivit_fdp", "--source-frames", "4"), "vivit_fdp, 4 frames"),
    "--num-heads": ("image", ("--num-heads", "6"), "loaded"),
    "--preset": ("image", ("--preset", "half"), "loaded"),
    "--channel-order": ("timesformer", ("--channel-order", "bgr"), "this model takes RGB"),
}  # fmt: skip


@pytest.mark.parametrize("option", CONVERT)
def test_convert_takes_each_of_its_options(option, run, tmp_path, capsys):
    kind, arguments, told = CONVERT[option]
    (tmp_path / "here" / "names.txt").write_text(NAMES)
    source = foreign_file(tmp_path, kind)
    assert run("convert", str(source), "out", *arguments) == 0, capsys.readouterr().err
    assert told in capsys.readouterr().out
    model = load(tmp_path / "here" / "out")
    if option == "--classes":
        assert model.class_names == tuple(NAMES.split())
    if option == "--weights":
        assert torch.equal(model.head.bias, torch.full((5,), 7.0))
    if option == "--num-heads":
        assert model.config.backbone.shape[2] == 6
    if option == "--preset":
        assert model.preprocessing.mean == (0.5, 0.5, 0.5)


def test_the_options_of_convert_are_all_tried(run, capsys):
    assert run("convert", "--help") == 0
    assert set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"} == CONVERT.keys()


@pytest.mark.parametrize(("name", "code"), [("kinetics400", 4), ("absent.txt", 3), ("empty.txt", 3)])
def test_class_names_that_do_not_fit_a_conversion_are_one_line(name, code, run, tmp_path, capsys):
    (tmp_path / "here" / "empty.txt").touch()
    assert run("convert", str(foreign_file(tmp_path, "image")), "out", "--classes", name) == code
    assert len(capsys.readouterr().err.splitlines()) == 1


def foreign_file(folder: Path, kind: str) -> Path:
    """Weights as another project writes them."""
    path = folder / f"{kind}.pth"
    if kind == "flax":
        flat = layouts.flax_tree(tiny_model("vivit_fdp").state_dict(), num_heads=2)
        return layouts.write_flax(folder / "checkpoint", {"params": layouts.nest(flat)})
    if kind == "image":
        weights = deit_weights()
        torch.save({"model": weights, "model_ema": weights | {"head.bias": torch.full((5,), 7.0)}}, path)
    elif kind == "timesformer":
        torch.save(layouts.official_timesformer(library_weights("divided_space_time")), path)
    else:
        torch.save({"model": layouts.official_videomae(library_weights("videomae"))}, path)
    return path


def library_weights(family: str) -> dict[str, torch.Tensor]:
    return LIBRARY[family](**SIZES["small"] | {"hidden_size": 192, "num_attention_heads": 3}).state_dict()


def test_help_names_every_verb_and_the_exit_codes(run, capsys):
    assert run("--help") == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in ("train", "eval", "infer", "data", "models", "convert", "config", "doctor"))
    assert "130" in shown


def test_the_readme_snippet_is_true():
    model = create_model(
        "vivit_fe_ti_16x2", num_classes=400, num_frames=8, image_size=224, compressor="lookup", budget=(5, 5)
    )
    assert model.token_counts[0] == (100, 784)
    model.set_budget((3, 3))
    assert model.token_counts[0] == (36, 784)


def test_results_stay_on_stdout_and_colours_out_of_pipes(tmp_path):
    done = vidtok(tmp_path, "config", "list")
    assert done.returncode == 0 and done.stderr == "" and "\x1b[" not in done.stdout
    assert Path(done.stdout.split()[0]).suffix == ".yaml"


@pytest.mark.parametrize(
    ("theirs", "spins"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)]
)
def test_threads_that_wait_soon_give_way_to_other_processes_unless_the_user_says_otherwise(theirs, spins, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    share_the_cores()
    assert os.environ.get("GOMP_SPINCOUNT") == spins
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
