"""Our own files: equal to the bit after saving and loading, and refused in one line when they are odd."""

import json
import math
import os
import pickle
import socket
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import vidtok
from tests.models.test_tensors import write_ckpt
from tests.models.tiny import tiny_clip, tiny_model
from vidtok.config import EvalConfig, format_budget, parse_budget
from vidtok.errors import WeightsError
from vidtok.models.checkpoint import describe, load, read_entry, save_pretrained
from vidtok.models.warmstart import compress_model


def refused(source: Path, match: str = ".") -> str:
    with pytest.raises(WeightsError, match=match) as caught:
        load(source)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600 and "weights_only" not in message
    return message


# ------------------------------------------------------------------------------ equal to the bit


@pytest.mark.parametrize("rate", [2 / 3, 0.7, 1 / 3, 0.1 + 0.2, 1, 1e-3, math.nextafter(0.5, 1), 0.123456789012])
def test_a_spelled_budget_reads_back_equal(rate: float):
    assert parse_budget(format_budget(rate)) == rate


def test_every_budget_comes_back_equal(tmp_path: Path):
    model = tiny_model("vit", depth=4, compressor="evit")
    for rate in torch.rand(300, generator=torch.Generator().manual_seed(0), dtype=torch.float64).tolist():
        model.set_budget(rate)
        assert read_entry(json.loads(json.dumps(describe(model))), "").budget == rate
    for loaded in (load(save_pretrained(model, tmp_path / "out")), load(write_ckpt(tmp_path / "a.ckpt", model))):
        assert loaded.budget == model.budget and loaded.token_counts == model.token_counts


def test_two_thirds_of_144_tokens_stay_97_66_and_45(tmp_path: Path):
    model = tiny_model("vit", frames=1, size=96, patch=8, depth=4, compressor="evit")
    model.set_budget(2 / 3)
    loaded = load(save_pretrained(model, tmp_path / "out"))
    assert loaded.token_counts == [144, 97, 66, 45]
    clip = tiny_clip(frames=1, size=96)
    with torch.no_grad():
        assert torch.equal(loaded(clip), model(clip))


def test_naming_the_compressor_that_a_model_has_keeps_its_budget(tmp_path: Path):
    model = tiny_model("vit", depth=4, compressor="evit")
    model.set_budget(0.5)
    folder = save_pretrained(model, tmp_path / "out")
    assert load(folder, compressor="evit").budget == 0.5
    assert load(folder, compressor="evit", budget=0.9).budget == 0.9
    assert compress_model(model, model.config.compressor).model.budget == 0.7  # a config says its own


def test_everything_beside_the_weights_comes_back_equal(tmp_path: Path):
    model = tiny_model("vivit_fe", size=32, patch=16, compressor={"kind": "lookup", "budget": (1, 2)})
    model.class_names = ("b\n", "a \u00e9", "\u2028c\udcff")
    model.multi_label = True
    model.preprocessing = model.preprocessing.model_copy(update={"mean": (0.1 + 0.2, 1 / 3, 0.485), "fps": 29.97})
    model.eval_protocol = EvalConfig(clips=7, crops=1, average="probs", budgets=((1, 1), (2, 2)))
    for loaded in (load(save_pretrained(model, tmp_path / "out")), load(write_ckpt(tmp_path / "a.ckpt", model))):
        for name in ("config", "preprocessing", "eval_protocol", "class_names", "multi_label", "budget"):
            assert getattr(loaded, name) == getattr(model, name), name


# ------------------------------------------------------------------------------ hostile descriptions

DEEP = "[" * 100_000 + "]" * 100_000


def with_config(folder: Path, path: str, value: object) -> Path:
    """Change one value of a release folder's entry; ``value`` is JSON text when it is a string in slashes."""
    config = json.loads((folder / "config.json").read_text())
    *parents, last = path.split(".")
    place = config["vidtok"]
    for part in parents:
        place = place[part]
    place[last] = "@"
    text = value[1:-1] if isinstance(value, str) and value[:1] == "/" else json.dumps(value)
    (folder / "config.json").write_text(json.dumps(config).replace('"@"', text))
    return folder


