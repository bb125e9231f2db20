"""Foreign files into named tensors, without ever running what a file asks to run."""

import argparse
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vidtok.errors import WeightsError
from vidtok.models.archive import (
    UNREADABLE,
    check_zip,
    first_line,
    is_zip,
    member_names,
    open_file,
    read_json_object,
)
from vidtok.models.checkpoint import read_safetensors
from vidtok.models.pretrained.flaxfile import read_msgpack, read_npz
from vidtok.models.pretrained.names import choose_entry, counters
from vidtok.models.pretrained.source import Files
from vidtok.models.pretrained.torchfile import read_inert
from vidtok.models.tensors import plain_tensor

SAFE_GLOBALS = [argparse.Namespace]
"""Beyond tensors and plain values: DeiT and EViT files hold their command line as a Namespace of plain values."""


class Tree(NamedTuple):
    """What a file holds, nested as it is, and which kinds of object were left out unread, and where."""

    content: dict[str, Any]
    left_out: dict[str, str]


def read_files(path: Path, where: str, weights: str | None = None) -> Files:
    """Read a weight file or a folder of them; ``weights`` names the entry that holds them. Raises WeightsError."""
    return _read_folder(path, where) if path.is_dir() else _read_file(path, where, weights)


def _read_file(path: Path, where: str, weights: str | None) -> Files:
    """One file; a ``config.json`` beside it belongs to it."""
    tree = read_tree(path)
    tensors, wrapper, extras, notes = unwrap(tree.content, where, weights)
    config, processor = read_json(path.parent / "config.json"), read_json(path.parent / "preprocessor_config.json")
    return Files(where, tensors, config, processor, extras, wrapper, tree.left_out, notes)


def _read_folder(folder: Path, where: str) -> Files:
    """A hub folder: ``config.json`` and safetensors, or a pickle read safely; whole or in shards."""
    config = read_json(folder / "config.json")
    if not config:
        raise WeightsError(f"{where}: no config.json; give the weight file itself")
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            content, left_out = read_tree(folder / name)
            tensors = unwrap(content, where).tensors
            break
        if (folder / f"{name}.index.json").is_file():
            tensors, left_out = read_shards(folder, folder / f"{name}.index.json")
            break
    else:
        raise WeightsError(f"{where}: neither model.safetensors nor pytorch_model.bin, whole or in shards")
    processor = read_json(folder / "preprocessor_config.json")
    return Files(where, tensors, config, processor, left_out=left_out)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty when there is no such file. Raises WeightsError when it is something else."""
    return read_json_object(path) if path.is_file() else {}


def read_shards(folder: Path, index: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Every tensor that the index names, and what was left out unread.

    Raises WeightsError when a shard or a tensor is missing.
    """
    owner = read_json(index).get("weight_map")
    if not isinstance(owner, dict) or not all(Path(str(name)).name == name for name in owner.values()):
        raise WeightsError(f"{index}: no weight_map from tensors to files of this folder")
    tensors: dict[str, Tensor] = {}
    left_out: dict[str, str] = {}
    names = sorted(set(owner.values()))
    for name in names:
        if not (folder / name).is_file():
            raise WeightsError(f"{folder}: shard {name} is missing; {index.name} names {len(names)} files, fetch all")
        content, left_behind = read_tree(folder / name)
        left_out |= left_behind
        tensors |= unwrap(content, str(folder / name)).tensors
    absent = sorted(owner.keys() - tensors.keys())
    if absent:
        raise WeightsError(f"{folder}: tensor '{absent[0]}' is not in {owner[absent[0]]}; fetch the shards again")
    return tensors, left_out


def load_tree(path: Path) -> dict[str, Any]:
    """The content of ``read_tree``."""
    return read_tree(path).content


