"""Training on YUV planes: the same pictures as training on RGB, as far as 8 bits and half the colour allow."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.video_files import psnr
from vidtok.config import AugmentConfig, ClipConfig, Recipe, from_tree
from vidtok.data.augment import Augmentation, augment_clip, augment_planes
from vidtok.data.datamodule import ClipDataModule
from vidtok.data.dataset import TrainDataset
from vidtok.data.manifest import Item
from vidtok.data.swaps import LabelSwaps
from vidtok.data.yuv import rgb_matrix, yuv420_to_rgb
from vidtok.errors import ConfigError

BT601 = torch.tensor([[1.0, 0, 1.402, -179.456], [1, -0.344136, -0.714136, 135.458816], [1, 1.772, 0, -226.816]])
"""Full range: RGB from (Y, U, V, 1)."""


def smooth_planes() -> torch.Tensor:
    """Planes [4, 96, 96] of 64 x 96 pictures whose brightness and colours change slowly and over time."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(96), indexing="ij")
    luma = torch.stack([60 + y + x / 2 + 10 * t for t in range(4)])
    chroma = [torch.stack([128 + sign * (y[::2, ::2] - x[::2, ::2]) / 3] * 4) for sign in (1, -1)]
    return torch.cat([luma.flatten(1), *(part.flatten(1) for part in chroma)], dim=1).byte().view(4, 96, 96)


@pytest.mark.parametrize(
    "choice",
    [
        Augmentation((0, 0, 64, 96)),
        Augmentation((10, 21, 40, 51)),
        Augmentation((3, 5, 61, 60), hflip=True),
        Augmentation((0, 0, 64, 64), vflip=True, reverse=True),
    ],
)
def test_changing_planes_is_changing_pictures(choice: Augmentation) -> None:
    planes = smooth_planes()
    pictures = yuv420_to_rgb(planes, BT601).round().byte().permute(1, 2, 3, 0)
    theirs = augment_clip(pictures, choice, size=32)
    ours = yuv420_to_rgb(augment_planes(planes, choice, size=32), BT601)
    assert psnr(theirs.permute(1, 2, 3, 0).numpy(), ours.permute(1, 2, 3, 0).numpy()) > 34


def sets(path: str, **options) -> tuple[TrainDataset, TrainDataset]:
    rgb, yuv = (
        TrainDataset(
            [Item(path, 0)],
            clip=ClipConfig(frames=4, stride=2, size=32),
            augment=AugmentConfig(crop_scale=(0.5, 1.0), hflip=0.5, reverse=0.5),
            swaps=LabelSwaps({}, {}, {}),
            seed=0,
            short_side=48,
            pixel_format=pixel_format,
            **options,
        )
        for pixel_format in ("rgb", "yuv420")
    )
    return rgb, yuv


def test_both_formats_draw_the_same_and_look_alike(videos: Path) -> None:
    rgb, yuv = sets(str(videos / "closed_gop.mp4"))
    for epoch in range(6):
        theirs, ours = rgb[epoch, 0], yuv[epoch, 0]
        assert ours["clip"].shape == (4, 48, 32) and ours["clip"].dtype == torch.uint8
        pictures = yuv420_to_rgb(ours["clip"], ours["matrix"])
        difference = (pictures - theirs["clip"].float()).abs().mean()
        other = (pictures - rgb[epoch + 6, 0]["clip"].float()).abs().mean()
        assert difference < 12 and difference < other


def test_an_unreadable_video_is_blank_planes_that_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    sample = sets(str(tmp_path / "broken.mp4"))[1][0, 0]
    assert not sample["valid"] and sample["clip"].shape == (4, 48, 32) and sample["matrix"].shape == (3, 4)


def recipe(motion_set: Path, **changes) -> Recipe:
    tree = {
        "data": {
            "train": str(motion_set / "train.csv"),
            "pixel_format": "yuv420",
            "workers": 0,
            **changes.pop("data", {}),
        },
        "clip": {"frames": 4, "sampling": "uniform", "size": 32, **changes.pop("clip", {})},
        "train": {"batch_size": 4},
        **changes,
    }
    return from_tree(Recipe, tree)


def test_a_batch_of_planes_trains(motion_set: Path) -> None:
    from tests.models.tiny import tiny_model
    from vidtok.engine.module import ClassificationModule

    batch = next(iter(ClipDataModule(recipe(motion_set)).train_dataloader()))
    assert batch["clip"].shape == (4, 4, 48, 32) and batch["matrix"].shape == (4, 3, 4)
    model = tiny_model("vivit").train()
    model.reset_classifier(12)
    module = ClassificationModule(model, recipe(motion_set).train, seed=0, steps_per_epoch=1, total_steps=1)
    loss = module.training_step(batch, 0)
    loss.backward()
    assert loss.isfinite() and model.patch_embed.proj.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"augment": {"color_jitter": 0.8}}, "augment.color_jitter=0.8"),
        ({"augment": {"erase": 0.25}}, "augment.erase=0.25"),
        ({"augment": {"randaugment": "rand-m7-n4-mstd0.5-inc1"}}, "augment.randaugment="),
        ({"data": {"cache": "memory"}}, "data.cache=memory"),
        ({"clip": {"size": 31}}, "clip.size=31"),
    ],
)
def test_what_planes_cannot_do_is_refused(motion_set: Path, changes: dict, named: str) -> None:
    with pytest.raises(ConfigError, match="yuv420 does not go with " + named):
        ClipDataModule(recipe(motion_set, **changes))


def test_the_matrix_of_a_sample_is_its_videos(videos: Path) -> None:
    from vidtok.data.decode import probe

    path = videos / "closed_gop.mp4"
    assert np.array_equal(sets(str(path))[1][0, 0]["matrix"], rgb_matrix(probe(path)))
