"""New run folders, the run and the file that ``--resume`` means, and what may have changed."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from vidtok.config import Recipe
from vidtok.configio import merge, parse_override, validate
from vidtok.engine.runs import (
    RESUMABLE,
    config_changes,
    damage,
    find_checkpoint,
    finished_steps,
    judge,
    list_changes,
    make_run_folder,
    newest,
    read_config,
    runs_of,
)
from vidtok.errors import ConfigError, EnvironmentFault, WeightsError


def recipe_in(folder: Path, *overrides: str) -> Recipe:
    tree: dict[str, Any] = {"name": "tiny", "run": {"output_dir": str(folder)}}
    for override in overrides:
        tree = merge(tree, parse_override(override))
    return validate(tree)


def make_run(runs: Path, name: str, *files: str, started: str | None = None, age: float = 0) -> Path:
    """A run folder with whole checkpoints, as old as said [s]."""
    run = runs / name
    run.mkdir(parents=True)
    for file in files:
        torch.save({"weights": torch.arange(1000.0)}, run / file)
        os.utime(run / file, (1e9 - age, 1e9 - age))
    if started:
        (run / "receipt.json").write_text(json.dumps({"started_utc": started}))
    return run


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


# ------------------------------------------------------------------------------- folders


def test_runs_of_the_same_second_get_a_folder_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidtok.engine.runs.time.time", lambda: 1.7e9)
    folders = [make_run_folder(recipe_in(tmp_path / "out")) for _ in range(3)]
    assert len(set(folders)) == 3 and all(folder.is_dir() for folder in folders)
    assert [folder.name.split("-")[2:] for folder in folders] == [[], ["2"], ["3"]]
    assert newest(tmp_path / "out" / "tiny") == folders[2]


def test_a_dry_run_makes_no_folder(tmp_path: Path) -> None:
    assert not make_run_folder(recipe_in(tmp_path / "out"), dry_run=True).exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("is_link", [False, True], ids=["file", "link to nowhere"])
def test_an_output_folder_that_is_none_is_no_endless_search_for_a_free_name(tmp_path: Path, is_link: bool) -> None:
    place = tmp_path / "out"
    place.symlink_to(tmp_path / "nowhere") if is_link else place.write_text("")
    with pytest.raises(EnvironmentFault, match="cannot write"):
        make_run_folder(recipe_in(place))


# ------------------------------------------------------------------------------- resume auto


def test_auto_starts_when_there_is_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert find_checkpoint(recipe_in(tmp_path), "auto") is None
    assert "starting the first one" in capsys.readouterr().err


def test_auto_goes_on_with_the_run_that_started_last_whatever_the_times_of_files(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path)
    make_run(runs_of(recipe), "20260101-120000", "last.ckpt", age=0)  # touched last, by a copy or an evaluation
    new = make_run(runs_of(recipe), "20260301-120000", "last.ckpt", age=9999)
    assert find_checkpoint(recipe, "auto") == new / "last.ckpt"


def test_auto_believes_the_receipt_before_the_name(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path)
    renamed = make_run(runs_of(recipe), "baseline", "last.ckpt", started="2026-05-01T10:00:00+00:00", age=9999)
    make_run(runs_of(recipe), "20260301-120000", "last.ckpt")
    assert find_checkpoint(recipe, "auto") == renamed / "last.ckpt"


def test_auto_starts_again_what_was_killed_before_its_first_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_in(tmp_path)
    make_run(runs_of(recipe), "20260101-120000", "last.ckpt", "best.ckpt")  # an older run, perhaps finished
    killed = make_run(runs_of(recipe), "20260301-120000")
    assert find_checkpoint(recipe, "auto") is None
    assert f"{killed} has no checkpoint yet, starting it again" in capsys.readouterr().err


@pytest.mark.parametrize("good", RESUMABLE[1:])
def test_a_truncated_file_gives_way_to_the_one_before_with_one_warning(
    tmp_path: Path, good: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_in(tmp_path)
    run = make_run(runs_of(recipe), "20260301-120000", *RESUMABLE)
    for name in RESUMABLE[: RESUMABLE.index(good)]:
        truncate(run / name)
    assert find_checkpoint(recipe, "auto") == run / good
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: ") and "last.ckpt: truncated" in line and line.endswith(f"going on from {good}")


def test_when_no_file_is_whole_all_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, "20260301-120000", *RESUMABLE)
    for name in RESUMABLE:
        truncate(run / name)
    with pytest.raises(WeightsError, match=r"no checkpoint .* intact: .*last\.ckpt: .*last-1\.ckpt: .*best\.ckpt: "):
        find_checkpoint(recipe_in(tmp_path), str(run))


def test_a_path_to_a_damaged_file_is_refused_and_points_at_the_whole_ones(tmp_path: Path) -> None:
    run = make_run(tmp_path, "20260301-120000", "last.ckpt", "best.ckpt")
    truncate(run / "last.ckpt")
    with pytest.raises(WeightsError, match=r"last\.ckpt: truncated .*; intact beside it: .*best\.ckpt$"):
        find_checkpoint(recipe_in(tmp_path), str(run / "last.ckpt"))
    truncate(run / "best.ckpt")
    with pytest.raises(WeightsError, match="no other checkpoint beside it is intact"):
        find_checkpoint(recipe_in(tmp_path), str(run / "last.ckpt"))


def test_a_path_without_any_checkpoint_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="'nowhere' not found; give a run folder or its last.ckpt"):
        find_checkpoint(recipe_in(tmp_path), "nowhere")
    with pytest.raises(WeightsError, match="holds none of last.ckpt"):
        find_checkpoint(recipe_in(tmp_path), str(make_run(tmp_path, "empty")))


def test_one_flipped_bit_of_the_content_is_damage(tmp_path: Path) -> None:
    path = make_run(tmp_path, "run", "last.ckpt") / "last.ckpt"
    assert damage(path) is None
    with zipfile.ZipFile(path) as archive:
        info = next(info for info in archive.infolist() if info.filename.endswith("data/0"))
    content = bytearray(path.read_bytes())
    content[info.header_offset + 2000] ^= 4
    path.write_bytes(content)
    assert "data/0" in damage(path)


# ------------------------------------------------------------------------------- finished


def test_a_run_is_finished_when_neither_steps_nor_validation_are_left() -> None:
    assert finished_steps({"global_step": 12, "vidtok": {}}, 12) == 12
    assert finished_steps({"global_step": 11, "vidtok": {}}, 12) is None
    assert finished_steps({"global_step": 12, "vidtok": {"validation": "pending"}}, 12) is None


# ------------------------------------------------------------------------------- changes


@pytest.mark.parametrize(
    "override",
    [
        "model.backbone.dim=64",
        "model.compressor=evit",
        "clip.frames=16",
        "train.lr=1e-2",
        "train.optimizer=sgd",
        "train.weight_decay=0",
        "train.batch_size=4",
        "train.effective_batch=16",
        "run.devices=2",  # the same batch on each: twice the clips of a step
        "train.repeated_aug=2",
        "run.seed=1",
    ],
)
def test_what_would_be_another_training_is_refused_with_key_and_both_values(tmp_path: Path, override: str) -> None:
    base = recipe_in(tmp_path, "model.backbone.dim=32", "model.backbone.depth=2", "model.backbone.num_heads=2")
    before = base.model_dump(mode="json")
    other = validate(merge(before, parse_override(override))).model_dump(mode="json")
    with pytest.raises(ConfigError, match="is .* now; the run was begun with .*--resume-anyway"):
        judge(config_changes(before, other), anyway=False)
    judge(config_changes(before, other), anyway=True)


@pytest.mark.parametrize(
    "override",
    [
        "train.epochs=100",
        "train.max_steps=7",
        "train.log_every=3",
        "train.checkpoint_every=3",
        "data.workers=0",
        "data.train=elsewhere.csv",
        "data.root=/mnt",
        "run.output_dir=elsewhere",
        "logger.tensorboard=false",
        "eval.clips=1",
        "model.pretrained=gone.ckpt",
    ],
)
def test_what_keeps_the_training_is_said_and_goes_on(
    tmp_path: Path, override: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = recipe_in(tmp_path).model_dump(mode="json")
    judge(config_changes(before, recipe_in(tmp_path, override).model_dump(mode="json")), anyway=False)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {override.partition('=')[0]} is ")


def test_the_same_clips_of_a_step_on_other_devices_are_the_same_training(tmp_path: Path) -> None:
    before = recipe_in(tmp_path, "train.batch_size=8").model_dump(mode="json")
    now = recipe_in(tmp_path, "train.batch_size=4", "run.devices=2").model_dump(mode="json")
    assert not any(change.is_refused for change in config_changes(before, now))


def test_an_epoch_of_other_batches_cannot_be_gone_on_with_although_a_step_is_the_same(tmp_path: Path) -> None:
    before = recipe_in(tmp_path, "train.effective_batch=16").model_dump(mode="json")
    now = recipe_in(tmp_path, "train.effective_batch=16", "run.devices=2").model_dump(mode="json")
    with pytest.raises(ConfigError, match="clips of a batch on all devices .* is 16 now; the run was begun with 8"):
        judge(config_changes(before, now), anyway=False)


def test_lists_are_compared_by_content_and_only_where_the_receipt_knows_them() -> None:
    one, two = ({"sha256": letter * 64, "found": 1 + (letter == "b")} for letter in "ab")
    assert list_changes({"data": one, "val": None}, {"data": one, "val": None}) == []
    (change,) = list_changes({"data": one, "val": two}, {"data": two, "val": two})
    assert change.is_refused and str(change) == (
        "the content of data.train is 2 videos (bbbbbbbb) now; the run was begun with 1 video (aaaaaaaa)"
    )
    assert list_changes({}, {"data": one, "val": one}) == []
    assert [change.key for change in list_changes({"val": one}, {"data": one, "val": None})] == [
        "the content of data.val"
    ]


def test_a_config_that_cannot_be_read_is_as_good_as_none(tmp_path: Path) -> None:
    assert read_config(tmp_path) is None
    (tmp_path / "config.yaml").write_text("{torn")
    assert read_config(tmp_path) is None
