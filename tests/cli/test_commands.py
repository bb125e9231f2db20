"""``train``, ``config``, ``models``, ``doctor``, ``data`` and ``convert`` as a user calls them."""

import json
import os
from pathlib import Path

import pytest
import yaml

from tests.cli.run import vidtok
from vidtok.cli import doctor, share_the_cores
from vidtok.models.build import create_model


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
