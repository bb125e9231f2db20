"""Names that wrappers changed, and files that hold several sets of weights."""

import argparse
from pathlib import Path

import pytest
import torch

from tests.models import layouts
from tests.models.test_pretrained_hf import LIBRARY, SIZES, perturbed
from tests.models.test_pretrained_official import HEADS, deit_weights
from vidtok.errors import WeightsError
from vidtok.models.pretrained import load_foreign
from vidtok.models.pretrained.names import peeled, without_wrappers

PREFIXES = (
    *("module.", "model.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model._orig_mod.", "model.module."),
    *("backbone.", "encoder.", "net.", "student.", "teacher.", "model.backbone.", "module.encoder.net.", "ema_model."),
)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_wrappers_put_before_names_is_cut(prefix: str, tmp_path: Path):
    weights = deit_weights()
    torch.save({"model": {f"{prefix}{name}": value for name, value in weights.items()}}, tmp_path / "deit.pth")
    model, report = load_foreign(tmp_path / "deit.pth")
    assert torch.equal(model.head.weight, weights["head.weight"])
    assert not report.unused


def test_what_wrappers_put_inside_names_is_cut(tmp_path: Path):
    weights = {name.replace("blocks.0.", "blocks.0._orig_mod."): value for name, value in deit_weights().items()}
    weights = {name.replace("blocks.1.attn", "blocks.1._fsdp_wrapped_module.attn"): x for name, x in weights.items()}
    torch.save({"model": weights}, tmp_path / "deit.pth")
    assert not load_foreign(tmp_path / "deit.pth")[1].unused


def test_cutting_never_joins_two_tensors():
    with pytest.raises(WeightsError, match="two tensors have the same name"):
        without_wrappers({"a.w": torch.ones(1), "_orig_mod.a.w": torch.ones(1)}, "file")


def test_a_prefix_of_few_names_stays():
    names = {"encoder.w": torch.ones(1), "decoder.w": torch.ones(1), "head.w": torch.ones(1)}
    assert list(peeled(names)) == [names]


def test_an_encoder_that_its_reader_knows_keeps_its_name(tmp_path: Path):
    official = layouts.official_videomae(perturbed(LIBRARY["videomae"](**SIZES["small"])).state_dict())
    names = {f"encoder.{name}": x for name, x in official.items() if not name.startswith(("fc_norm", "head"))}
    torch.save({"model": {f"module.{name}": x for name, x in names.items()}}, tmp_path / "pretrain.pth")
    _, report = load_foreign(tmp_path / "pretrain.pth", num_classes=5, hints=HEADS)
    assert report.loaded["encoder.blocks.0.attn.q_bias"] == ("encoder.blocks.0.attn.q_bias",)


@pytest.mark.parametrize("entry", ["model_ema", "ema_state_dict", "state_dict_ema"])
def test_a_moving_average_is_told_and_taken_on_demand(entry: str, tmp_path: Path):
    plain = deit_weights()
    average = {f"module.{name}": value + 1 for name, value in plain.items()} | {"steps": torch.tensor(9)}
    path = tmp_path / "deit.pth"
    torch.save({"model": plain, entry: average, "optimizer": {"state": {0: {"m": torch.ones(2)}}}}, path)
    model, report = load_foreign(path)
    assert torch.equal(model.head.bias, plain["head.bias"])
    assert f"weights of 'model'; the file also holds '{entry}': weights '{entry}' takes those" in report.notes
    for asked in (entry, "ema"):
        model, report = load_foreign(path, weights=asked)
        assert torch.equal(model.head.bias, plain["head.bias"] + 1)
        assert any("steps" in note for note in report.notes)
    with pytest.raises(WeightsError, match=f"weights 'best' are not one of its entries with tensors: model, {entry}"):
        load_foreign(path, weights="best")


def test_a_file_of_an_average_alone_says_so(tmp_path: Path):
    torch.save({"state_dict_ema": deit_weights(), "epoch": 3}, tmp_path / "deit.pth")
    _, report = load_foreign(tmp_path / "deit.pth")
    assert any("is the only set of weights in the file" in note for note in report.notes)


def test_self_distillation_gives_the_teacher_unless_asked(tmp_path: Path):
    teacher = deit_weights()
    student = {name: value + 1 for name, value in teacher.items()}
    torch.save({"student": student, "teacher": teacher}, tmp_path / "dino.pth")
    model, report = load_foreign(tmp_path / "dino.pth")
    assert torch.equal(model.head.bias, teacher["head.bias"])
    assert any("the file also holds 'student'" in note for note in report.notes)
    model, _ = load_foreign(tmp_path / "dino.pth", weights="student")
    assert torch.equal(model.head.bias, student["head.bias"])


@pytest.mark.parametrize("kind", [dict, argparse.Namespace])
def test_training_arguments_say_frames_and_size(kind: type, tmp_path: Path):
    official = layouts.official_videomae(perturbed(LIBRARY["videomae"](**SIZES["small"])).state_dict())
    told = kind(num_frames=8, input_size=64, sampling_rate=2, model="vit_small_patch16_224")
    torch.save({"model": official, "args": told}, tmp_path / "ft.pth")
    model, report = load_foreign(tmp_path / "ft.pth", hints=HEADS)
    clip = model.preprocessing
    assert (clip.frames, clip.size, clip.stride) == (8, 64, 2)
    assert "8 frames of 64 pixels, as its training arguments say" in report.notes
    torch.save({"model": official}, tmp_path / "bare.pth")
    _, report = load_foreign(tmp_path / "bare.pth", hints=HEADS)
    assert "16 frames of 224 pixels, as is usual: the file does not say" in report.notes
