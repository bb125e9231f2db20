"""The rules on tensors, on every road by which weights enter."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.models.test_pretrained_official import deit_weights
from tests.models.tiny import tiny_clip, tiny_model
from vidtok.errors import WeightsError
from vidtok.models.checkpoint import describe, load, save_pretrained
from vidtok.models.pretrained import load_foreign
from vidtok.models.pretrained.start import start_from
from vidtok.models.tensors import as_buffer, as_parameter, cast_note, checksum, fitted

NAME = "encoder.blocks.1.mlp.fc1.weight"


def write_ckpt(path: Path, model, **changed) -> Path:
    """A training checkpoint of ``model``; ``changed``: values by our name, dots as double underscores."""
    weights = model.state_dict() | {key.replace("__", "."): value for key, value in changed.items()}
    content = {"state_dict": {f"model.{key}": value for key, value in weights.items()}, "vidtok": describe(model)}
    torch.save(content | {"global_step": 3}, path)
    return path


def write_folder(folder: Path, model, **changed) -> Path:
    save_pretrained(model, folder)
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {key.replace("__", "."): value for key, value in changed.items()}, folder / "model.safetensors")
    return folder


def write_deit(path: Path, model, **changed) -> Path:
    """An image ViT of timm's; names are ours, which differ in the prefix."""
    renamed = {key.replace("__", ".").removeprefix("encoder."): value for key, value in changed.items()}
    torch.save({"model": deit_weights() | renamed}, path)
    return path


ROADS = {"ours.ckpt": write_ckpt, "release": write_folder, "deit.pth": write_deit}
KEY = NAME.replace(".", "__")


def shape_on(road: str, model) -> torch.Size:
    return deit_weights()[NAME.removeprefix("encoder.")].shape if road == "deit.pth" else model.state_dict()[NAME].shape


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_name_and_count(road: str, bad: float, tmp_path: Path):
    model = tiny_model("vivit")
    value = torch.zeros(shape_on(road, model))
    value.view(-1)[[1, 5, 7]] = bad
    source = ROADS[road](tmp_path / road, model, **{KEY: value})
    with pytest.raises(WeightsError, match=rf"mlp.fc1.weight' has 3 of {value.numel()} values that are not finite"):
        load(source)
    with pytest.raises(WeightsError, match="not finite"):
        start_from(source, model.config, model.preprocessing, num_classes=3)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_become_float32_and_that_is_said(road: str, dtype, tmp_path: Path, caplog):
    model = tiny_model("vivit")
    value = torch.linspace(-1, 1, shape_on(road, model).numel()).reshape(shape_on(road, model)).to(dtype)
    loaded = load(ROADS[road](tmp_path / road, model, **{KEY: value}))
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded.state_dict()[NAME], value.float())
    assert f"1 tensor of {str(dtype).removeprefix('torch.')} became float32" in caplog.text


def odd_values(shape) -> dict[str, torch.Tensor]:
    return {
        "int8": torch.ones(shape, dtype=torch.int8),
        "int64": torch.ones(shape, dtype=torch.int64),
        "bool": torch.ones(shape, dtype=torch.bool),
        "complex64": torch.ones(shape, dtype=torch.complex64),
        "sparse": torch.ones(shape).to_sparse(),
        "expanded": torch.ones(1).expand(shape),
        "meta": torch.ones(shape, device="meta"),
    }


@pytest.mark.parametrize("road", ["ours.ckpt", "deit.pth"])
@pytest.mark.parametrize("kind", [*odd_values((2,)), "number", "list"])
def test_what_is_no_dense_floating_tensor_is_refused_with_its_name(road: str, kind: str, tmp_path: Path):
    model = tiny_model("vivit")
    value = {"number": 1.0, "list": [1.0]} | odd_values(shape_on(road, model))
    with pytest.raises(WeightsError, match=r"mlp\.fc1\.weight'") as caught:
        load(ROADS[road](tmp_path / road, model, **{KEY: value[kind]}))
    assert "\n" not in str(caught.value) and "weights_only" not in str(caught.value)


