"""Reads the two file formats of flax: msgpack train states and ``.npz`` archives. Needs no flax."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidtok.errors import EnvironmentFault, WeightsError
from vidtok.models.archive import UNREADABLE, check_zip, first_line, open_file

NDARRAY, COMPLEX, SCALAR = 1, 2, 3
"""flax's msgpack extension types."""
CHUNKED = "__msgpack_chunked_array__"
"""Marks an array of more than 1 GiB, which flax stores in flat pieces."""


def read_msgpack(path: Path) -> dict[str, Any]:
    """A flax msgpack file as nested dicts of tensors and plain values. Raises WeightsError, EnvironmentFault."""
    try:
        import msgpack
    except ImportError:
        raise EnvironmentFault(f"{path} is a flax file, which needs msgpack: pip install 'vidtok[convert]'") from None
    try:
        with open_file(path) as file:
            tree = msgpack.unpackb(file.read(), ext_hook=_decode, raw=False, strict_map_key=False)
        tree = _join_chunks(tree)
    except (msgpack.UnpackException, *UNREADABLE) as error:
        raise WeightsError(f"{path}: not a complete flax msgpack file: {first_line(error)}") from None
    if not isinstance(tree, dict):
        raise WeightsError(f"{path}: holds a {type(tree).__name__}, not a tree of tensors")
    return tree


def _decode(kind: int, data: bytes) -> Any:
    """One extension value: arrays and numpy scalars are (shape, dtype name, bytes)."""
    import msgpack

    if kind not in (NDARRAY, SCALAR):
        return None  # complex numbers and unknown kinds are no weights, and flattening refuses None
    shape, dtype, buffer = msgpack.unpackb(data, raw=False)
    if dtype == "bfloat16":
        return torch.frombuffer(bytearray(buffer), dtype=torch.bfloat16).reshape(shape)
    array = np.frombuffer(buffer, dtype=np.dtype(dtype)).reshape(shape)
    return torch.from_numpy(array.copy()) if array.dtype.kind in "fiub" else None


def _join_chunks(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    if CHUNKED not in tree:
        return {key: _join_chunks(value) for key, value in tree.items()}
    parts = [tree["chunks"][str(i)] for i in range(len(tree["chunks"]))]
    return torch.cat(parts).reshape([tree["shape"][str(i)] for i in range(len(tree["shape"]))])


def read_npz(path: Path) -> dict[str, Tensor]:
    """A numpy archive of plain arrays. Raises WeightsError; bombs and pickled objects inside are refused."""
    check_zip(path, stored=False)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: torch.from_numpy(np.ascontiguousarray(archive[name])) for name in archive.files}
    except (*UNREADABLE, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: cannot be read, damaged or not plain arrays: {first_line(error)}") from None
