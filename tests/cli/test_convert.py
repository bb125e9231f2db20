"""``vidtok convert`` as a user calls it."""

import re
from pathlib import Path

import pytest
import torch

from tests.models import layouts
from tests.models.test_pretrained_hf import LIBRARY, SIZES
from tests.models.test_pretrained_official import deit_weights
from tests.models.tiny import tiny_model
from vidtok.models.checkpoint import load


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
