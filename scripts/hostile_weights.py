"""Weight files of every kind that vidtok reads, and what can be done to them: damage, lies and attacks."""

import atexit
import functools
import json
import os
import random
import shutil
import socket
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from vidtok.config import ClipConfig, ModelConfig, from_tree
from vidtok.data.synthetic import write_motion_set
from vidtok.models.backbones import VideoModel
from vidtok.models.build import build_model
from vidtok.models.checkpoint import describe, save_pretrained

BASES = ("run.ckpt", "release", "deit.pth", "timm", "google.npz")
CHECKED = ("run.ckpt", "release", "deit.pth", "google.npz")
"""Those with a checksum; safetensors files of others have none, so a changed number in them is just another number."""
Mutation = Callable[[random.Random, Path], str]
"""Changes a file or folder in place and says how."""


# ------------------------------------------------------------------------------ untouched files


@functools.cache
def untouched() -> Path:
    """A folder with a clip and one file or folder of every kind, made once."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-checkpoints-"))
    atexit.register(shutil.rmtree, folder)
    torch.set_num_threads(1)  # no thread pool, so that this process can fork
    torch.manual_seed(0)
    write_motion_set(folder / "set", clips=12, seed=1, size=32, frames=12, processes=1)
    shutil.copy(next((folder / "set").rglob("*.mp4")), folder / "clip.mp4")
    model = _model({"kind": "vivit_fe", "dim": 16, "num_heads": 2, "depth": 4, "temporal_depth": 1}, frames=4)
    model.class_names = ("left", "right", "up")
    content = {"state_dict": {f"model.{name}": value for name, value in model.state_dict().items()}}
    torch.save(content | {"vidtok": describe(model), "global_step": 7}, folder / "run.ckpt")
    save_pretrained(model, folder / "release")
    image = _model({"kind": "vit", "dim": 192, "num_heads": 3, "depth": 2}, frames=1).state_dict()
    torch.save({"model": _timm_names(image), "epoch": 3}, folder / "deit.pth")
    (folder / "timm").mkdir()
    save_file(_timm_names(image), folder / "timm" / "model.safetensors")
    told = {"architecture": "vit", "global_pool": "token", "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.9}
    (folder / "timm" / "config.json").write_text(json.dumps(told))
    np.savez(folder / "google.npz", **_google_names(image))
    return folder


def _model(backbone: dict[str, Any], *, frames: int) -> VideoModel:
    """Weights are multiples of 1/128 below 2, which every floating type holds."""
    compressor = {"kind": "evit", "budget": 2 / 3}
    config = from_tree(ModelConfig, {"backbone": backbone, "compressor": compressor if frames > 1 else "none"})
    model = build_model(config, ClipConfig(frames=frames, size=32, sampling="uniform"), num_classes=3).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn_like(value)).mul_(128).round_().div_(128).clamp_(-1.9, 1.9)
            value.mul_(128).round_().div_(128)
    return model


def _timm_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    out = {}
    for name, value in weights.items():
        name = name.removeprefix("encoder.").removeprefix("positions.")
        out[name] = value.squeeze(2).contiguous() if name == "patch_embed.proj.weight" else value
    return out


def _google_names(weights: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Flax's layout of an image ViT: kernels are [in, out], attention's have an axis of heads."""
    w = {name: value.numpy() for name, value in weights.items()}
    out = {
        "cls": w["positions.cls_token"],
        "embedding/kernel": w["patch_embed.proj.weight"][:, :, 0].transpose(2, 3, 1, 0),
        "embedding/bias": w["patch_embed.proj.bias"],
        "Transformer/posembed_input/pos_embedding": w["positions.pos_embed"],
        "head/kernel": w["head.weight"].T,
        "head/bias": w["head.bias"],
        "Transformer/encoder_norm/scale": w["encoder.norm.weight"],
        "Transformer/encoder_norm/bias": w["encoder.norm.bias"],
    }
    dim, heads = w["head.weight"].shape[1], 3
    for layer in range(2):
        ours, theirs = f"encoder.blocks.{layer}", f"Transformer/encoderblock_{layer}"
        for norm, number in (("norm1", 0), ("norm2", 2)):
            out[f"{theirs}/LayerNorm_{number}/scale"] = w[f"{ours}.{norm}.weight"]
            out[f"{theirs}/LayerNorm_{number}/bias"] = w[f"{ours}.{norm}.bias"]
        attention = f"{theirs}/MultiHeadDotProductAttention_1"
        for number, part in enumerate(("query", "key", "value")):
            rows = slice(number * dim, (number + 1) * dim)
            out[f"{attention}/{part}/kernel"] = w[f"{ours}.attn.qkv.weight"][rows].T.reshape(dim, heads, -1)
            out[f"{attention}/{part}/bias"] = w[f"{ours}.attn.qkv.bias"][rows].reshape(heads, -1)
        out[f"{attention}/out/kernel"] = w[f"{ours}.attn.proj.weight"].T.reshape(heads, -1, dim)
        out[f"{attention}/out/bias"] = w[f"{ours}.attn.proj.bias"]
        for number, part in enumerate(("fc1", "fc2")):
            out[f"{theirs}/MlpBlock_3/Dense_{number}/kernel"] = w[f"{ours}.mlp.{part}.weight"].T
            out[f"{theirs}/MlpBlock_3/Dense_{number}/bias"] = w[f"{ours}.mlp.{part}.bias"]
    return out


