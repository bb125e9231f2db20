"""Foreign files are read without running them, and whatever is wrong with one is one line."""

import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.models import layouts
from tests.models.test_pretrained_hf import LIBRARY, SIZES, perturbed
from tests.models.test_pretrained_official import deit_weights
from tests.models.tiny import tiny_model
from vidtok.errors import WeightsError
from vidtok.models.checkpoint import load, save_pretrained
from vidtok.models.pretrained import load_foreign
from vidtok.models.pretrained.reading import load_tree


class Malicious:
    """Unpickling it creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.marker),)


def one_line(source: Path, match: str) -> str:
    """The message with which loading fails; it names the source and is a single line."""
    with pytest.raises(WeightsError, match=match) as caught:
        load(source)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600 and caught.value.exit_code == 4
    return text


@pytest.fixture
def vivit(tmp_path: Path) -> Path:
    perturbed(LIBRARY["vivit"](**SIZES["small"])).save_pretrained(tmp_path / "vivit", max_shard_size="20KB")
    return tmp_path / "vivit"


@pytest.mark.parametrize("how", ["torch", "old torch", "bare pickle"])
def test_a_malicious_object_beside_the_weights_does_nothing_and_is_named(how: str, tmp_path: Path):
    marker, path = tmp_path / "ran", tmp_path / "weights.pth"
    weights = deit_weights()
    content = {"model": weights, "args": Malicious(marker)}
    if how == "bare pickle":
        content["model"] = {name: value.numpy() for name, value in weights.items()}
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how != "old torch")
    model, report = load_foreign(path)
    assert torch.equal(model.head.weight, weights["head.weight"])
    assert re.search(r"left out unread, nothing of it was run: (posix|nt).mkdir \(args\)", report.table())
    assert not marker.exists()
    if how == "bare pickle":  # the files are no duds: unpickled freely, they do create the marker
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert marker.exists()


def test_a_malicious_object_in_place_of_a_weight_is_refused_and_does_nothing(tmp_path: Path):
    marker, path = tmp_path / "ran", tmp_path / "weights.pth"
    torch.save({"model": {**deit_weights(), "cls_token": Malicious(marker)}}, path)
    one_line(path, r"tensor 'cls_token' is missing; .* left out unread, nothing of it was run: (posix|nt).mkdir")
    path.write_bytes(pickle.dumps({"state_dict": Malicious(marker)}))
    one_line(path, r"'no tensor at all', .*; left out unread, nothing of it was run: (posix|nt).mkdir \(state_dict\)")
    assert not marker.exists()


def test_a_malicious_pickle_in_a_folder_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vivit"}))
    torch.save({"vivit.layernorm.weight": Malicious(tmp_path / "ran")}, tmp_path / "pytorch_model.bin")
    one_line(tmp_path, "left out unread, nothing of it was run: (posix|nt).mkdir")
    assert not (tmp_path / "ran").exists()


def test_objects_inside_numpy_archives_are_refused(tmp_path: Path):
    archive = np.array([Malicious(tmp_path / "ran")], dtype=object)
    np.savez(tmp_path / "w.npz", cls=archive)
    one_line(tmp_path / "w.npz", "damaged or not plain arrays")
    assert not (tmp_path / "ran").exists()


def test_old_torch_files_load_like_new_ones(tmp_path: Path):
    torch.save({"model": deit_weights()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({"model": deit_weights()}, tmp_path / "new.pth")
    old, new = load(tmp_path / "old.pth").state_dict(), load(tmp_path / "new.pth").state_dict()
    assert all(torch.equal(old[name], new[name]) for name in new)


def test_half_precision_weights_become_float32(tmp_path: Path):
    half = {key: value.half() for key, value in deit_weights().items()}
    torch.save({"model": half}, tmp_path / "half.pth")
    model = load(tmp_path / "half.pth")
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert torch.equal(model.head.weight, half["head.weight"].float())


def test_shards_load_like_a_whole_file(vivit: Path, tmp_path: Path):
    assert len(list(vivit.glob("*.safetensors"))) > 1
    model = load(vivit)
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "config.json").write_text((vivit / "config.json").read_text())
    weights = {name: value for path in vivit.glob("*.safetensors") for name, value in load_tree(path).items()}
    torch.save(weights, whole / "pytorch_model.bin")
    assert all(torch.equal(value, load(whole).state_dict()[name]) for name, value in model.state_dict().items())


def test_a_missing_shard_is_named(vivit: Path):
    shard = sorted(vivit.glob("*.safetensors"))[1]
    shard.unlink()
    one_line(vivit, f"shard {shard.name} is missing; model.safetensors.index.json names")


def test_a_shard_without_its_tensors_is_named(vivit: Path):
    shard = sorted(vivit.glob("*.safetensors"))[0]
    save_file({"other": torch.ones(1)}, shard)
    one_line(vivit, f"is not in {shard.name}; fetch the shards again")


def test_an_index_cannot_point_outside_its_folder(vivit: Path):
    index = vivit / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"vivit.layernorm.weight": "../../secret.safetensors"}}))
    one_line(vivit, "no weight_map from tensors to files of this folder")


@pytest.mark.parametrize("name", ["whole.safetensors", "whole.pth", "whole.npz", "checkpoint"])
def test_a_truncated_file_is_one_line(name: str, tmp_path: Path):
    path = tmp_path / name
    flat = layouts.flax_tree(tiny_model("vivit").state_dict(), num_heads=2)
    if name.endswith("safetensors"):
        save_file(deit_weights(), path)
    elif name.endswith("pth"):
        torch.save({"model": deit_weights()}, path)
    elif name.endswith("npz"):
        np.savez(path, **flat)
    else:
        layouts.write_flax(path, {"params": layouts.nest(flat)})
    content = path.read_bytes()
    for length in (len(content) * 9 // 10, len(content) // 2, 100, 9, 0):
        path.write_bytes(content[:length])
        one_line(path, "cannot be read|not a complete|not a weight file")


def test_a_damaged_member_of_an_archive_is_one_line(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("cls.npy", b"\x93NUMPY nonsense")
    one_line(tmp_path / "w.npz", "cannot be read, damaged")


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"version https://git-lfs", b"\x00" * 64])
def test_something_else_than_weights_is_one_line(content: bytes, tmp_path: Path):
    (tmp_path / "weights.bin").write_bytes(content)
    one_line(tmp_path / "weights.bin", "not a weight file: neither safetensors, torch, npz nor flax msgpack")


def test_another_model_is_one_line(tmp_path: Path):
    torch.save({"conv1.weight": torch.ones(64, 3, 7, 7), "fc.weight": torch.ones(2, 3)}, tmp_path / "resnet.pth")
    one_line(tmp_path / "resnet.pth", "of a model with the tensor 'conv1.weight', which is none that is known: hf,")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    save_file({"bert.pooler.dense.weight": torch.ones(2, 2)}, tmp_path / "bert" / "model.safetensors")
    one_line(tmp_path / "bert", "a 'bert' model, which is none that is known")


def test_what_is_not_a_dict_of_tensors_is_one_line(tmp_path: Path):
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    one_line(tmp_path / "list.pth", "holds a list, not named tensors")
    torch.save({"model": {"cls_token": "text"}}, tmp_path / "text.pth")
    one_line(tmp_path / "text.pth", "'cls_token' is a str, not a tensor")


def test_a_tensor_too_many_fails(tmp_path: Path):
    torch.save({"model": deit_weights(**{"norm_pre.weight": torch.ones(192)})}, tmp_path / "deit.pth")
    one_line(tmp_path / "deit.pth", r"tensor 'norm_pre.weight' \[192\] has no place in the model")


def test_a_tensor_too_few_fails(tmp_path: Path):
    weights = deit_weights()
    del weights["blocks.1.mlp.fc1.bias"]
    torch.save({"model": weights}, tmp_path / "deit.pth")
    one_line(tmp_path / "deit.pth", "tensor 'blocks.1.mlp.fc1.bias' is missing; the file is incomplete")


def test_a_missing_block_fails(tmp_path: Path):
    weights = {key.replace("blocks.1.", "blocks.2."): value for key, value in deit_weights().items()}
    torch.save({"model": weights}, tmp_path / "deit.pth")
    one_line(tmp_path / "deit.pth", "block 1 is missing; the file is incomplete")


def test_a_tensor_of_another_shape_fails(tmp_path: Path):
    torch.save({"model": deit_weights(**{"norm.bias": torch.ones(191)})}, tmp_path / "deit.pth")
    one_line(tmp_path / "deit.pth", r"encoder.norm.bias is \[191\], the model has \[192\]")


def test_a_config_that_belongs_to_other_weights_fails(vivit: Path):
    path = vivit / "config.json"
    config = json.loads(path.read_text())
    for change, match in (
        ({"num_frames": 6}, "8 positions cannot be split into time and space"),
        ({"num_attention_heads": 5}, "dim 32 is not a multiple of num_heads 5"),
        ({"hidden_act": "relu"}, "hidden_act 'relu' is not one of gelu"),
        ({"model_type": "timesformer"}, "attention_type 'None' does not fit its tensors|is missing"),
    ):
        path.write_text(json.dumps(config | change))
        one_line(vivit, match)
    path.write_text("{")
    one_line(vivit, "config.json: not valid JSON")


def test_a_width_without_usual_heads_needs_them(tmp_path: Path):
    flat = {
        key.replace("encoder.norm", "norm").replace("encoder.", "").replace("positions.", ""): value
        for key, value in tiny_model("vit").state_dict().items()
    }
    flat["patch_embed.proj.weight"] = flat["patch_embed.proj.weight"][:, :, 0].contiguous()
    torch.save({"model": flat}, tmp_path / "vit.pth")
    one_line(tmp_path / "vit.pth", "the number of heads of a width of 16 cannot be told; give num_heads")
    assert load(tmp_path / "vit.pth", num_heads=2).config.backbone.num_heads == 2


def test_a_source_format_can_be_forced_but_not_invented(tmp_path: Path):
    torch.save({"model": deit_weights()}, tmp_path / "deit.pth")
    assert load_foreign(tmp_path / "deit.pth", source_format="timm")[1].format == "timm"
    with pytest.raises(WeightsError, match="source_format 'caffe' is not one of hf, "):
        load_foreign(tmp_path / "deit.pth", source_format="caffe")
    with pytest.raises(WeightsError, match="'embedding/kernel' is missing"):
        load_foreign(tmp_path / "deit.pth", source_format="scenic")


def test_a_folder_without_weights_is_one_line(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vivit"}))
    one_line(tmp_path, "neither model.safetensors nor pytorch_model.bin")


def test_our_own_training_checkpoint_under_another_name_is_told(tmp_path: Path):
    model = tiny_model("vit")
    save_pretrained(model, tmp_path / "own")
    entry = json.loads((tmp_path / "own" / "config.json").read_text())["vidtok"]
    torch.save({"vidtok": entry, "state_dict": model.state_dict()}, tmp_path / "best.pth")
    one_line(tmp_path / "best.pth", "a vidtok training checkpoint; give its name the ending .ckpt")