@pytest.mark.parametrize("road", ROADS)
def test_a_name_that_would_steer_a_terminal_is_quoted(road: str, tmp_path: Path):
    source = ROADS[road](tmp_path / road, tiny_model("vivit"), **{"\x1b[2J\n": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"a tensor is called '\\x1b\[2J\\n'"):
        load(source)


@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor.*", "ignore:.*torch.ao.quantization.*")
def test_quantised_tensors_are_refused():
    value = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    with pytest.raises(WeightsError, match=r"'w' is quantised \(qint8\)"):
        as_parameter(value, "w", "file")


def test_numbers_beyond_float32_are_named_as_such():
    with pytest.raises(WeightsError, match="1 of 2 values that are not finite as float32"):
        as_parameter(torch.tensor([1.0, 1e300], dtype=torch.float64), "w", "file")


def test_buffers_have_the_type_that_the_model_declares():
    norm = nn.BatchNorm1d(3)
    weights = norm.state_dict() | {"running_mean": torch.ones(3).half(), "num_batches_tracked": torch.tensor(7).int()}
    out = fitted(norm, weights, "file")
    assert out["running_mean"].dtype == torch.float32 and out["num_batches_tracked"].dtype == torch.int64
    with pytest.raises(WeightsError, match="running_var' has 1 of 3 values"):
        fitted(norm, weights | {"running_var": torch.tensor([1, math.nan, 1])}, "file")
    with pytest.raises(WeightsError, match="holds float32, the model has int64"):
        as_buffer(torch.tensor(1.0), "num_batches_tracked", "file", torch.int64)


def test_tensors_that_share_memory_are_parted():
    both = torch.zeros(2, 4)
    linear = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(4, 2, bias=False))
    linear.load_state_dict(fitted(linear, {"0.weight": both, "1.weight": both}, "file"), assign=True)
    with torch.no_grad():
        linear[0].weight.add_(1)
    assert linear[1].weight.sum() == 0 and both.sum() in (0, 8)


def test_logits_are_equal_to_the_bit_wherever_a_file_puts_its_tensors(tmp_path: Path):
    model, clip = tiny_model("vivit", dim=48, num_heads=3), tiny_clip()
    with torch.no_grad():
        want = model(clip)
        for number, title in enumerate(("", "x", "xxxxxxxxx", "x" * 31)):  # moves what follows the header
            folder = write_folder(tmp_path / str(number), model)
            save_file(model.state_dict(), folder / "model.safetensors", {"title": title})
            assert torch.equal(load(folder)(clip), want)
        assert torch.equal(load(write_ckpt(tmp_path / "a.ckpt", model))(clip), want)


def test_a_half_precision_source_says_so_in_its_report(tmp_path: Path):
    half = {name: value.half() for name, value in deit_weights().items()}
    torch.save({"model": half}, tmp_path / "deit.pth")
    _, report = load_foreign(tmp_path / "deit.pth")
    assert f"{len(half)} tensors of float16 became float32" in report.notes
    assert cast_note([torch.ones(1), torch.ones(1, dtype=torch.int64)]) is None


def test_a_checksum_sees_names_types_shapes_and_values():
    base = {"a": torch.arange(4.0), "b": torch.zeros(())}
    others = [
        {"a": torch.arange(4.0), "c": torch.zeros(())},
        {"a": torch.arange(4.0).double(), "b": torch.zeros(())},
        {"a": torch.arange(4.0).reshape(2, 2), "b": torch.zeros(())},
        {"a": -torch.arange(4.0), "b": torch.zeros(())},  # -0.0 in front
    ]
    assert len({checksum(tensors) for tensors in (base, *others)}) == 5
    assert checksum(dict(reversed(base.items()))) == checksum(base)
