"""Foreign files into named tensors, without ever running what a file asks to run."""

import argparse
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    refusal,
)
from vidtok.models.checkpoint import read_safetensors
from vidtok.models.pretrained.flaxfile import read_msgpack, read_npz
from vidtok.models.pretrained.source import Files
from vidtok.models.tensors import plain_tensor

SAFE_GLOBALS = [argparse.Namespace]
"""Beyond tensors and plain values: DeiT and EViT files hold their command line as a Namespace of plain values."""

WRAPPERS = ("params", "model_state", "model", "module", "state_dict")
"""Entries of a file that hold the weights, in the order in which they are looked for."""


def read_files(path: Path, where: str) -> Files:
    """Read a weight file or a folder of them. Raises WeightsError."""
    return _read_folder(path, where) if path.is_dir() else _read_file(path, where)


def _read_file(path: Path, where: str) -> Files:
    """One file; a ``config.json`` beside it belongs to it."""
    tree = load_tree(path)
    tensors, wrapper, extras = unwrap(tree, where)
    config, processor = read_json(path.parent / "config.json"), read_json(path.parent / "preprocessor_config.json")
    return Files(where, tensors, config, processor, extras, wrapper)


def _read_folder(folder: Path, where: str) -> Files:
    """A hub folder: ``config.json`` and safetensors, or a pickle read safely; whole or in shards."""
    config = read_json(folder / "config.json")
    if not config:
        raise WeightsError(f"{where}: no config.json; give the weight file itself")
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            tensors = unwrap(load_tree(folder / name), where)[0]
            break
        if (folder / f"{name}.index.json").is_file():
            tensors = read_shards(folder, folder / f"{name}.index.json")
            break
    else:
        raise WeightsError(f"{where}: neither model.safetensors nor pytorch_model.bin, whole or in shards")
    return Files(where, tensors, config, read_json(folder / "preprocessor_config.json"))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty when there is no such file. Raises WeightsError when it is something else."""
    return read_json_object(path) if path.is_file() else {}


def read_shards(folder: Path, index: Path) -> dict[str, Tensor]:
    """Every tensor that the index names. Raises WeightsError when a shard or a tensor is missing."""
    owner = read_json(index).get("weight_map")
    if not isinstance(owner, dict) or not all(Path(str(name)).name == name for name in owner.values()):
        raise WeightsError(f"{index}: no weight_map from tensors to files of this folder")
    tensors: dict[str, Tensor] = {}
    names = sorted(set(owner.values()))
    for name in names:
        if not (folder / name).is_file():
            raise WeightsError(f"{folder}: shard {name} is missing; {index.name} names {len(names)} files, fetch all")
        tensors |= unwrap(load_tree(folder / name), str(folder / name))[0]
    absent = sorted(owner.keys() - tensors.keys())
    if absent:
        raise WeightsError(f"{folder}: tensor '{absent[0]}' is not in {owner[absent[0]]}; fetch the shards again")
    return tensors


def load_tree(path: Path) -> dict[str, Any]:
    """What a file holds, nested as it is. The format is told from the first bytes, not from the name."""
    with open_file(path) as file:
        head = file.read(9)
    if len(head) == 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return dict(read_safetensors(path))
    if path.suffix == ".safetensors":
        return dict(read_safetensors(path))  # says what is wrong with it
    if is_zip(path):
        is_npz = all(name.endswith(".npy") for name in member_names(path))
        check_zip(path, stored=not is_npz)
        return dict(read_npz(path)) if is_npz else load_pickle(path)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return load_pickle(path)
    if head[:1] and (0x81 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF)):
        return read_msgpack(path)
    raise WeightsError(f"{path}: not a weight file: neither safetensors, torch, npz nor flax msgpack; is it complete?")


def load_pickle(path: Path) -> dict[str, Any]:
    """A torch file, old or new, of tensors and plain values only. Raises WeightsError for anything else."""
    try:
        with torch.serialization.safe_globals(SAFE_GLOBALS), warnings.catch_warnings():
            # files that other tools wrote use newer pickle protocols; what cannot be read is an error below
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            # tensors that are mapped cannot reach beyond the file
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip(path))
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path}: refused, because {refusal(error)}; ask for a safetensors file") from None
    except UNREADABLE as error:
        raise WeightsError(f"{path}: cannot be read, damaged or incomplete: {first_line(error)}") from None
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not named tensors")
    return dict(content)


def unwrap(tree: Mapping[str, Any], where: str) -> tuple[dict[str, Tensor], str | None, dict[str, Any]]:
    """(tensors as they are, the entry that they were under, everything else). Raises WeightsError.

    flax trees are flattened to names with slashes; a torch state dict is flat already.
    """
    wrapper, extras, weights = None, {}, tree
    if isinstance(tree.get("optimizer"), Mapping) and "target" in tree["optimizer"]:  # scenic's older train state
        wrapper, weights = "optimizer/target", tree["optimizer"]["target"]
        extras = {key: value for key, value in tree.items() if key != "optimizer"} | {"optimizer/state": None}
    else:
        wrapper = next((name for name in WRAPPERS if isinstance(tree.get(name), Mapping) and tree[name]), None)
        if wrapper is not None:
            weights = tree[wrapper]
            extras = {key: value for key, value in tree.items() if key != wrapper}
    if set(weights) == {"params"}:
        weights = weights["params"]
    return {name: plain_tensor(value, name, where) for name, value in _flatten(weights, where)}, wrapper, extras


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