HOSTILE = {
    "model.backbone.depth": [10_000, -1, [2], DEEP and f"/{DEEP}/", True, 3],
    "model.backbone.temporal_depth": [1_000_000, 3],
    "model.backbone.dim": [10**9, "/1e400/", 64, 17],
    "model.backbone.num_heads": [10**9, 3],
    "model.backbone.patch": [10**6, 0, 3, 8],
    "model.backbone.tubelet": [10**6, 1],
    "model.backbone.mlp_ratio": [1e300, "/NaN/", "/Infinity/", 2.0, f"/{'9' * 5000}/"],
    "model.backbone.norm_eps": ["/NaN/", "/1e400/"],
    "model.backbone.kind": [[], "nothing", None, "vivit"],
    "model.backbone": [[], None, 3, "x" * 100_000],
    "model.compressor": [[], 7, {"kind": "lookup", "budget": [10**9, 1]}, {"kind": "lookup", "q": 1e-300}],
    "model.num_classes": [10**12, None, 4, "many"],
    "model": [[], None],
    "clip.short_side": [12_000, 1],
    "clip.size": [10**9, 4096, 48],
    "clip.frames": [10**9, 1024, 0],
    "clip.mean": [[], ["/NaN/"], "x"],
    "clip.std": [[0, 0, 0]],
    "clip": [[], None],
    "eval.clips": [10**12],
    "eval": ["x"],
    "class_names": [["one"], {"a": 1}, [1, 2, 3], "abc", [["a"], "b", "c"]],
    "multi_label": ["false", 1],
    "budget": [0.7, "5x5", {}, [], "x", f"/{'9' * 5000}/", "9" * 5000 + "x1"],
    "format": [2, None, "1", [], {}],
}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pretrained(tiny_model("vivit_fe"), tmp_path_factory.mktemp("released") / "out")


@pytest.mark.parametrize("path", HOSTILE)
def test_a_hostile_description_is_refused_in_one_line(path: str, released: Path):
    before = (released / "config.json").read_text()
    for value in HOSTILE[path]:
        try:
            refused(with_config(released, path, value))
        except pytest.fail.Exception:
            pytest.fail(f"{path} = {str(value)[:60]} was taken")
        finally:
            (released / "config.json").write_text(before)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", DEEP, '{"vidtok": []}', '{"vidtok": 3}', "\x00", '{"a": 1e999']
)
def test_a_config_that_is_no_description_is_refused(text: str, released: Path, tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes((released / "model.safetensors").read_bytes())
    (tmp_path / "config.json").write_text(text)
    refused(tmp_path)


def test_a_budget_that_does_not_fit_is_the_checkpoints_fault(tmp_path: Path):
    folder = save_pretrained(tiny_model("vit", depth=4, compressor="evit"), tmp_path / "out")
    for bad in ("5x5", 0, 0.0, 1.5, "nan", [1, 2]):
        refused(with_config(folder, "budget", bad), "its config does not describe a model")


def test_a_model_that_makes_too_many_tokens_is_refused_before_its_tables_are_made():
    with pytest.raises(vidtok.errors.ConfigError, match="a clip makes 262144 patch tokens of width 16"):
        tiny_model("videomae", frames=4, size=4096, patch=8, tubelet=4)


# ------------------------------------------------------------------------------ damaged and hostile files


def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path: Path):
    model = tiny_model("vivit")
    content = write_ckpt(tmp_path / "a.ckpt", model).read_bytes()
    clip = tiny_clip()
    with torch.no_grad():
        want = model(clip)
    noticed = 0
    for number in range(40):
        damaged = bytearray(content)
        damaged[(number * 7919 + 101) % len(content)] ^= 1 << (number % 8)
        (tmp_path / "b.ckpt").write_bytes(damaged)
        try:
            loaded = load(tmp_path / "b.ckpt")
        except WeightsError:
            noticed += 1
            continue
        with torch.no_grad():
            assert torch.equal(loaded(clip), want)
    assert noticed > 20


def test_a_flipped_bit_in_a_release_is_noticed(tmp_path: Path):
    folder = save_pretrained(tiny_model("vivit"), tmp_path / "out")
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    refused(folder, "damaged: its tensors are not those that were written")


