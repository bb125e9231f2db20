"""Pickles as inert data: what torch writes comes out equal, what is hostile runs nothing and ends soon."""

import argparse
import collections
import enum
import io
import os
import pathlib
import pickle
import struct
import sys
import time
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidtok.errors import WeightsError
from vidtok.models.pretrained import inert, opcodes
from vidtok.models.pretrained.inert import MAX_DEPTH
from vidtok.models.pretrained.opcodes import Inert, read_pickle
from vidtok.models.pretrained.torchfile import read_inert


def torch_file(folder: Path, data: bytes, **records: bytes) -> Path:
    """A zip as torch writes it around a pickle of one's own."""
    path = folder / "hostile.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", sys.byteorder)
        for name, content in records.items():
            archive.writestr(f"archive/data/{name}", content)
    return path


def refused(folder: Path, data: bytes, match: str, **records: bytes) -> None:
    path = torch_file(folder, data, **records)
    started = time.perf_counter()
    with pytest.raises(WeightsError, match=match) as caught:
        read_inert(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert time.perf_counter() - started < 20  # seconds; most take milliseconds


class Kind(enum.Enum):
    A = 1


def everything() -> dict[str, Any]:
    """What training scripts put into files, plain or not."""
    base = torch.arange(24.0).reshape(4, 6)
    numbers = {
        "float": 0.5,
        "int": -7,
        "big": 2**40,
        "none": None,
        "yes": True,
        "text": "\u03b1",
        "nested": [1, (2, "x")],
    }
    tensors = {
        "view": base[1:3, ::2],
        "transposed": base.t(),
        "half": base.half(),
        "bfloat": base.bfloat16(),
        "long": torch.arange(3),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(base.clone()),
    }
    return {"numbers": numbers, "tensors": collections.OrderedDict(tensors), "size": base.shape}


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_tensors_and_plain_values_come_out_as_torch_reads_them(new: bool, tmp_path: Path):
    torch.save(everything(), tmp_path / "w.pth", _use_new_zipfile_serialization=new)
    want = torch.load(tmp_path / "w.pth", weights_only=True)
    got, left_out = read_inert(tmp_path / "w.pth")
    assert left_out == {} and got["numbers"] == want["numbers"] and got["size"] == tuple(want["size"])
    assert got["tensors"].keys() == want["tensors"].keys()
    for name, value in want["tensors"].items():
        assert got["tensors"][name].dtype == value.dtype, name
        assert torch.equal(got["tensors"][name], value), name


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_what_scripts_store_beside_weights_becomes_plain_or_is_left_out(protocol: int, tmp_path: Path):
    content = {
        "w": np.arange(6, dtype="float32").reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "loss": np.float64(0.25),
        "step": np.int64(7),
        "path": pathlib.PurePosixPath("/a/b"),
        "args": argparse.Namespace(model="vit", input_size=224, other=Kind.A),
        "more": types.SimpleNamespace(x=1),
        "set": {3},
        "default": collections.defaultdict(list, {"k": [1]}),
        "kind": Kind.A,
        "objects": np.array([None], dtype=object),
        "bytes": b"abc",
        "list": [1, Kind.A, 3],
        "huge": 10**30,
    }
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    got, left_out = read_inert(path)
    assert torch.equal(got["w"], torch.arange(6.0).reshape(2, 3))
    assert torch.equal(got["fortran"], torch.arange(6).reshape(2, 3))
    assert (got["loss"], got["step"], got["path"], got["set"], got["default"]) == (0.25, 7, "/a/b", [3], {"k": [1]})
    assert got["args"] == {"model": "vit", "input_size": 224} and got["more"] == {"x": 1}
    assert got["list"] == [1, None, 3]
    assert not {"kind", "objects", "huge"} & got.keys()
    assert any(name.endswith(("Kind", "getattr")) for name in left_out)


def test_a_settings_dict_of_yacs_is_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As STViT's files have it; the package need not be installed."""
    for name in ("yacs", "yacs.config"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    node = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    monkeypatch.setattr(sys.modules["yacs.config"], "CfgNode", node, raising=False)
    config = node(MODEL=node(NAME="stvit", DROP=0.1))
    config.__dict__["__immutable__"] = True
    torch.save({"model": {"w": torch.ones(2)}, "config": config}, tmp_path / "w.pth")
    got, left_out = read_inert(tmp_path / "w.pth")
    assert got["config"] == {"MODEL": {"NAME": "stvit", "DROP": 0.1}} and left_out == {}


MARKER = "vidtok_ran_this"
SYSTEM, EVAL = b"cposix\nsystem\n", b"cbuiltins\neval\n"
COMMAND = b"S'touch " + MARKER.encode() + b"'\n"
CODE = b"S'open(\"" + MARKER.encode() + b'", "w").close()\'\n'
RUNS = {
    "reduce": SYSTEM + b"(" + COMMAND + b"tR.",
    "eval": EVAL + b"(" + CODE + b"tR.",
    "inst": b"(" + COMMAND + b"iposix\nsystem\n.",
    "obj": b"(" + SYSTEM + COMMAND + b"o.",
    "stack global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93(" + COMMAND + b"tR.",
    "new object": b"\x80\x02" + SYSTEM + b"(" + COMMAND + b"t\x81.",
    "new object with names": b"\x80\x04" + SYSTEM + b"(" + COMMAND + b"t}\x92.",
    "map": b"c__builtin__\nlist\n(c__builtin__\nmap\n(" + SYSTEM + b"(" + COMMAND + b"ltRtR.",
    "getattr": b"c__builtin__\ngetattr\n(cos\npath\nS'system'\ntR(" + COMMAND + b"tR.",
    "torch's own": b"ctorch.hub\nload\n(" + COMMAND + b"tR.",
    "nested file": b"ctorch.storage\n_load_from_bytes\n(" + COMMAND + b"tR.",
    "a state that is set": SYSTEM + b"(" + COMMAND + b"tR}S'__setstate__'\n" + SYSTEM + b"sb.",
    "extension": b"\x80\x02\x82\x01.",
    "a wrapped rebuild": b"ctorch._tensor\n_rebuild_from_type_v2\n(" + SYSTEM + SYSTEM + b"(" + COMMAND + b"t}tR.",
    "a parameter of it": b"ctorch._utils\n_rebuild_parameter\n(" + SYSTEM + b"(" + COMMAND + b"tR" + b"I01\nNtR.",
    "an array with its state": b"cnumpy.core.multiarray\n_reconstruct\n(" + SYSTEM + b"(I0\ntS'b'\ntR(I1\n(I1\nt"
    + SYSTEM + b"(" + COMMAND + b"tRI00\nS'x'\ntb.",
}  # fmt: skip


@pytest.mark.parametrize("how", RUNS)
def test_a_pickle_that_would_run_something_runs_nothing(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    read_inert(torch_file(tmp_path, b"N."))  # what zipfile itself imports
    before = set(sys.modules)
    content, left_out = read_inert(torch_file(tmp_path, RUNS[how]))
    assert content is None or content == []
    assert left_out or how == "map"
    assert not Path(MARKER).exists() and set(sys.modules) == before
    (tmp_path / "bare.bin").write_bytes(RUNS[how])
    read_inert(tmp_path / "bare.bin")
    assert not Path(MARKER).exists()


@pytest.mark.skipif(os.name != "posix", reason="names a function of POSIX")
@pytest.mark.parametrize("how", ["reduce", "eval", "inst", "obj", "stack global"])
def test_those_pickles_are_no_duds(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(RUNS[how])
    assert Path(MARKER).exists()


def tensor_pickle(*, count: int = 4, offset: int = 0, size: str = "(I4\nt", stride: str = "(I1\nt") -> bytes:
    """A tensor over the storage '0', with a shape of one's choice."""
    storage = f"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI{count}\ntQ"
    return f"ctorch._utils\n_rebuild_tensor_v2\n({storage}I{offset}\n{size}{stride}I00\nNtR.".encode()


LIES = {
    "a larger storage": tensor_pickle(count=5),
    "a smaller storage": tensor_pickle(count=3, size="(I3\nt"),
    "an immense storage": tensor_pickle(count=1 << 60),
    "a negative storage": tensor_pickle(count=-1),
    "beyond its end": tensor_pickle(size="(I5\nt"),
    "an offset beyond its end": tensor_pickle(offset=2),
    "a negative offset": tensor_pickle(offset=-1),
    "strides beyond its end": tensor_pickle(stride="(I2\nt"),
    "one number a billion times": tensor_pickle(size="(I1000000000\nt", stride="(I0\nt"),
    "sizes whose product overflows": tensor_pickle(size="(I4294967296\nI4294967296\nI0\nt", stride="(I1\nI1\nt"),
    "no numbers": tensor_pickle(size="(S'4'\nt"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_tensor_that_lies_about_its_storage_is_refused(lie: str, tmp_path: Path):
    if lie == "a negative storage":  # names no storage at all
        assert read_inert(torch_file(tmp_path, LIES[lie], **{"0": bytes(16)}))[0] is None
        return
    refused(tmp_path, LIES[lie], "cannot be read|unfolds to more", **{"0": bytes(16)})


def test_an_honest_tensor_of_that_form_is_read(tmp_path: Path):
    content, _ = read_inert(torch_file(tmp_path, tensor_pickle(), **{"0": struct.pack("<4f", 1, 2, 3, 4)}))
    assert content.tolist() == [1, 2, 3, 4]


LAUGHS = b"]q\x00" + b"".join(b"](" + b"h%c" % i * 10 + b"eq%c" % (i + 1) for i in range(60)) + b"."
ONE_TENSOR_OFTEN = b"(" + tensor_pickle(count=4096, size="(I4096\nt")[:-1] + b"q\x00" + b"h\x00" * 100 + b"l."
BOMBS = {
    "a list of lists of lists": (LAUGHS, "unfolds to more"),
    "a list of itself": (b"]q\x00h\x00a.", "nested deeper"),
    "nested lists": (b"]" * 100_000 + b"a" * 99_999 + b".", "nested deeper"),
    "nested tuples as a key": (b"}" + b")" + b"\x85" * 100_000 + b"Ns.", None),
    "one tensor often": (ONE_TENSOR_OFTEN, "unfolds to more"),
    "instructions without end": (b"N0" * 60_000 + b"N.", "more than 100,000 instructions"),
    "a large memo index": (b"Nr\xff\xff\xff\xff.", None),
    "a long number": (b"\x8b\xff\xff\xff\x7f.", "makes no sense"),
    "a long text": (b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.", "makes no sense"),
    "a number of many digits": (b"I" + b"9" * 10_000 + b"\n.", "makes no sense"),
    "nothing": (b"", "makes no sense"),
    "no end": (b"]", "makes no sense"),
    "an empty stack": (b"a.", "makes no sense"),
    "no mark": (b"Nt.", "makes no sense"),
    "an unknown memo": (b"h\x05.", "makes no sense"),
    "a state for a number": (b"I1\n}b.", "makes no sense"),
    "items for a number": (b"I1\nNNs.", "makes no sense"),
    "out of band": (b"\x80\x05\x97.", "makes no sense"),
    "no pickle": (b"<html>", "makes no sense"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_ends_soon_and_in_one_line(bomb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data, match = BOMBS[bomb]
    monkeypatch.setattr(inert, "MAX_VALUES", 50_000)  # the bounds are reached in seconds rather than milliseconds
    if bomb == "instructions without end":
        monkeypatch.setattr(opcodes, "MAX_OPCODES", 100_000)
    if match is None:  # harmless here, though not elsewhere
        read_inert(torch_file(tmp_path, data))
    else:
        refused(tmp_path, data, match, **{"0": bytes(4 * 4096)})


def test_names_do_not_grow_when_they_are_joined():
    long = b"\x8d" + struct.pack("<Q", 1 << 20) + b"a" * (1 << 20)
    read = read_pickle(io.BytesIO(long + long + b"\x93."), "x")
    assert isinstance(read, Inert) and len(read.name) < 300


def test_a_damaged_number_is_noticed(tmp_path: Path):
    path = torch_file(tmp_path, tensor_pickle(), **{"0": b"0123456789abcdef"})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0123456789abcdef", b"0123456789abcdeX"))
    with pytest.raises(WeightsError, match="cannot be read, damaged or incomplete: Bad CRC-32"):
        read_inert(path)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_a_truncated_file_is_one_line(new: bool, tmp_path: Path):
    path = tmp_path / "w.pth"
    torch.save(everything() | {"kind": Kind.A}, path, _use_new_zipfile_serialization=new)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="cannot be read"):
            read_inert(path)


def test_values_as_deep_as_settings_are_kept(tmp_path: Path):
    value: Any = 1
    for _ in range(MAX_DEPTH // 2):
        value = [value]
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps(value))
    assert read_inert(path)[0] == value