# ------------------------------------------------------------------------------ what is done to them


def weight_file(target: Path) -> Path:
    return target / "model.safetensors" if target.is_dir() else target


def flip_bits(rng: random.Random, target: Path) -> str:
    file = weight_file(target)
    content = bytearray(file.read_bytes())
    places = [rng.randrange(len(content)) for _ in range(rng.choice((1, 1, 1, 8)))]
    for place in places:
        content[place] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    return f"bits of bytes {places}"


def truncate(rng: random.Random, target: Path) -> str:
    file = weight_file(target)
    length = rng.choice((0, 1, 8, rng.randrange(file.stat().st_size), file.stat().st_size - 1))
    os.truncate(file, length)
    return f"{length} bytes left"


def overwrite(rng: random.Random, target: Path) -> str:
    """A stretch of zeros or noise, as a broken disk or download leaves it."""
    file = weight_file(target)
    content = bytearray(file.read_bytes())
    start, length = rng.randrange(len(content)), rng.choice((16, 512, 4096))
    content[start : start + length] = bytes(length) if rng.random() < 0.5 else rng.randbytes(length)
    file.write_bytes(content)
    return f"{length} bytes at {start}"


def read_weights(target: Path) -> dict[str, Any]:
    if target.suffix == ".ckpt":
        return torch.load(target, weights_only=True)["state_dict"]
    if target.suffix == ".pth":
        return torch.load(target, weights_only=True)["model"]
    if target.suffix == ".npz":
        with np.load(target) as archive:
            return {name: torch.from_numpy(archive[name]) for name in archive.files}
    return load_file(weight_file(target))


def write_weights(target: Path, weights: dict[str, Any]) -> None:
    if target.suffix in (".ckpt", ".pth"):
        content = torch.load(target, weights_only=True)
        torch.save(content | {"state_dict" if target.suffix == ".ckpt" else "model": weights}, target)
    elif target.suffix == ".npz":
        np.savez(target, **{name: value.numpy() for name, value in weights.items()})
    else:
        save_file({name: value.contiguous() for name, value in weights.items()}, weight_file(target))


def _with_nan(value: torch.Tensor, rng: random.Random) -> torch.Tensor:
    value = value.clone()
    value.view(-1)[rng.randrange(value.numel())] = rng.choice((float("nan"), float("inf"), -float("inf")))
    return value


