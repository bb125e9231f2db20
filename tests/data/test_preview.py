"""What `vidtok data show` draws is what training and test are given."""

import numpy as np
import pytest
import torch

from tests.data.videos import write_counter
from vidtok.config import Recipe
from vidtok.configio import validate
from vidtok.data.dataset import TrainDataset, load_views
from vidtok.data.manifest import Item
from vidtok.data.preview import Look, train_look, view_looks
from vidtok.data.swaps import resolve_swaps
from vidtok.data.transforms import crop_and_resize, to_clip


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_counter(tmp_path_factory.mktemp("videos") / "counter.mp4", frames=26, height=48, width=72))


def recipe(**sections: object) -> Recipe:
    tree = {
        "clip": {"frames": 4, "stride": 3, "size": 32, "short_side": 40},
        "data": {"decode_short_side": 36},
        "augment": {"crop_scale": [0.2, 0.9], "hflip": 0.5, "vflip": 0.5, "reverse": 0.5},
        "eval": {"clips": 2, "crops": 3},
        "run": {"seed": 7},
    }
    return validate({key: tree.get(key, {}) | sections.get(key, {}) for key in tree | sections})


CHANGES = {
    "plain": {},
    "shuffled": {"augment": {"shuffle": True}},
    "uniform": {"clip": {"sampling": "uniform"}},
    "strong": {
        "augment": {"randaugment": "rand-m9-n2-mstd0.5-inc1", "erase": 1.0, "color_jitter": 1.0, "grayscale": 0.5},
        "train": {"repeated_aug": 2, "batch_size": 8},
    },
    "twins": {"augment": {"reverse_twins": True}, "train": {"repeated_aug": 4, "batch_size": 8}},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(("epoch", "index"), [(0, 0), (3, 2)])
def test_training_clips_are_those_of_the_data_set(video: str, changes: dict, epoch: int, index: int) -> None:
    chosen = recipe(**changes)
    dataset = TrainDataset(
        [Item(video, 0)] * 3,
        clip=chosen.clip,
        augment=chosen.augment,
        swaps=resolve_swaps(chosen.augment, None, 1),
        seed=chosen.run.seed,
        short_side=chosen.data.decode_short_side,
        repeats=chosen.train.repeated_aug,
    )
    look = train_look(video, chosen, epoch=epoch, index=index)
    samples = dataset.samples((epoch, index))
    assert len(look.clips) == len(look.boxes) == len(samples)
    for clip, sample in zip(look.clips, samples, strict=True):
        torch.testing.assert_close(clip, sample["clip"], rtol=0, atol=0)


def test_the_box_is_where_the_clip_was_cut(video: str) -> None:
    plain = recipe(augment={"hflip": 0.0, "vflip": 0.0, "reverse": 0.0})
    look = train_look(video, plain, epoch=1, index=0)
    ours = to_clip(crop_and_resize(look.pictures, look.boxes[0], size=32))
    torch.testing.assert_close(ours, look.clips[0], rtol=0, atol=0)
    assert look.title == "epoch 1: crop only"


def test_another_epoch_is_another_draw_and_the_same_one_repeats(video: str) -> None:
    looks = [train_look(video, recipe(), epoch=epoch, index=0) for epoch in (0, 0, 1)]
    assert torch.equal(looks[0].clips[0], looks[1].clips[0])
    assert looks[0].boxes != looks[2].boxes


def test_test_views_are_those_of_evaluation_and_the_boxes_cut_them_out(video: str) -> None:
    looks = view_looks(video, recipe())
    views = load_views(video, recipe().clip, num_clips=2, num_crops=3)
    torch.testing.assert_close(torch.stack([clip for look in looks for clip in look.clips]), views.views)
    np.testing.assert_array_equal(np.stack([look.indices for look in looks]), views.indices)
    for look in looks:
        for box, clip in zip(look.boxes, look.clips, strict=True):
            torch.testing.assert_close(to_clip(crop_and_resize(look.pictures, box, size=32)), clip, rtol=0, atol=0)


def brightness(look: Look) -> list[float]:
    return look.pictures.float().mean(dim=(1, 2, 3)).tolist()


def test_pictures_are_those_of_the_frame_numbers(video: str) -> None:
    look = view_looks(video, recipe(clip={"sampling": "uniform"}))[0]
    assert np.corrcoef(brightness(look), look.indices)[0, 1] > 0.999