def read_tree(path: Path) -> Tree:
    """What a file holds. The format is told from the first bytes, not from the name. Raises WeightsError."""
    with open_file(path) as file:
        head = file.read(9)
    if len(head) == 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return Tree(dict(read_safetensors(path)), {})
    if path.suffix == ".safetensors":
        return Tree(dict(read_safetensors(path)), {})  # says what is wrong with it
    if is_zip(path):
        is_npz = all(name.endswith(".npy") for name in member_names(path))
        check_zip(path, stored=not is_npz)
        return Tree(dict(read_npz(path)), {}) if is_npz else load_pickle(path)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return load_pickle(path)
    if head[:1] and (0x81 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF)):
        return Tree(read_msgpack(path), {})
    raise WeightsError(f"{path}: not a weight file: neither safetensors, torch, npz nor flax msgpack; is it complete?")


def load_pickle(path: Path) -> Tree:
    """A torch file, old or new. What is neither tensor nor plain value is left out unread. Raises WeightsError."""
    left_out: dict[str, str] = {}
    try:
        with torch.serialization.safe_globals(SAFE_GLOBALS), warnings.catch_warnings():
            # files that other tools wrote use newer pickle protocols; what cannot be read is an error below
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            # tensors that are mapped cannot reach beyond the file
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip(path))
    except pickle.UnpicklingError:
        content, left_out = read_inert(path)
    except UNREADABLE as error:
        raise WeightsError(f"{path}: cannot be read, damaged or incomplete: {first_line(error)}") from None
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not named tensors{told_left_out(left_out)}")
    return Tree(dict(content), left_out)


def told_left_out(left_out: Mapping[str, str]) -> str:
    """End of a sentence that names what was not read; empty when nothing was left out."""
    kinds = ", ".join(f"{name} ({place})" for name, place in list(left_out.items())[:5])
    more = f" and {len(left_out) - 5} kinds more" if len(left_out) > 5 else ""
    return f"; left out unread, nothing of it was run: {kinds}{more}" if left_out else ""


class Unwrapped(NamedTuple):
    tensors: dict[str, Tensor]
    """As they are stored."""
    wrapper: str | None
    """The entry that they were under."""
    extras: dict[str, Any]
    """Everything else."""
    notes: tuple[str, ...]


def unwrap(tree: Mapping[str, Any], where: str, asked: str | None = None) -> Unwrapped:
    """The weights of a file, of the entry that is ``asked`` for, see ``choose_entry``. Raises WeightsError.

    flax trees are flattened to names with slashes; a torch state dict is flat already.
    """
    extras, weights, notes = {}, tree, ()
    if isinstance(tree.get("optimizer"), Mapping) and "target" in tree["optimizer"]:  # scenic's older train state
        wrapper, weights = "optimizer/target", tree["optimizer"]["target"]
        extras = {key: value for key, value in tree.items() if key != "optimizer"} | {"optimizer/state": None}
    else:
        wrapper, notes = choose_entry(tree, asked, where)
        if wrapper is not None:
            weights = tree[wrapper]
            extras = {key: _plain(value) for key, value in tree.items() if key != wrapper}
    if set(weights) == {"params"}:
        weights = weights["params"]
    tensors = {name: plain_tensor(value, name, where) for name, value in _flatten(weights, where)}
    counted = counters(tensors)
    extras |= {name: tensors.pop(name) for name in sorted(counted)}
    return Unwrapped(tensors, wrapper, extras, notes)


def _plain(value: Any) -> Any:
    """A command line as a dict."""
    return vars(value) if isinstance(value, argparse.Namespace) else value


def _flatten(tree: Mapping[str, Any], where: str) -> list[tuple[str, Any]]:
    """(name with slashes, value) of every leaf. A part that comes twice is refused: it may hold itself."""
    items: list[tuple[str, Any]] = []
    parts, seen = [("", tree)], {id(tree)}
    while parts:
        prefix, part = parts.pop(0)
        for key, value in part.items():
            name = f"{prefix}{key}"
            if not isinstance(value, Mapping):
                items.append((name, value))
                continue
            if id(value) in seen:
                raise WeightsError(f"{where}: '{name}' comes twice or holds itself: not a file of weights")
            seen.add(id(value))
            parts.append((f"{name}/", value))
    return items