def test_weights_that_another_tool_rewrote_load_without_our_checksum(tmp_path: Path):
    model = tiny_model("vivit")
    folder = save_pretrained(model, tmp_path / "out")
    weights = {name: value.half() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    assert torch.equal(load(folder).head.weight, weights["head.weight"].float())


@pytest.mark.parametrize("name", ["a.ckpt", "out/model.safetensors"])
def test_a_file_that_ends_early_is_refused(name: str, tmp_path: Path):
    model = tiny_model("vivit")
    save_pretrained(model, tmp_path / "out")
    file = write_ckpt(tmp_path / "a.ckpt", model) if name == "a.ckpt" else tmp_path / name
    content = file.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, *range(0, len(content) - 1, len(content) // 12), len(content) - 1]:
        file.write_bytes(content[:length])
        refused(file if name == "a.ckpt" else file.parent)


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("never",)


@pytest.mark.parametrize("where", ["vidtok", "state_dict", "beside"])
def test_a_checkpoint_that_would_run_something_is_refused_without_torchs_advice(where: str, tmp_path: Path):
    content = {"vidtok": {}, "state_dict": {}} | {where: Runs()}
    torch.save(content, tmp_path / "a.ckpt")
    refused(
        tmp_path / "a.ckpt", r"it would run or make '(posix|nt).mkdir', and only tensors and plain values are loaded"
    )


@pytest.mark.parametrize(
    "content", [[], {}, {"vidtok": {}}, {"vidtok": 1, "state_dict": []}, {"vidtok": [], "state_dict": {}}]
)
def test_a_torch_file_of_something_else_is_refused(content: object, tmp_path: Path):
    torch.save(content, tmp_path / "a.ckpt")
    refused(tmp_path / "a.ckpt")


def rewrite(path: Path, compression: int = zipfile.ZIP_STORED, extra: dict[str, bytes] | None = None) -> None:
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in [*members, *(extra or {}).items()]:
            archive.writestr(name, content)


def test_archives_that_torch_would_not_write_are_refused(tmp_path: Path):
    path = write_ckpt(tmp_path / "a.ckpt", tiny_model("vivit"))
    rewrite(path, zipfile.ZIP_DEFLATED)
    refused(path, "compressed, which torch never does")
    write_ckpt(path, tiny_model("vivit"))
    rewrite(path, extra={"../../x": b"1"})
    refused(path, "a name that leaves the archive")
    write_ckpt(path, tiny_model("vivit"))
    with pytest.warns(UserWarning, match="Duplicate name"):
        rewrite(path, extra={"a/data/0": b"1"})
    refused(path, "holds 'a/data/0' twice")


def test_a_pickle_that_refers_to_storages_of_another_size_is_refused(tmp_path: Path):
    path = write_ckpt(tmp_path / "a.ckpt", tiny_model("vivit"))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["a/data/0"] = members["a/data/0"][:16]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    refused(path)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
def test_only_regular_files_are_read(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.ckpt")
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "loop.ckpt").symlink_to("loop.ckpt")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.ckpt"))
        refused(tmp_path / "s.ckpt", "is a socket; weights are read from regular files only")
    refused(tmp_path / "pipe.ckpt", "is a pipe")
    refused(tmp_path / "pipe.pth", "is a pipe")
    refused(Path("/dev/zero"), "is a device")
    refused(tmp_path / "loop.ckpt", "not found")
    refused(Path("x" * 300), "not found")
    folder = save_pretrained(tiny_model("vivit"), tmp_path / "out")
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    refused(folder, "is a pipe")
    (folder / "model.safetensors").unlink()
    refused(folder, "model.safetensors: cannot be read: No such file")
    (folder / "model.safetensors").mkdir()
    refused(folder, "is a folder")


def test_a_link_to_a_checkpoint_is_a_checkpoint(tmp_path: Path):
    model = tiny_model("vivit")
    write_ckpt(tmp_path / "a.ckpt", model)
    (tmp_path / "b.ckpt").symlink_to("a.ckpt")
    assert torch.equal(load(tmp_path / "b.ckpt").head.weight, model.head.weight)


def test_a_bare_pickle_under_our_ending_is_refused(tmp_path: Path):
    (tmp_path / "a.ckpt").write_bytes(pickle.dumps({"vidtok": {}}))
    refused(tmp_path / "a.ckpt", "not a checkpoint")