TENSORS: dict[str, Callable[[torch.Tensor, random.Random], Any]] = {  # safetensors and numpy hold the first group only
    "nan": _with_nan,
    "float16": lambda value, rng: value.half(),
    "float64": lambda value, rng: value.double(),
    "int32": lambda value, rng: value.int(),
    "bool": lambda value, rng: value.bool(),
    "longer": lambda value, rng: torch.cat([value, value]),
    "flat": lambda value, rng: value.reshape(-1)[:-1],
    "scalar": lambda value, rng: value.reshape(-1)[0].clone(),
    "empty": lambda value, rng: value.reshape(-1)[:0].clone(),
    "bfloat16": lambda value, rng: value.bfloat16(),
    "complex": lambda value, rng: value.to(torch.complex64),
    "sparse": lambda value, rng: value.to_sparse(),
    "expanded": lambda value, rng: torch.zeros(1).expand(value.shape),
    "claims 4 TB": lambda value, rng: torch.zeros(1).expand(2**40),
    "meta": lambda value, rng: value.to("meta"),
    "number": lambda value, rng: 1.0,
    "list": lambda value, rng: [[1.0]],
    "dict": lambda value, rng: {"a": value},
}
_PLAIN = 9


def change_tensor(rng: random.Random, target: Path) -> str:
    weights = read_weights(target)
    how = rng.choice(list(TENSORS) if target.suffix in (".ckpt", ".pth") else list(TENSORS)[:_PLAIN])
    name = rng.choice(sorted(weights))
    names = sorted(weights) if how in ("float16", "bfloat16", "float64") and rng.random() < 0.5 else [name]
    write_weights(target, weights | {name: TENSORS[how](weights[name], rng) for name in names})
    return f"{how}: {name if len(names) == 1 else 'all'}"


def change_names(rng: random.Random, target: Path) -> str:
    weights = read_weights(target)
    name = rng.choice(sorted(weights))
    how = rng.choice(("missing", "extra", "renamed", "all gone"))
    value = weights[name] if how == "extra" else weights.pop(name)
    new = {"extra": f"{name}.more", "renamed": f"\x1b[2J{name}\n"}.get(how)
    kept = {} if how == "all gone" else weights
    write_weights(target, kept | ({new: value.clone()} if new else {}))
    return f"{how}: {name}"


DEEP = "[" * 20_000 + "]" * 20_000
VALUES = (
    *("1000000000", "-1", '"x"', "[]", "{}", "NaN", "Infinity", "1e400", "9" * 5000, DEEP),
    *('"\\u001b[2J\\n"', "[[1, 2], 3]", '{"a": {}}', '"' + "x" * 100_000 + '"', "-1e-300"),
)


def change_config(rng: random.Random, target: Path) -> str:
    """One value of the description becomes one that no model has."""
    place: Any = json.loads((target / "config.json").read_text())
    whole, path = place, []
    place = place.get("vidtok", place)
    while True:
        key = rng.choice(sorted(set(place) - {"pretrained", "architecture", "crop_pct", "global_pool"}))
        path.append(key)
        if not isinstance(place[key], dict) or rng.random() < 0.2:
            break
        place = place[key]
    place[key] = "@@"
    text = rng.choice(VALUES)
    (target / "config.json").write_text(json.dumps(whole).replace('"@@"', text))
    return f"{'.'.join(path)} = {text[:30]}"


def damage_config(rng: random.Random, target: Path) -> str:
    file = target / "config.json"
    whole = file.read_bytes()
    cut = whole[: rng.randrange(1, len(whole) - 3)]
    content = rng.choice((b"", cut, b"[]", b"null", DEEP.encode(), b"\xff\xfe", b'{"vidtok": []}', b'{"vidtok": {}}'))
    file.write_bytes(content)
    return f"{len(content)} bytes: {content[:20]!r}"


