"""Torch's own files read without Python's pickle: tensors and plain values are kept, everything else is named.

For files that ``torch.load(weights_only=True)`` refuses because other objects lie beside the weights: logs of a
training framework, settings, paths, numbers of numpy. The zip format, the one before torch 1.6, and a bare pickle.
"""

import mmap
import struct
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

from vidtok.errors import WeightsError
from vidtok.models.archive import first_line
from vidtok.models.pretrained.inert import LEFT, Inventory, storage_of
from vidtok.models.pretrained.opcodes import Inert, read_pickle

MAX_PICKLE_BYTES = 256 << 20
"""The pickle of a zip file holds names and shapes; the numbers lie beside it."""
_MAGIC = 0x1950A86A20F9469CFC6C


def read_inert(path: Path) -> tuple[Any, dict[str, str]]:
    """Read a torch file, of which nothing is run.

    Returns:
        Its content of tensors and plain values, and what was left out: kind of object -> where.

    Raises:
        WeightsError: damaged, beyond the bounds, or tensors whose storages are not what they say.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _read_zip(archive, str(path), path.stat().st_size)
        with path.open("rb") as file, closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as content:
            return _read_stream(content, str(path))
    except (
        zipfile.BadZipFile,
        OSError,
        EOFError,
        NotImplementedError,
        ValueError,
        OverflowError,
        struct.error,
    ) as error:
        raise WeightsError(f"{path}: cannot be read, damaged or incomplete: {first_line(error)}") from None


def _read_zip(archive: zipfile.ZipFile, where: str, num_bytes: int) -> tuple[Any, dict[str, str]]:
    infos = {info.filename: info for info in archive.infolist()}
    name = next((name for name in infos if name.endswith("data.pkl") and name.count("/") <= 1), None)
    if name is None:
        raise WeightsError(f"{where}: cannot be read: an archive without data.pkl is no torch file")
    prefix = name.removesuffix("data.pkl")

    def record(part: str, limit: int) -> bytes:
        info = infos.get(prefix + part)
        if info is None or info.compress_type != zipfile.ZIP_STORED or info.file_size > limit:
            raise WeightsError(f"{where}: cannot be read: its record '{part[:80]}' is absent, compressed or too large")
        return archive.read(info)

    if prefix + "byteorder" in infos and record("byteorder", 16) != sys.byteorder.encode():
        raise WeightsError(f"{where}: written on a machine of another byte order; save it as safetensors there")
    tree = read_pickle(BytesIO(record("data.pkl", MAX_PICKLE_BYTES)), where)
    return _keep(tree, lambda key, size: record(f"data/{key}", size), where, num_bytes=num_bytes)


def _read_stream(content: mmap.mmap, where: str) -> tuple[Any, dict[str, str]]:
    """Pickles one after another and then the storages, as torch wrote before 1.6; or one pickle alone."""
    first = read_pickle(content, where)
    if not (isinstance(first, Inert) and first.args == (_MAGIC,)):
        return _keep(first, lambda key, size: b"", where, num_bytes=len(content))
    references: list[Inert] = []
    version, told, tree, keys = (read_pickle(content, where, references) for _ in range(4))
    if version != 1001 or not isinstance(told, dict) or not told.get("little_endian", True):
        raise WeightsError(f"{where}: cannot be read: neither a torch file nor one of this byte order")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise WeightsError(f"{where}: cannot be read, damaged or incomplete: no list of its storages")
    begins = _storage_places(content, keys, references, where)

    def read(key: str, size: int) -> bytes:
        return content[begins[key] : begins[key] + size] if key in begins else b""

    return _keep(tree, read, where, num_bytes=len(content))


def _storage_places(content: mmap.mmap, keys: list[str], references: list[Inert], where: str) -> dict[str, int]:
    """First byte of each storage; before it stands its number of elements. Raises WeightsError."""
    told = {storage.key: storage for storage in map(storage_of, references) if storage is not None}
    places, place = {}, content.tell()
    for key in keys:
        if key not in told or struct.unpack_from("<q", content, place) != (told[key].count,):
            raise WeightsError(f"{where}: cannot be read, damaged or incomplete: storage '{key[:80]}' is not as told")
        places[key] = place + 8
        place += 8 + told[key].num_bytes
    return places


def _keep(tree: Any, read: Callable[[str, int], bytes], where: str, *, num_bytes: int) -> tuple[Any, dict[str, str]]:
    inventory = Inventory(read, where, num_bytes=num_bytes)
    kept = inventory.plain(tree)
    return None if kept is LEFT else kept, inventory.left_out()
