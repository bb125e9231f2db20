"""What is kept of a pickle that was read as inert data: tensors and plain values, by an allow-list of names.

``KNOWN`` says what a few names of torch, numpy and Python would have made; all others are left out and named.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidtok.errors import WeightsError
from vidtok.models.pretrained.opcodes import PERSISTENT, Inert

MAX_VALUES, MAX_DEPTH, MAX_KINDS = 1_000_000, 100, 100
"""Bounds of the tree: a value may be named many times in a pickle, and each time it counts."""
MAX_SHARED = 8
"""Tensors may share numbers, but all together are not larger than so many times the file."""

_STORAGES = {
    **{"FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16},
    **{"BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32},
    **{"ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool},
    "UntypedStorage": torch.uint8,
}
_NUMPY = {f"{kind}{size}" for kind, sizes in (("f", (2, 4, 8)), ("i", (1, 2, 4, 8))) for size in sizes} | {"u1", "b1"}
"""numpy's plain types that torch has too."""


class _Left:
    """Marks what is not kept."""


LEFT = _Left()

Place = tuple["Place", Any] | None
"""Where a value stands: the place of what holds it, and the key there; None at the top."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A reference to a block of numbers, as a tensor of a torch file has it."""

    key: str
    dtype: torch.dtype
    count: int

    @property
    def num_bytes(self) -> int:
        return self.count * self.dtype.itemsize


def storage_of(value: Any) -> Storage | None:
    """The storage that a persistent reference names; None when it is of no plain type."""
    match value:
        case Inert(name=name, args=(("storage", Inert(name=kind), str(key), _, int(count), *rest),)) if (
            name == PERSISTENT and count >= 0 and rest in ([], [None])
        ):
            dtype = _STORAGES.get(kind.rpartition(".")[2]) if kind.startswith("torch.") else None
            if dtype is not None:
                return Storage(key, dtype, count)
    return None


class Inventory:
    """Goes through an inert tree once; keeps what is plain and counts what is not."""

    def __init__(self, read: Callable[[str, int], bytes], where: str, *, num_bytes: int) -> None:
        """``read`` gives the bytes of a storage by its key and their number; ``num_bytes`` is the file's size."""
        self.read, self.where = read, where
        self.num_values, self.bytes_left = 0, MAX_SHARED * num_bytes
        self.storages: dict[str, tuple[Storage, Tensor]] = {}
        self.found: dict[str, tuple[Place, int]] = {}

    def left_out(self) -> dict[str, str]:
        """Kind of object -> where it was first, and how many more there were."""
        return {
            name: _told(place) + (f" and {count - 1} more" if count > 1 else "")
            for name, (place, count) in self.found.items()
        }

    def count(self, *, values: int = 0, num_bytes: int = 0) -> None:
        """Note the cost of what is about to be kept. Raises WeightsError beyond the bounds."""
        self.num_values += values
        self.bytes_left -= num_bytes
        if self.num_values > MAX_VALUES or self.bytes_left < 0:
            raise WeightsError(f"{self.where}: refused: it unfolds to more than any file of weights of its size")

    def plain(self, value: Any, place: Place = None, depth: int = 0) -> Any:
        """The plain form of ``value``, or ``LEFT``. Raises WeightsError beyond the bounds."""
        self.count(values=1)
        if depth > MAX_DEPTH:
            raise WeightsError(f"{self.where}: refused: nested deeper than any file of weights")
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, dict):
            return self._plain_dict(value, place, depth)
        if isinstance(value, list | tuple):
            kept = (self.plain(item, (place, index), depth + 1) for index, item in enumerate(value))
            return type(value)([None if item is LEFT else item for item in kept])
        if isinstance(value, Inert):
            known = KNOWN.get(value.name)
            return self.leave(value.name, place) if known is None else known(self, value, place, depth)
        return self.leave(type(value).__name__, place)

    def _plain_dict(self, value: dict[Any, Any], place: Place, depth: int) -> dict[Any, Any]:
        kept = {key: self.plain(item, (place, key), depth + 1) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item is not LEFT}

    def leave(self, name: str, place: Place) -> _Left:
        """Note that something is not kept."""
        name = _printable(name) if len(self.found) < MAX_KINDS else "others"
        first, count = self.found.get(name, (place, 0))
        self.found[name] = first, count + 1
        return LEFT

    def storage(self, told: Storage) -> Tensor:
        """A storage as a flat tensor, read once. Raises WeightsError when it is not as large as it says."""
        if told.key not in self.storages:
            self.count(num_bytes=told.num_bytes)
            content = bytearray(self.read(told.key, told.num_bytes))
            if len(content) != told.num_bytes:
                raise WeightsError(
                    f"{self.where}: cannot be read, damaged or incomplete: storage '{told.key[:80]}' has "
                    f"{len(content)} bytes and should have {told.num_bytes}"
                )
            flat = torch.frombuffer(content, dtype=told.dtype) if content else torch.empty(0, dtype=told.dtype)
            self.storages[told.key] = told, flat
        own, flat = self.storages[told.key]
        if own != told:
            raise WeightsError(f"{self.where}: cannot be read: storage '{told.key[:80]}' has two types or sizes")
        return flat