def bomb(rng: random.Random, target: Path) -> str:
    """An archive that unpacks to 2 GB, compressed or claimed."""
    how = rng.choice(("deflated", "header", "more members"))
    with zipfile.ZipFile(target) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    last = next(name for name in reversed(members) if name.endswith((".npy", "/0")))
    squeeze = zipfile.ZIP_STORED if how == "header" else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(target, "w", squeeze, compresslevel=1) as archive:
        for name, content in members.items():
            if name == last and how == "header":
                content = content.replace(b"(3,)", b"(900000000,)").replace(b"(192,)", b"(900000000,)")[: len(content)]
            if name != last or how == "header":
                archive.writestr(name, content)
        for copy in range({"deflated": 1, "more members": 4, "header": 0}[how]):
            with archive.open(last if not copy else f"{last}{copy}", "w", force_zip64=True) as out:
                for _ in range(2048 if how == "deflated" else 512):
                    out.write(bytes(2**20))
    return how


def odd_archive(rng: random.Random, target: Path) -> str:
    how = rng.choice(("twice", "outside", "absolute", "compressed", "no pickle", "comment"))
    with zipfile.ZipFile(target) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    if how == "no pickle":
        members = [(name, content) for name, content in members if not name.endswith((".pkl", "kernel.npy"))]
    extra = {"twice": members[-1][0], "outside": "../../x", "absolute": "/etc/x"}.get(how)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if how == "compressed" else zipfile.ZIP_STORED) as archive:
        for name, content in members:
            archive.writestr(name, content)
        if extra:
            archive.writestr(extra, b"x")
        archive.comment = b"PK\5\6" * 9 if how == "comment" else b""
    return how


class _Runs:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("/tmp/chaos-must-not-be",)


def run_code(rng: random.Random, target: Path) -> str:
    where = rng.choice(("beside", "inside", "instead"))
    weights = read_weights(target)
    content: Any = torch.load(target, weights_only=True) | ({"hook": _Runs()} if where == "beside" else {})
    if where == "inside":
        content["state_dict" if target.suffix == ".ckpt" else "model"] = weights | {sorted(weights)[0]: _Runs()}
    torch.save(_Runs() if where == "instead" else content, target, _use_new_zipfile_serialization=rng.random() < 0.7)
    return where


def special_file(rng: random.Random, target: Path) -> str:
    file = weight_file(target)
    file.unlink()
    how = rng.choice(("pipe", "socket", "zeros", "loop", "folder", "nothing", "empty", "text", "a video"))
    if how == "pipe":
        os.mkfifo(file)
    elif how == "socket":
        here = os.getcwd()
        os.chdir(file.parent)  # names of sockets are short
        socket.socket(socket.AF_UNIX).bind(file.name)
        os.chdir(here)
    elif how in ("zeros", "loop"):
        file.symlink_to("/dev/zero" if how == "zeros" else file.name)
    elif how == "folder":
        file.mkdir()
    elif how != "nothing":
        video = (untouched() / "clip.mp4").read_bytes()
        file.write_bytes({"empty": b"", "text": b"version https://git-lfs.github.com/spec/v1\n", "a video": video}[how])
    return how


MUTATIONS: tuple[tuple[str, Mutation, tuple[str, ...]], ...] = (
    ("bits flipped", flip_bits, CHECKED),
    ("cut off", truncate, BASES),
    ("tensor changed", change_tensor, BASES),
    ("config value", change_config, ("release", "release", "timm")),
    ("names changed", change_names, BASES),
    ("overwritten", overwrite, CHECKED),
    ("config damaged", damage_config, ("release",)),
    ("bomb", bomb, ("run.ckpt", "deit.pth", "google.npz")),
    ("odd archive", odd_archive, ("run.ckpt", "deit.pth", "google.npz")),
    ("code", run_code, ("run.ckpt", "deit.pth")),
    ("special file", special_file, BASES),
)
