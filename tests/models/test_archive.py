"""Files of other projects that lie about their size, their tensors or their settings."""

import io
import json
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.models.test_checkpoint import DEEP, refused
from tests.models.test_pretrained_hf import LIBRARY, SIZES
from tests.models.test_pretrained_official import deit_weights
from vidtok.errors import WeightsError
from vidtok.models.archive import check_zip, file_size, read_json_object


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_an_archive_that_unpacks_to_far_more_than_it_is_takes_no_memory(tmp_path: Path):
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("cls.npy", "w", force_zip64=True) as out,
    ):
        np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": (2**27,)})
        for _ in range(2**9):
            out.write(bytes(2**20))
    before = peak_mb()
    refused(path, "bytes claim to hold 5368")
    assert peak_mb() - before < 100


def test_an_array_whose_header_claims_more_than_there_is_is_refused(tmp_path: Path):
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<f4", "fortran_order": False, "shape": (2**40,)})
    for shape_of in ("cls.npy", "Transformer/posembed_input/pos_embedding.npy"):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr(shape_of, array.getvalue() + bytes(16))
        refused(tmp_path / "a.npz", "cannot be read, damaged or not plain arrays")


def test_ordinary_compressed_archives_pass(tmp_path: Path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(2**20, np.float32), b=np.arange(5.0))
    check_zip(tmp_path / "a.npz", stored=False)
    with pytest.raises(WeightsError, match="compressed"):
        check_zip(tmp_path / "a.npz", stored=True)


@pytest.mark.parametrize("seed", range(6))
def test_damaged_msgpack_is_refused(seed: int, tmp_path: Path):
    msgpack = pytest.importorskip("msgpack")

    def array(shape: list[int], data: bytes, dtype: str = "float32") -> object:
        return msgpack.ExtType(1, msgpack.packb((shape, dtype, data)))

    trees = [
        {"params": {"a": array([2**40], b"1234")}},
        {"params": {"a": array([1], b"1234", "object")}},
        {"params": {"a": {"__msgpack_chunked_array__": True, "chunks": {}, "shape": {}}}},
        {"params": {"a": {"__msgpack_chunked_array__": True, "chunks": {"0": 3}, "shape": {"0": 10**12}}}},
        {"params": {"a": msgpack.ExtType(1, b"\xc1")}},
        {"params": {"a": msgpack.ExtType(1, msgpack.packb(3))}},
    ]
    (tmp_path / "a.msgpack").write_bytes(msgpack.packb(trees[seed]))
    refused(tmp_path / "a.msgpack")
    (tmp_path / "a.msgpack").write_bytes(b"\x81" + b"\xdd\xff\xff\xff\xff" * (seed + 1))
    refused(tmp_path / "a.msgpack")
    (tmp_path / "a.msgpack").write_bytes(b"\x81\xa1a" * 100_000)
    refused(tmp_path / "a.msgpack")


SETTINGS = {
    "num_frames": [10**9, [4], "many", None.__class__.__name__, 0, 3],
    "image_size": [10**9, [[32]], {}, -1],
    "num_attention_heads": [10**9, [2], 0, 5],
    "layer_norm_eps": ["x", [], -1.0],
    "hidden_act": [[], 3, "gelu_odd"],
    "id2label": [[], {"a": "b"}, {"0": []}, {"0": "one"}, {str(i): "x" for i in range(9)}],
    "model_type": [[], 3],
}


@pytest.fixture(scope="module")
def vivit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    LIBRARY["vivit"](**SIZES["small"], id2label=dict(enumerate("abcde"))).save_pretrained(
        folder := tmp_path_factory.mktemp("hf") / "vivit"
    )
    return folder


@pytest.mark.parametrize("key", SETTINGS)
def test_settings_of_another_type_or_size_are_refused(key: str, vivit: Path):
    before = (vivit / "config.json").read_text()
    for value in SETTINGS[key]:
        (vivit / "config.json").write_text(json.dumps(json.loads(before) | {key: value}))
        try:
            refused(vivit)
        except pytest.fail.Exception:
            pytest.fail(f"{key} = {value!r} was taken")
        finally:
            (vivit / "config.json").write_text(before)


def test_a_processor_of_another_type_is_refused(vivit: Path):
    processor = vivit / "preprocessor_config.json"
    for content in ({"image_mean": 3, "image_std": [1, 1, 1]}, {"image_mean": [0, 0], "image_std": [1, 1, 1]}, []):
        processor.write_text(json.dumps(content))
        refused(vivit, "preprocessor_config.json")
    processor.unlink()


ODD_SHAPES = {
    "patch_embed.proj.weight": [(192,), (192, 3, 16, 8), (), (0, 3, 16, 16), (192, 1, 16, 16)],
    "blocks.0.attn.qkv.weight": [(), (576,), (576, 191), (0, 192)],
    "blocks.1.mlp.fc1.weight": [(), (768, 1), (3,)],
    "pos_embed": [(), (1, 5), (1, 5, 191), (5, 192), (1, 1, 192), (1, 0, 192), (2, 5, 192)],
    "cls_token": [(), (1, 2, 192)],
    "head.weight": [(), (0, 192), (5,), (5, 191), (6, 192)],
    "norm.bias": [(), (1,)],
}


@pytest.mark.parametrize("name", ODD_SHAPES)
def test_tensors_of_unexpected_shapes_are_refused(name: str, tmp_path: Path):
    for shape in ODD_SHAPES[name]:
        torch.save({"model": deit_weights(**{name: torch.zeros(shape)})}, tmp_path / "deit.pth")
        try:
            refused(tmp_path / "deit.pth")
        except pytest.fail.Exception:
            pytest.fail(f"{name} {shape} was taken")


def test_a_part_that_holds_itself_is_refused(tmp_path: Path):
    part: dict[str, object] = {"a": torch.zeros(1)}
    part["b"] = part
    torch.save({"model": part}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "comes twice or holds itself")
    doubled: dict[str, object] = {"x": torch.zeros(1)}
    for _ in range(60):
        doubled = {"a": doubled, "b": doubled}
    torch.save({"model": doubled}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "comes twice or holds itself")


def test_json_is_read_within_bounds(tmp_path: Path):
    path = tmp_path / "a.json"
    for text in (DEEP, "9" * 5000, '{"a": ' * 5000, '"\ud800'.encode("utf-8", "surrogatepass"), b"\xff\xfe{}", "[]"):
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(WeightsError):
            read_json_object(path)
    with path.open("wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(WeightsError, match="67108865 bytes of JSON"):
        read_json_object(path)


def test_a_safetensors_header_that_lies_is_refused(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(4)}, path)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + size]
    for old, new in ((b"[4]", b"[9]"), (b"16]", b"99]"), (b'"F32"', b'"F64"'), (b'"F32"', b'"X99"'), (b"[4]", b"-4 ")):
        assert old in header
        path.write_bytes(content[:8] + header.replace(old, new) + content[8 + size :])
        refused(path, "cannot be read")
    path.write_bytes((2**62).to_bytes(8, "little") + content[8:])
    refused(path)


def test_what_is_no_regular_file_has_no_size(tmp_path: Path):
    with pytest.raises(WeightsError, match="is a folder"):
        file_size(tmp_path)
    with pytest.raises(WeightsError, match="No such file"):
        file_size(tmp_path / "x")
    with pytest.raises(WeightsError, match="null"):
        file_size(Path("a\0b"))
