"""A clip in another order, length or type is one sentence that says how to get the right one."""

import pytest
import torch
from torch import Tensor

from tests.models.tiny import VARIANTS, tiny_clip, tiny_model
from vidtok.errors import DataError

RIGHT = tiny_clip(2)
NORMALISE = "turn bytes into (clip / 255 - mean) / std with mean and std of model.preprocessing"
WRONG: dict[str, tuple[Tensor, str]] = {
    "order of transformers": (RIGHT.transpose(1, 2), "transformers puts time before colour: clip.transpose(1, 2)"),
    "colour last": (RIGHT.permute(0, 2, 3, 4, 1), "clip.permute(0, 4, 1, 2, 3)"),
    "no batch": (RIGHT[0], "the batch dimension is missing: clip[None]"),
    "no batch, order of transformers": (RIGHT[0].transpose(0, 1), "clip.transpose(0, 1)[None]"),
    "no batch, colour last": (RIGHT[0].permute(1, 2, 3, 0), "clip.permute(3, 0, 1, 2)[None]"),
    "other length": (tiny_clip(frames=8), "4 frames are wanted, 8 arrive: choose them, or build with num_frames"),
    "other size": (tiny_clip(size=64), "32 pixels a side are wanted: resize and crop, or build with image_size"),
    "four colours": (torch.zeros(2, 4, 4, 32, 32), "3 colours are wanted in axis 1, 4 arrive"),
    "bytes": (torch.zeros(2, 3, 4, 32, 32, dtype=torch.uint8), f"[2, 3, 4, 32, 32] of uint8; {NORMALISE}"),
    "double": (RIGHT.double(), "of torch.float32, as the weights, got torch.float64; clip.to(torch.float32)"),
    "a table": (torch.zeros(2, 2), "axes are batch, colour, time, height, width"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_clip_that_is_none_is_refused_with_what_to_do(name: str):
    clip, match = WRONG[name]
    model = tiny_model("vivit")
    for take in (model, model.forward_heads, model.forward_features, model.trace):
        with pytest.raises(DataError) as caught:
            take(clip)
        text = str(caught.value)
        assert match in text and "\n" not in text
        assert name == "double" or text.startswith("expected a float clip [B, 3, 4, 32, 32], got [")


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_proposed_is_the_right_clip(variant: str):
    model = tiny_model(variant)
    turned = RIGHT.transpose(1, 2).contiguous()
    with pytest.raises(DataError, match=r"clip\.transpose\(1, 2\)"):
        model(turned)
    assert torch.equal(model(turned.transpose(1, 2)), model(RIGHT))
    assert model.clip_shape == RIGHT.shape[1:]


def test_an_array_is_no_tensor():
    with pytest.raises(DataError, match="got a ndarray, not a tensor"):
        tiny_model("vivit")(RIGHT.numpy())


def test_values_of_bytes_are_noticed_where_looking_is_free():
    model = tiny_model("vivit")
    with pytest.raises(DataError, match="expected a normalised clip, got values up to 255; turn bytes into"):
        model.trace(torch.full((1, 3, 4, 32, 32), 255.0))
    model.trace(RIGHT)


def test_autocast_takes_its_own_types():
    model = tiny_model("vivit")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(RIGHT.bfloat16()).dtype == torch.bfloat16