def _told(place: Place) -> str:
    """Keys from the top, such as ``message_hub/log_scalars/loss``."""
    keys: list[str] = []
    while place is not None:
        place, key = place
        keys.append(str(key)[:60])
    return _printable("/".join(reversed(keys))) or "all of it"


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text[:120])


# Each takes (inventory, the wish, where it stands, depth) and gives what it would have made, or LEFT.


def _tensor(inventory: Inventory, wish: Inert, place: Place, depth: int) -> Any:
    """``_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)``, checked against its storage."""
    match wish.args:
        case (Inert() as reference, int(offset), tuple(size), tuple(stride), *_) if len(size) == len(
            stride
        ) <= 8 and all(type(n) is int and 0 <= n < 1 << 48 for n in (offset, *size, *stride)):
            storage = storage_of(reference)
            if storage is None:
                return inventory.leave("tensor of a type that is none of plain numbers", place)
            flat = inventory.storage(storage)
            last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
            if math.prod(size) == 0:
                return flat.new_empty(size)
            if math.prod(size) <= len(flat) and last < len(flat):
                inventory.count(num_bytes=math.prod(size) * flat.dtype.itemsize)
                return flat.as_strided(size, stride, offset)
    raise WeightsError(f"{inventory.where}: cannot be read: tensor '{_told(place)}' does not fit its storage")


def _tensor_of_type(inventory: Inventory, wish: Inert, place: Place, depth: int) -> Any:
    """``_rebuild_from_type_v2(function, type, args, state)``: a tensor of a subclass, as a plain one."""
    match wish.args:
        case (Inert() as made_by, Inert(), tuple(args), *_):
            return inventory.plain(Inert(made_by.name, args), place, depth + 1)
    return inventory.leave(wish.name, place)


def _first(inventory: Inventory, wish: Inert, place: Place, depth: int) -> Any:
    """What wraps one value: a parameter, a size, a set."""
    return inventory.plain(wish.args[0], place, depth + 1) if wish.args else inventory.leave(wish.name, place)


def _mapping(inventory: Inventory, wish: Inert, place: Place, depth: int) -> Any:
    """A dict of some kind, by its items and what it was made of."""
    pairs = wish.args[0] if wish.args and isinstance(wish.args[0], list) else []
    inventory.count(values=len(pairs))
    made = {pair[0]: pair[1] for pair in pairs if _is_pair(pair)}
    return inventory.plain(made | wish.items, place, depth + 1)


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str | int)


def _reconstructed(inventory: Inventory, wish: Inert, place: Place, depth: int) -> Any:
    """``copyreg._reconstructor(class, base, state)``, the older way to make an object."""
    match wish.args:
        case (Inert() as made_by, *_):
            return inventory.plain(Inert(made_by.name, (), wish.state, wish.items), place, depth + 1)
    return inventory.leave(wish.name, place)


