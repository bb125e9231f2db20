"""Models that must be equal: what the spread of attention over time cannot change, and how temporal parts start."""

import pytest
import torch
from torch import Tensor

from tests.models.tiny import FRAMES, perturb, tiny_clip, tiny_model
from vidtok.models.backbones import VideoModel


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(0)


def image_model(pool: str, gelu: str) -> VideoModel:
    model = tiny_model({"kind": "vit", "pool": pool, "gelu": gelu}, frames=1)
    perturb(model)
    return model


def static_clip(frames: int = FRAMES) -> Tensor:
    return tiny_clip(frames=1).repeat(1, 1, frames, 1, 1)


def start_from_image(video: VideoModel, image: VideoModel) -> list[str]:
    """Copy an image model's weights; the kernel goes to the central frame of a tubelet. Returns the new names."""
    weights = {**image.state_dict()}
    kernel = weights["patch_embed.proj.weight"]
    inflated = torch.zeros_like(video.patch_embed.proj.weight)
    inflated[:, :, inflated.shape[2] // 2] = kernel[:, :, 0]
    weights["patch_embed.proj.weight"] = inflated
    if video.state_dict()["positions.pos_embed"].shape != weights["positions.pos_embed"].shape:
        steps = video.lattice[0]
        weights["positions.pos_embed"] = weights["positions.pos_embed"].repeat(1, steps, 1)
    result = video.load_state_dict(weights, strict=False)
    assert result.unexpected_keys == []
    return result.missing_keys


def test_divided_timesformer_starts_as_the_image_model_on_a_still():
    image, video = image_model("cls", "erf"), tiny_model("timesformer divided")
    new = start_from_image(video, image)
    assert all("temporal" in name or name == "positions.time_embed" for name in new)
    clip = static_clip()
    torch.testing.assert_close(video(clip), image(clip[:, :, :1]))


def test_space_only_timesformer_is_the_image_model_on_a_still():
    image, video = image_model("cls", "erf"), tiny_model("timesformer space")
    assert start_from_image(video, image) == []
    clip = static_clip()
    torch.testing.assert_close(video(clip), image(clip[:, :, :1]))


@pytest.mark.parametrize("order", ["time_space", "space_time"])
@pytest.mark.parametrize("tubelet", [1, 2, 4])
def test_factorised_self_attention_starts_as_the_image_model_without_cls_on_a_still(order, tubelet):
    image = image_model("mean", "tanh")
    video = tiny_model({"kind": "vivit_fsa", "order": order, "tubelet": tubelet})
    assert all("temporal" in name for name in start_from_image(video, image))
    clip = static_clip()
    torch.testing.assert_close(video(clip), image(clip[:, :, :1]))


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_factorised_encoder_sees_the_image_models_features_at_every_step_of_a_still(pool):
    image, video = image_model(pool, "tanh"), tiny_model({"kind": "vivit_fe", "temporal_depth": 1, "pool": pool})
    assert all("temporal" in name for name in start_from_image(video, image))
    clip = static_clip()
    (steps,) = video.encoder(video.positions(video.patch_embed(clip).flatten(0, 1)))
    expected = image.forward_features(clip[:, :, :1])
    torch.testing.assert_close(steps, expected.repeat_interleave(2, dim=0))


def test_a_factorised_encoder_of_no_temporal_layer_is_the_mean_over_steps():
    image, video = image_model("cls", "tanh"), tiny_model({"kind": "vivit_fe", "temporal_depth": 0})
    assert start_from_image(video, image) == []
    clip = tiny_clip()
    seen = clip[:, :, 1::2]  # the central frames of tubelets of 2
    torch.testing.assert_close(video(clip), (image(seen[:, :, :1]) + image(seen[:, :, 1:])) / 2)


@pytest.mark.parametrize("fields", [{"kind": "vivit", "tubelet": 1}, {"kind": "timesformer", "attention": "joint"}])
def test_joint_attention_over_one_frame_is_the_image_model(fields):
    image, video = image_model("cls", "erf"), tiny_model({**fields, "gelu": "erf"}, frames=1)
    assert set(start_from_image(video, image)) <= {"positions.time_embed"}
    clip = static_clip(1)
    torch.testing.assert_close(video(clip), image(clip))


def test_joint_attention_with_cls_is_not_the_image_model_on_a_still():
    """Copies of the patch keys outweigh the one key of cls."""
    image, video = image_model("cls", "erf"), tiny_model("timesformer joint")
    start_from_image(video, image)
    clip = static_clip()
    assert (video(clip) - image(clip[:, :, :1])).abs().max() > 1e-4


def test_joint_attention_without_cls_is_the_image_model_on_a_still():
    image, video = image_model("mean", "tanh"), tiny_model("vivit mean")
    assert start_from_image(video, image) == []
    clip = static_clip()
    torch.testing.assert_close(video(clip), image(clip[:, :, :1]))


@pytest.mark.parametrize(
    ("variant", "zeroed"), [("timesformer divided", "temporal_fc"), ("vivit_fsa", "temporal_attn.proj")]
)
def test_temporal_attention_learns_from_the_second_step_on(variant, zeroed):
    model, clip = tiny_model(variant).train(), tiny_clip()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gradients = []
    for _ in range(2):
        optimizer.zero_grad()
        model(clip).square().sum().backward()
        gradients.append(
            {name: float(p.grad.abs().max()) for name, p in model.named_parameters() if "temporal" in name}
        )
        optimizer.step()
    first, second = gradients
    assert all((size > 0) == (zeroed in name) for name, size in first.items())
    assert all(size > 0 for name, size in second.items())