def _attributes(inventory: Inventory, wish: Inert, place: Place, depth: int) -> Any:
    """An object that is nothing but its attributes, as a dict."""
    return inventory.plain(wish.state if isinstance(wish.state, dict) else {}, place, depth + 1)


def _path(inventory: Inventory, wish: Inert, place: Place, depth: int) -> Any:
    parts = [part[:1000] for part in (wish.args or ())[:100] if isinstance(part, str)]
    return "/".join(parts).replace("//", "/", 1)


def _array(inventory: Inventory, wish: Inert, place: Place, depth: int) -> Any:
    """A numpy array of a plain type, as a tensor: its state is (version, shape, dtype, is_fortran, bytes)."""
    match wish.state:
        case (_, tuple(shape), Inert() as kind, is_fortran, content):
            data, dtype = _bytes(inventory, content), _dtype(kind)
            fits = len(shape) <= 8 and all(type(side) is int and side >= 0 for side in shape)
            if dtype is not None and data is not None and fits and math.prod(shape) * dtype.itemsize == len(data):
                array = np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if is_fortran is True else "C")
                return torch.from_numpy(array.astype(dtype.newbyteorder("="), order="C"))
    return inventory.leave("numpy.ndarray of objects or of a type that torch has not", place)


def _buffer(inventory: Inventory, wish: Inert, place: Place, depth: int) -> Any:
    """A numpy array as protocol 5 has it: ``_frombuffer(bytes, dtype, shape, order)``."""
    match wish.args:
        case (content, kind, shape, order):
            return _array(inventory, Inert(wish.name, state=(1, shape, kind, order == "F", content)), place, depth)
    return inventory.leave(wish.name, place)


def _scalar(inventory: Inventory, wish: Inert, place: Place, depth: int) -> Any:
    match wish.args:
        case (Inert() as kind, content):
            data, dtype = _bytes(inventory, content), _dtype(kind)
            if dtype is not None and data is not None and len(data) == dtype.itemsize:
                return np.frombuffer(data, dtype=dtype)[0].item()
    return inventory.leave("numpy scalar of an unusual type", place)


def _dtype(wish: Inert) -> np.dtype[Any] | None:
    """A plain numpy type: ``numpy.dtype('f8', False, True)`` with the byte order in its state."""
    match (wish.args, wish.state):
        case ((str(name), *_), (int(), str(order), *_)) if name in _NUMPY and order in ("<", ">", "|", "="):
            return np.dtype(f"{'' if order == '|' else order}{name}")
    return None


def _bytes(inventory: Inventory, content: Any) -> bytes | None:
    """Bytes, also as older protocols spell them: ``_codecs.encode(text, 'latin1')`` or Python 2's text."""
    if isinstance(content, Inert) and content.name == "_codecs.encode" and content.args:
        content = content.args[0]
    if not isinstance(content, str | bytes | bytearray):
        return None
    inventory.count(num_bytes=len(content))
    if isinstance(content, str):
        return content.encode("latin1") if max(content, default="") < "\u0100" else None
    return bytes(content)


KNOWN: dict[str, Callable[[Inventory, Inert, str, int], Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _tensor_of_type,
    "torch.Size": _first,
    "builtins.set": _first,
    "builtins.frozenset": _first,
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": _mapping,
    "collections.Counter": _mapping,
    "yacs.config.CfgNode": _mapping,
    "fvcore.common.config.CfgNode": _mapping,
    "addict.Dict": _mapping,
    "addict.addict.Dict": _mapping,
    "mmengine.config.config.ConfigDict": _mapping,
    "easydict.EasyDict": _mapping,
    "copyreg._reconstructor": _reconstructed,
    "argparse.Namespace": _attributes,
    "types.SimpleNamespace": _attributes,
    **{f"pathlib.{kind}": _path for kind in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")},
    **{f"pathlib._local.{kind}": _path for kind in ("Path", "PosixPath", "WindowsPath")},
    **{f"numpy.{core}.multiarray._reconstruct": _array for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _buffer for core in ("core", "_core")},
}
"""All names whose wishes are granted, as plain data."""
